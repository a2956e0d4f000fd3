// What a libvirt call costs through our own client, beside virsh; and how long a guest takes to its first line, through the driver and
// bare. Root only: `npm run bench -- libvirt`.
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createQemuImg } from '../../src/drivers/disk/qemu-img.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import type { DomainSpec } from '../../src/drivers/hypervisor/driver.ts';
import { domainXml } from '../../src/drivers/hypervisor/libvirt/xml.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { domainUuid, newId, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { guestImage } from '../support/guest-image.ts';
import { up, type TestHost } from '../support/host.ts';
import { median, type BenchRow } from './row.ts';

const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 3);
const callCount = 500;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

async function repeated(times: number, work: () => Promise<unknown>): Promise<number> {
  const values: number[] = [];
  for (let index = 0; index < times; index += 1) values.push(await timed(work));
  return median(values);
}

async function newSpec(host: TestHost): Promise<DomainSpec> {
  const image = guestImage();
  const instanceId = newId('i');
  const directory = join(host.directory, 'instances', instanceId);
  await mkdir(directory, { recursive: true });
  const path = join(directory, 'disk');
  await createQemuImg({ run: host.run, log, clock }).ensureOverlay({ path, base: image.root, baseFormat: 'raw', sizeBytes: (await stat(image.root)).size });
  return {
    instanceId, cloudId: 'bench', uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1,
    disks: [{ source: { type: 'file', path, format: 'qcow2' }, target: 'vda', serial: 'root' }],
    kernelPath: image.kernel, ramdiskPath: image.ramdisk, kernelArguments: image.kernelArguments, rootDirectory: undefined,
    nic: { mac: newMac(), bridge: 'br100', tap: tapName(instanceId) }, directory,
  };
}

/** To the first byte on the serial console. */
async function firstLine(spec: DomainSpec): Promise<void> {
  for (;;) {
    if ((await readFile(join(spec.directory, 'console.log')).catch(() => '')).length > 0) return;
    await clock.sleep(10);
  }
}

type Driver = Awaited<ReturnType<typeof createLibvirtHypervisor>>;

async function callRows(host: TestHost, driver: Driver): Promise<BenchRow[]> {
  const spec = await newSpec(host);
  await driver.ensureDefined(spec);
  const status = await repeated(callCount, () => driver.status(spec.instanceId));
  const list = await repeated(callCount, () => driver.list('bench'));
  const together = await timed(() => Promise.all(Array.from({ length: 1_000 }, () => driver.status(spec.instanceId))));
  const virsh = await repeated(20, () => host.virsh('qemu', 'domstate', spec.instanceId));
  await driver.ensureAbsent(spec.instanceId);
  const baseline = `virsh domstate, ${virsh.toFixed(1)} ms`;
  return [
    { name: 'status, two calls', value: status, unit: 'ms', baseline, ratio: status / virsh },
    { name: 'list', value: list, unit: 'ms', baseline, ratio: list / virsh },
    { name: '1000 status at once', value: together, unit: 'ms' },
  ];
}

async function bootRow(host: TestHost, driver: Driver): Promise<BenchRow> {
  const [ours, bare]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    const mine = await newSpec(host);
    ours.push(await timed(async () => {
      await driver.ensureDefined(mine);
      await driver.ensureRunning(mine.instanceId);
      await firstLine(mine);
    }));
    await driver.ensureAbsent(mine.instanceId);
    const theirs = await newSpec(host);
    const file = join(theirs.directory, 'domain.xml');
    await writeFile(file, domainXml(theirs, 'qemu'));
    bare.push(await timed(async () => {
      await host.virsh('qemu', 'create', file);
      await firstLine(theirs);
    }));
    await host.virsh('qemu', 'destroy', theirs.instanceId);
    await rm(mine.directory, { recursive: true });
  }
  const baseline = `virsh create, ${median(bare).toFixed(0)} ms`;
  return { name: 'define and start, to the first line', value: median(ours), unit: 'ms', baseline, ratio: median(ours) / median(bare) };
}

export async function run(): Promise<readonly BenchRow[]> {
  const host = await up('bench-libvirt');
  try {
    await host.ensureBridge('br100');
    const stateDirectory = join(host.directory, 'state');
    const driver = await createLibvirtHypervisor({ uri: host.libvirtUri('qemu'), log, clock, stateDirectory, accelerator: 'tcg' });
    try {
      return [...(await callRows(host, driver)), await bootRow(host, driver)];
    } finally {
      await driver.close();
    }
  } finally {
    await host.down();
  }
}
