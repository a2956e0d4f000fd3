// What a libvirt call costs through our own client, beside virsh; and how long a guest takes to its first line, through the driver and
// bare. Run as root: npx tsx spec/bench/libvirt.ts [rounds]
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

const rounds = Number(process.argv[2] ?? 3);
const callCount = 500;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
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
    instanceId, cloudId: 'bench', uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1, disks: [{ path, format: 'qcow2', target: 'vda', serial: 'root' }],
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

const host = await up('hypervisor-bench');
try {
  await host.ensureBridge('br100');
  const driver = await createLibvirtHypervisor({ uri: host.libvirtUri('qemu'), log, clock, stateDirectory: join(host.directory, 'state'), accelerator: 'tcg' });
  const spec = await newSpec(host);
  await driver.ensureDefined(spec);
  console.log(`status, through the driver (2 calls)  ${(await repeated(callCount, () => driver.status(spec.instanceId))).toFixed(2)} ms`);
  console.log(`list, through the driver              ${(await repeated(callCount, () => driver.list('bench'))).toFixed(2)} ms`);
  console.log(`1000 status at once, all together     ${(await timed(() => Promise.all(Array.from({ length: 1_000 }, () => driver.status(spec.instanceId))))).toFixed(0)} ms`);
  console.log(`virsh domstate                        ${(await repeated(20, () => host.virsh('qemu', 'domstate', spec.instanceId))).toFixed(1)} ms`);
  await driver.ensureAbsent(spec.instanceId);
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
  console.log(`to the first line, driver             ${median(ours).toFixed(0)} ms`);
  console.log(`to the first line, bare virsh create  ${median(bare).toFixed(0)} ms`);
  await driver.close();
} finally {
  await host.down();
}
