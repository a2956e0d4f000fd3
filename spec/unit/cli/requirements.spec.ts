// The doctor's packages and bootstrap's are the same.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  clientRequirements, databaseRequirements, driveRequirements, hypervisorRequirements, networkRequirements, programPath, volumeRequirements,
} from '../../../src/cli/requirements.ts';

describe('requirements', () => {
  it('name packages that bootstrap installs', () => {
    const text = readFileSync(new URL('../../../bin/bootstrap', import.meta.url), 'utf8');
    const installed = /^product="([^"]+)"/m.exec(text)?.[1]?.split(/\s+/) ?? [];
    const all = [hypervisorRequirements, driveRequirements, networkRequirements, volumeRequirements, databaseRequirements, clientRequirements];
    const wanted = all.flat().map((one) => one.package);
    expect(installed).toEqual(expect.arrayContaining(wanted));
  });

  it('are found in the folders of root even when the PATH leaves them out', () => {
    expect(programPath('sh', '/nowhere')).toBe('/usr/bin/sh');
    expect(programPath('no-such-program-here')).toBeUndefined();
  });
});
