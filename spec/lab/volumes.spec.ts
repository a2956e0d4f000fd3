// The volume contract over LVM in the nested guest, whose kernel has a device mapper: thick logical volumes of a volume group on a loop device.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { createVolumes } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { volumeContract } from '../support/volume-contract.ts';

const group = 'novact';
let lab: Lab;

beforeAll(async () => {
  lab = await startLab('lab-volumes');
  await lab.run('modprobe', ['-a', 'loop', 'dm_mod', 'dm_snapshot']);
  await lab.run('truncate', ['-s', '768M', '/var/lib/disk']);
  await lab.run('losetup', ['/dev/loop0', '/var/lib/disk']);
  await lab.run('vgcreate', ['--physicalextentsize', '1M', group, '/dev/loop0'], { timeoutMs: 120_000 });
});
afterAll(async () => {
  await lab?.down();
});

volumeContract('local on LVM', async () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'lab-volumes-'));
  const open = async () => {
    const driver = createVolumes('local', { store: 'lvm', volumeGroup: group }, { run: lab.run, log, clock, stateDirectory });
    await driver.probe();
    return driver;
  };
  const device = (id: string) => `/dev/${group}/${id}`;
  return {
    driver: await open(),
    reopen: open,
    async write(id, offset, text) {
      await lab.run('dd', [`of=${device(id)}`, 'bs=4M', 'oflag=seek_bytes', `seek=${offset}`, 'conv=notrunc,fsync', 'status=none'], { input: text });
    },
    async read(id, offset, length) {
      const flags = ['iflag=skip_bytes,count_bytes', `skip=${offset}`, `count=${length}`, 'status=none'];
      return (await lab.run('dd', [`if=${device(id)}`, ...flags])).stdout;
    },
    tooManyBytes: 2 ** 40,
    close: async () => rmSync(stateDirectory, { recursive: true, force: true }),
  };
});
