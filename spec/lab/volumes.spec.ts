// Volumes with those parts of a kernel that only the nested guest has. In it: LVM, as a volume host has it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { createVolumes } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { startLab, type Lab } from '../support/lab.ts';
import { mebibyte, volumeContract } from '../support/volume-contract.ts';

const group = 'novact';
const disk = '/var/lib/disk';
let lab: Lab;

const device = (id: string): string => `/dev/${group}/${id}`;

async function lvmVolumes(stateDirectory: string): Promise<VolumeDriver> {
  const driver = createVolumes('local', { store: 'lvm', volumeGroup: group }, { run: lab.run, log, clock, stateDirectory });
  await driver.probe();
  return driver;
}

beforeAll(async () => {
  lab = await startLab('lab-volumes');
  await lab.run('modprobe', ['-a', 'loop', 'dm_mod', 'dm_snapshot']);
  await lab.run('truncate', ['-s', '256M', disk]);
  await lab.run('losetup', ['/dev/loop0', disk]);
  await lab.run('vgcreate', ['--physicalextentsize', '1M', group, '/dev/loop0'], { timeoutMs: 120_000 });
});
afterAll(async () => {
  await lab?.down();
});

volumeContract('local on LVM', async () => {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'lab-volumes-'));
  const open = () => lvmVolumes(stateDirectory);
  return {
    driver: await open(),
    reopen: open,
    async write(id, offset, text) {
      await lab.run('dd', [`of=${device(id)}`, 'bs=4M', 'oflag=seek_bytes', `seek=${offset}`, 'conv=notrunc,fsync', 'status=none'], { input: text });
    },
    async read(id, offset, length) {
      const flags = ['bs=4M', 'iflag=skip_bytes,count_bytes', `skip=${offset}`, `count=${length}`, 'status=none'];
      return (await lab.run('dd', [`if=${device(id)}`, ...flags])).stdout;
    },
    tooManyBytes: 2 ** 40,
    close: async () => rmSync(stateDirectory, { recursive: true, force: true }),
  };
});

describe('LVM volumes on the raw disk', () => {
  it('V1: the next volume has the extents of the last one, and not a byte of it', async () => {
    const stateDirectory = mkdtempSync(join(tmpdir(), 'lab-raw-'));
    const driver = await lvmVolumes(stateDirectory);
    const marker = 'the last tenant was here';
    const marksOn = async (path: string) => Number((await lab.run('sh', ['-c', `sync; grep -aoc '${marker}' ${path} || true`], { timeoutMs: 120_000 })).stdout);
    const { totalBytes } = await driver.capacity();
    const sizeBytes = totalBytes - 4 * mebibyte;
    const [before, after] = [newId('vol'), newId('vol')];
    await driver.ensureVolume({ id: before, sizeBytes });
    const fill = `yes '${marker}' | dd of=${device(before)} bs=1M count=${sizeBytes / mebibyte} iflag=fullblock conv=fsync status=none`;
    await lab.run('sh', ['-c', fill], { timeoutMs: 300_000 });
    await driver.ensureVolumeAbsent(before);
    // The disk still has what was written: what follows is the work of the driver, and of no kind disk.
    const left = await marksOn(disk);
    expect(left).toBeGreaterThan(100_000);
    await driver.ensureVolume({ id: after, sizeBytes });
    expect((await lab.run('cmp', ['-n', String(sizeBytes), device(after), '/dev/zero'], { timeoutMs: 300_000 })).stdout).toBe('');
    expect(await marksOn(disk)).toBe(0);
    await driver.removeAll();
    rmSync(stateDirectory, { recursive: true, force: true });
  });
});
