// What the doctor says of Xen, from the files that Xen's kernels show.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkXen } from '../../../src/cli/host-checks.ts';

describe('the check of Xen', () => {
  let folder: string;
  const check = () => checkXen(join(folder, 'hypervisor'), join(folder, 'capabilities'));
  const put = (name: string, text: string) => writeFileSync(join(folder, name), `${text}\n`);

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'host-checks-'));
    mkdirSync(join(folder, 'hypervisor/version'), { recursive: true });
    put('hypervisor/version/major', '4');
    put('hypervisor/version/minor', '17');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('finds a machine without Xen, and says what brings it', async () => {
    expect(await check()).toMatchObject({ state: 'missing', remedy: expect.stringContaining('xen-system-amd64') });
  });

  it('finds a guest of Xen, which can make no others', async () => {
    put('hypervisor/type', 'xen');
    put('capabilities', '');
    expect(await check()).toMatchObject({ state: 'missing', detail: expect.stringContaining('not the first domain') });
  });

  it('finds the first domain, and its Xen\'s version', async () => {
    put('hypervisor/type', 'xen');
    put('capabilities', 'control_d');
    expect(await check()).toEqual({ name: 'xen', state: 'ok', detail: 'the first domain of Xen 4.17' });
  });
});
