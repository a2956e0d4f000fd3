// What a guest gets of its volumes by each driver, beside a plain virtio disk on a file; and how long it takes from the wish to attach one until the guest
// sees it. Under emulation a guest is slow, so that ratios are kinder than on real processors. Root only: `npm run bench -- volumes`.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { DomainDisk } from '../../src/drivers/hypervisor/driver.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import type { VolumeDriverName } from '../../src/drivers/volume/index.ts';
import { newId } from '../../src/lib/ids.ts';
import { startGuestHost, type GuestHost, type RunningGuest } from '../support/guest-host.ts';
import { exportSpecOf, mebibyte } from '../support/volume-contract.ts';
import { giveAddresses, hostAddress, volumesOn } from '../support/volume-host.ts';
import { atLeast, median, type BenchRow } from './row.ts';

const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 3);
const sizeBytes = 256 * mebibyte;
const initiatorName = 'iqn.2011-02.org.novact:bench';
const drivers: readonly VolumeDriverName[] = ['local', 'iscsi', 'nbd'];

interface Throughput {
  readonly write: number;
  readonly read: number;
  readonly small: number;
}

const timed = async (work: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await work();
  return performance.now() - start;
};

/** MiB/s of one stream of 1 MiB, and 4 KiB reads a second, one at a time and past the guest's cache, all over the disk. */
async function measure(guest: RunningGuest, disk: string): Promise<Throughput> {
  const uptime = `cut -d' ' -f1 /proc/uptime`;
  const seconds = async (command: string): Promise<number> => {
    const [before, after] = (await guest.ssh(`${uptime}; ${command}; ${uptime}`, 600_000)).split('\n').map(Number);
    return (after ?? Number.NaN) - (before ?? Number.NaN);
  };
  const [write, read, small]: [number[], number[], number[]] = [[], [], []];
  for (let round = 0; round < rounds; round += 1) {
    write.push(128 / (await seconds(`dd if=/dev/zero of=${disk} bs=1M count=128 conv=fsync,notrunc 2>/dev/null`)));
    read.push(128 / (await seconds(`dd if=${disk} of=/dev/null bs=1M count=128 iflag=direct 2>/dev/null`)));
    small.push(2_000 / (await seconds(`dd if=${disk} of=/dev/null bs=4k count=2000 iflag=direct 2>/dev/null`)));
  }
  return { write: median(write), read: median(read), small: median(small) };
}

/** Attached, found by its serial number, measured, and taken off. */
async function withDisk<T>(host: GuestHost, guest: RunningGuest, disk: DomainDisk, work: (path: string) => Promise<T>): Promise<T> {
  await host.hypervisor.attachDisk(guest.instanceId, disk);
  try {
    return await work(`/dev/${(await guest.ssh(seen(disk.serial))).split('/')[3]}`);
  } finally {
    await host.hypervisor.detachDisk(guest.instanceId, disk.serial, { force: false });
  }
}

/** Waits in the guest itself, so that a login is not what is measured. */
const seen = (serial: string): string => `until grep -ls ${serial} /sys/block/*/serial; do usleep 5000; done`;

/** A file of the host as a virtio disk, measured right before what it is compared with. */
async function measurePlain(host: GuestHost, guest: RunningGuest): Promise<Throughput> {
  const path = join(host.machine.directory, 'plain');
  await host.machine.run('fallocate', ['--length', String(sizeBytes), path]);
  const disk: DomainDisk = { source: { type: 'file', path, format: 'raw' }, target: 'vdb', serial: 'plain' };
  return withDisk(host, guest, disk, (name) => measure(guest, name)).finally(() => rm(path));
}

async function rowsOf(host: GuestHost, guest: RunningGuest, name: VolumeDriverName): Promise<BenchRow[]> {
  const plain = await measurePlain(host, guest);
  const driver = await volumesOn(host.machine, name);
  const connector = createVolumeConnector();
  const attachMs: number[] = [];
  let found: Throughput | undefined;
  for (let round = 0; round < 3 * rounds; round += 1) {
    const volumeId = newId('vol');
    await driver.ensureVolume({ id: volumeId, sizeBytes });
    const spec = exportSpecOf(volumeId, { initiators: [{ name: initiatorName, address: hostAddress }] });
    const serial = volumeId.replace('-', '').slice(0, 20);
    const waiting = guest.ssh(seen(serial), 120_000);
    await guest.ssh('true');
    attachMs.push(await timed(async () => {
      const source = await connector.ensureConnected(await driver.ensureExport(spec), { initiatorName, secret: spec.secret });
      await host.hypervisor.attachDisk(guest.instanceId, { source, target: 'vdb', serial });
      await waiting;
    }));
    if (round === 0) found = await measure(guest, `/dev/${(await guest.ssh(seen(serial))).split('/')[3]}`);
    await host.hypervisor.detachDisk(guest.instanceId, serial, { force: false });
    await driver.ensureUnexported(spec.attachmentId);
    await driver.ensureVolumeAbsent(volumeId);
  }
  await driver.close();
  if (found === undefined) return [];
  const row = (what: string, key: keyof Throughput, unit: string): BenchRow => {
    const ratio = found[key] / plain[key];
    return { name: `${name}: ${what}`, value: found[key], unit, baseline: `a plain file, ${plain[key].toFixed(0)}`, ratio, target: atLeast(ratio, 0.3, '×') };
  };
  return [
    { name: `${name}: from the wish to seen in the guest`, value: median(attachMs), unit: 'ms' },
    row('writes of 1 MiB', 'write', 'MiB/s'), row('reads of 1 MiB', 'read', 'MiB/s'), row('reads of 4 KiB, one at a time', 'small', '1/s'),
  ];
}

export async function run(): Promise<readonly BenchRow[]> {
  const host = await startGuestHost('bench-volumes');
  try {
    await giveAddresses(host.machine);
    const guest = await host.launch();
    const rows: BenchRow[] = [];
    for (const name of drivers) rows.push(...(await rowsOf(host, guest, name)));
    return rows;
  } finally {
    await host.down();
  }
}
