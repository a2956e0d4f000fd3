// Volume drivers whose work the kernel does, on a machine whose kernel does not: they say so when they are probed. With a kernel that does:
// spec/lab/volumes.spec.ts. As root, so that it is the kernel that refuses.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { createVolumes } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog as log } from '../../src/lib/log.ts';

const stateDirectory = mkdtempSync(join(tmpdir(), 'volume-kernel-'));
const run = createRun({ log });
afterAll(() => rmSync(stateDirectory, { recursive: true, force: true }));

const noTarget = 'the kernel of this host serves no iSCSI (modules target_core_mod, target_core_file, iscsi_target_mod): choose another volume driver';

describe('a volume host whose kernel cannot do it', () => {
  it.for([
    { what: 'lio', name: 'lio', options: {}, module: 'target_core_mod', says: noTarget },
    { what: 'a store of lvm', name: 'iscsi', options: { store: 'lvm' }, module: 'dm_mod', says: 'this kernel has no device mapper' },
  ])('V2: refuses $what, and says what it lacks', async ({ name, options, module, says }, context) => {
    if ((await run('modprobe', ['-n', module], { okCodes: [0, 1] })).code === 0) return context.skip(`this kernel has the module ${module}`);
    const driver = createVolumes(name, options, { run, log, clock, stateDirectory });
    await expect(driver.probe()).rejects.toMatchObject({ kind: 'unsupported', message: expect.stringContaining(says) });
  });
});
