// The hypervisor contract over a real Xen: our driver runs here and speaks to the libvirtd of Xen's first domain, whose guests are
// paravirtual ones of the ready-made image.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DomainSpec, HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { domainUuid, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { guestImage, guestReadyText } from '../support/guest-image.ts';
import { hypervisorContract } from '../support/hypervisor-contract.ts';
import { startLab, type Lab } from '../support/lab.ts';

const patienceMs = 180_000;
const bridge = 'br100';
const memoryMiB = 1536;
const guestsMiB = 700;

interface XenHost {
  readonly lab: Lab;
  readonly uri: string;
  open(): Promise<HypervisorDriver>;
  spec(instanceId: string, cloudId: string): Promise<DomainSpec>;
  /** The independent oracle. */
  virsh(...args: readonly string[]): Promise<string>;
}

/** Answers IMDSv2's token and says 404 to all else. */
const metadataServer = `require('node:http').createServer((request, response) => {
  response.statusCode = request.method === 'PUT' ? 200 : 404;
  response.end(request.method === 'PUT' ? 'token' : '');
}).listen(80, '169.254.169.254')`;

async function startXenHost(name: string): Promise<XenHost> {
  const lab = await startLab(name, { xen: true, memoryMiB, guestsMiB });
  const socket = await lab.forward('/run/libvirt/libvirt-sock');
  const uri = `xen:///system?socket=${socket}`;
  await lab.run('ip', ['link', 'add', bridge, 'type', 'bridge', 'forward_delay', '0']);
  for (const address of ['10.42.0.1/24', '169.254.169.254/32']) await lab.run('ip', ['addr', 'add', address, 'dev', bridge]);
  await lab.run('ip', ['link', 'set', bridge, 'up']);
  // It ends with the guest.
  await lab.run('sh', ['-c', 'node -e "$0" > /dev/null 2>&1 < /dev/null &', metadataServer]);
  await lab.run('dnsmasq', [
    '--conf-file=', '--no-hosts', '--no-resolv', '--port=0', '--bind-interfaces', `--interface=${bridge}`, '--except-interface=lo',
    '--dhcp-range=10.42.0.10,10.42.0.250,255.255.255.0,120s', '--dhcp-leasefile=/run/leases', '--pid-file=/run/dnsmasq.pid',
  ]);
  const image = guestImage();
  await lab.run('mkdir', ['-p', '/var/lib/images']);
  for (const path of [image.kernel, image.ramdisk, image.root]) await lab.run('cp', [path, '/var/lib/images/']);
  const [kernelPath, ramdiskPath, base] = ['vmlinuz', 'initrd.gz', 'root.ext4'].map((file) => join('/var/lib/images', file)) as [string, string, string];
  return {
    lab, uri,
    open: () => createLibvirtHypervisor({ uri, log, clock, stateDirectory: join(lab.shared, 'state') }),
    async spec(instanceId, cloudId) {
      const directory = join(lab.shared, instanceId);
      await mkdir(directory, { recursive: true });
      const path = `/var/lib/images/${instanceId}`;
      await lab.run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'raw', path]);
      return {
        instanceId, cloudId, uuid: domainUuid(instanceId), memoryMiB: 128, cores: 1,
        disks: [{ source: { type: 'file', path, format: 'qcow2' }, target: 'vda', serial: 'root' }],
        kernelPath, ramdiskPath, kernelArguments: 'root=/dev/xvda console=hvc0 quiet', rootDirectory: undefined,
        nic: { mac: newMac(), bridge, tap: tapName(instanceId) }, directory,
      };
    },
    virsh: async (...args) => (await lab.run('virsh', ['-q', '-c', 'xen:///system', ...args], { timeoutMs: patienceMs })).stdout.trim(),
  };
}

hypervisorContract('libvirt, xen', async () => {
  const host = await startXenHost('lab-xen');
  const driver = await host.open();
  return {
    driver,
    spec: host.spec,
    reopen: host.open,
    readyText: guestReadyText,
    destroyBehindItsBack: async (instanceId) => void (await host.virsh('destroy', instanceId)),
    witness: async (instanceId) => {
      const all = (await host.virsh('list', '--all', '--name')).split('\n');
      const running = (await host.virsh('list', '--name')).split('\n');
      return !all.includes(instanceId) ? undefined : running.includes(instanceId) ? 'running' : 'shutoff';
    },
    async disk(target, serial) {
      const path = `/var/lib/images/${serial}`;
      await host.lab.run('truncate', ['-s', '16M', path]);
      return { source: { type: 'file', path, format: 'raw' }, target, serial };
    },
    plugged: async (instanceId) => [...(await host.virsh('domblklist', instanceId)).matchAll(/xvd[a-z]+/g)].map(([target]) => target.slice(1)),
    patienceMs,
    close: async () => {
      await driver.close();
      await host.lab.down();
    },
  };
});
