// Real KVM: the nested guest's emulated processor has AMD's virtualization, and its kernel the module for it. The machines that novact is
// tested on have a /dev/kvm under which no guest boots.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import { bootProbeGuest } from '../../src/drivers/hypervisor/libvirt/probe.ts';
import { Session } from '../../src/drivers/hypervisor/libvirt/session.ts';
import { parseLibvirtUri } from '../../src/drivers/hypervisor/libvirt/uri.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { domainUuid, newId, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { guestImage, guestReadyText } from '../support/guest-image.ts';
import { eventually } from '../support/hypervisor-contract.ts';
import { startLab, type Lab } from '../support/lab.ts';

const bootMs = 400_000;
let lab: Lab;
let uri: string;
let driver: HypervisorDriver | undefined;
const image = guestImage();

beforeAll(async () => {
  lab = await startLab('lab-kvm', { memoryMiB: 2048 });
  await lab.run('modprobe', ['kvm_amd']);
  await lab.run('sh', ['-c', 'virtlogd -d && libvirtd -d']);
  // Its first look at an unknown QEMU takes longer, emulated, than any call of ours would wait for.
  await lab.run('virsh', ['-c', 'qemu:///system', 'domcapabilities', '--virttype', 'kvm'], { timeoutMs: bootMs });
  uri = `qemu:///system?socket=${await lab.forward('/run/libvirt/libvirt-sock')}`;
});
afterAll(async () => {
  await driver?.close();
  await lab?.down();
});

describe('KVM', () => {
  it('K17: is found by a probe guest that boots under it', async () => {
    const session = new Session({
      uri: parseLibvirtUri(uri), log, clock, connectTimeoutMs: 20_000,
      onEvent: () => undefined, onConnected: () => undefined, onDisconnected: () => undefined,
    });
    const options = { session, clock, log, stateDirectory: join(lab.shared, 'probe'), timeoutMs: bootMs, kernelPath: image.kernel };
    expect(await bootProbeGuest(options, 'kvm')).toBeUndefined();
    await session.close();
  });

  it('K1: boots an instance from kernel, ramdisk and root image', async () => {
    driver = await createLibvirtHypervisor({ uri, log, clock, stateDirectory: join(lab.shared, 'state'), accelerator: 'kvm' });
    expect(driver.info.kind).toBe('kvm');
    const instanceId = newId('i');
    const directory = join(lab.shared, instanceId);
    await mkdir(directory);
    const path = `/var/lib/${instanceId}`;
    await lab.run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image.root, '-F', 'raw', path]);
    await lab.run('ip', ['link', 'add', 'br100', 'up', 'type', 'bridge']);
    await driver.ensureDefined({
      instanceId, cloudId: 'cloud', uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1,
      disks: [{ source: { type: 'file', path, format: 'qcow2' }, target: 'vda', serial: 'root' }],
      kernelPath: image.kernel, ramdiskPath: image.ramdisk, kernelArguments: image.kernelArguments, rootDirectory: undefined,
      nic: { mac: newMac(), bridge: 'br100', tap: tapName(instanceId) }, directory,
    });
    await driver.ensureRunning(instanceId);
    const text = await eventually(async () => (await driver?.console({ instanceId, directory }))?.toString('utf8') ?? '', (said) => said.includes(guestReadyText), bootMs);
    expect(text).toContain(guestReadyText);
    expect((await lab.run('virsh', ['-c', 'qemu:///system', 'dumpxml', instanceId])).stdout).toContain(`<domain type='kvm'`);
    await driver.ensureAbsent(instanceId);
  });
});
