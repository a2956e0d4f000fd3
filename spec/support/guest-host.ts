// A test host whose guests can be spoken to: bridge, DHCP, and an image that takes the key of the specs without a metadata service. Root only.
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createQemuImg } from '../../src/drivers/disk/qemu-img.ts';
import type { DomainDisk, DomainSpec, HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { domainUuid, newId, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { guestImage, type GuestImage } from './guest-image.ts';
import { eventually } from './hypervisor-contract.ts';
import { up, type TestHost } from './host.ts';

const root = createRun({ log });
const bridge = 'br100';
const bootMs = 120_000;

/** A copy of the image in that folder, whose guests take `publicKey` without a metadata service. */
export async function imageWithKey(folder: string, publicKey: string): Promise<GuestImage> {
  const built = guestImage();
  const at = (name: string) => join(folder, name);
  await Promise.all([copyFile(built.root, at('root')), copyFile(built.kernel, at('kernel')), copyFile(built.ramdisk, at('ramdisk'))]);
  const answers = ['token) echo x > /run/metadata-token; echo x ;;', '*instance-id) echo i-guest ;;', `*openssh-key) echo '${publicKey}' ;;`, '*) exit 1 ;;'];
  await writeFile(at('metadata'), ['#!/bin/sh', 'case "$*" in', ...answers, 'esac', ''].join('\n'));
  for (const command of ['rm /sbin/metadata', `write ${at('metadata')} /sbin/metadata`, 'set_inode_field /sbin/metadata mode 0100755']) {
    await root('debugfs', ['-w', '-R', command, at('root')], { timeoutMs: 30_000 });
  }
  return { root: at('root'), kernel: at('kernel'), ramdisk: at('ramdisk'), kernelArguments: built.kernelArguments };
}

export interface RunningGuest {
  readonly instanceId: string;
  readonly spec: DomainSpec;
  /** Until it answers: it may be booting. */
  answers(): Promise<void>;
  /** Trimmed output; throws when the command fails. */
  ssh(command: string, timeoutMs?: number): Promise<string>;
}

export interface GuestHost {
  readonly machine: TestHost;
  readonly hypervisor: HypervisorDriver;
  /** Boots a guest, with these disks beside its root, and waits until it answers. */
  launch(options?: { disks?: readonly DomainDisk[]; kernelArguments?: string }): Promise<RunningGuest>;
  down(): Promise<void>;
}

export async function startGuestHost(name: string): Promise<GuestHost> {
  await (await up(name)).down();
  const machine = await up(name);
  try {
    await machine.ensureBridge(bridge, '10.42.0.1/24');
    const leases = `${machine.directory}/leases`;
    await machine.run('dnsmasq', [
      '--conf-file=', '--no-hosts', '--no-resolv', '--port=0', '--bind-interfaces', `--interface=${bridge}`, '--except-interface=lo',
      '--dhcp-range=10.42.0.10,10.42.0.250,255.255.255.0,1h', `--dhcp-leasefile=${leases}`, `--pid-file=${machine.directory}/dnsmasq.pid`,
    ]);
    const key = join(machine.directory, 'key');
    await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
    const image = await imageWithKey(machine.directory, (await readFile(`${key}.pub`, 'utf8')).trim());
    const stateDirectory = join(machine.directory, 'state');
    const hypervisor = await createLibvirtHypervisor({ uri: machine.libvirtUri('qemu'), log, clock, stateDirectory, accelerator: 'tcg' });
    return {
      machine, hypervisor,
      launch: (options = {}) => launch({ machine, hypervisor, image, key, leases }, options),
      down: async () => {
        await hypervisor.close();
        await machine.down();
      },
    };
  } catch (error) {
    await machine.down();
    throw error;
  }
}

interface World {
  readonly machine: TestHost;
  readonly hypervisor: HypervisorDriver;
  readonly image: GuestImage;
  readonly key: string;
  readonly leases: string;
}

async function launch(world: World, options: { disks?: readonly DomainDisk[]; kernelArguments?: string }): Promise<RunningGuest> {
  const { machine, hypervisor, image } = world;
  const instanceId = newId('i');
  const directory = join(machine.directory, 'instances', instanceId);
  await mkdir(directory, { recursive: true });
  const path = join(directory, 'disk');
  const disk = createQemuImg({ run: machine.run, log, clock });
  await disk.ensureOverlay({ path, base: image.root, baseFormat: 'raw', sizeBytes: (await stat(image.root)).size });
  const spec: DomainSpec = {
    instanceId, cloudId: 'volumes', uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1,
    disks: [{ source: { type: 'file', path, format: 'qcow2' }, target: 'vda', serial: 'root' }, ...(options.disks ?? [])],
    kernelPath: image.kernel, ramdiskPath: image.ramdisk, kernelArguments: `${image.kernelArguments} ${options.kernelArguments ?? ''}`.trim(),
    rootDirectory: undefined, nic: { mac: newMac(), bridge, tap: tapName(instanceId) }, directory,
  };
  await hypervisor.ensureDefined(spec);
  await hypervisor.ensureRunning(instanceId);
  const guest = guestOf(world, spec);
  await guest.answers();
  return guest;
}

function guestOf({ machine, key, leases }: World, spec: DomainSpec): RunningGuest {
  const said = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'ConnectTimeout=5', 'LogLevel=ERROR'];
  const ssh = async (command: string, timeoutMs = 60_000): Promise<string> => {
    const address = new RegExp(`${spec.nic.mac} (\\S+)`).exec(await readFile(leases, 'utf8').catch(() => ''))?.[1];
    if (address === undefined) throw new Error(`${spec.instanceId} has no lease`);
    return (await machine.run('ssh', ['-i', key, ...said.flatMap((one) => ['-o', one]), `root@${address}`, command], { timeoutMs })).stdout.trim();
  };
  const answer = () => ssh('echo up', 10_000).catch((error: unknown) => String(error));
  return { instanceId: spec.instanceId, spec, ssh, answers: async () => void (await eventually(answer, (text) => text === 'up', bootMs, 500)) };
}
