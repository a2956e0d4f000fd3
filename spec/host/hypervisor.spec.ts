// The hypervisor contract over real guests: QEMU under TCG and LXC containers, on a test host of their own; and what a real libvirtd
// does that no simulation would think of.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createQemuImg } from '../../src/drivers/disk/qemu-img.ts';
import type { DomainSpec, HypervisorDriver, HypervisorEvent } from '../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import { bootProbeGuest } from '../../src/drivers/hypervisor/libvirt/probe.ts';
import { Session } from '../../src/drivers/hypervisor/libvirt/session.ts';
import { parseLibvirtUri } from '../../src/drivers/hypervisor/libvirt/uri.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { domainUuid, newId, newMac, tapName } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { guestImage, guestReadyText, type GuestImage } from '../support/guest-image.ts';
import { eventually, hypervisorContract } from '../support/hypervisor-contract.ts';
import { up, type TestHost } from '../support/host.ts';

const patienceMs = 90_000;
const bridge = 'br100';

function open(host: TestHost, kind: 'qemu' | 'lxc'): Promise<HypervisorDriver> {
  return createLibvirtHypervisor({ uri: host.libvirtUri(kind), log, clock, stateDirectory: join(host.directory, 'state'), accelerator: 'tcg' });
}

/** In the host's own folder, as the product keeps images: whoever runs QEMU need not be able to read the checkout. */
async function imageOn(host: TestHost): Promise<GuestImage> {
  const image = guestImage();
  const at = (name: string) => join(host.directory, 'image', name);
  await mkdir(join(host.directory, 'image'), { recursive: true });
  for (const name of ['kernel', 'ramdisk', 'root'] as const) {
    if (!existsSync(at(name))) await copyFile(image[name], at(name));
  }
  return { ...image, kernel: at('kernel'), ramdisk: at('ramdisk'), root: at('root') };
}

async function specOn(host: TestHost, kind: 'qemu' | 'lxc', instanceId: string, cloudId: string): Promise<DomainSpec> {
  const image = await imageOn(host);
  const directory = join(host.directory, 'instances', instanceId);
  await mkdir(directory, { recursive: true });
  const disk = createQemuImg({ run: host.run, log, clock });
  const path = join(directory, 'disk');
  if (kind === 'qemu') await disk.ensureOverlay({ path, base: image.root, baseFormat: 'raw', sizeBytes: (await stat(image.root)).size });
  else await disk.ensureTree({ path: image.root, format: 'raw', directory: join(directory, 'root') });
  const qemu = kind === 'qemu';
  return {
    instanceId, cloudId, uuid: domainUuid(instanceId), memoryMiB: 96, cores: 1,
    disks: qemu ? [{ source: { type: 'file', path, format: 'qcow2' }, target: 'vda', serial: 'root' }] : [],
    kernelPath: qemu ? image.kernel : undefined, ramdiskPath: qemu ? image.ramdisk : undefined, kernelArguments: qemu ? image.kernelArguments : undefined,
    rootDirectory: qemu ? undefined : join(directory, 'root'),
    nic: { mac: newMac(), bridge, tap: tapName(instanceId) }, directory,
  };
}

/** Answers IMDSv2's token and says 404 to all else. */
const metadataServer = `require('node:http').createServer((request, response) => {
  response.statusCode = request.method === 'PUT' ? 200 : 404;
  response.end(request.method === 'PUT' ? 'token' : '');
}).listen(80, '169.254.169.254')`;

/** DHCP and metadata: without them a guest waits for longer than any spec should. Both end with the host's namespace. */
async function ensureServices(host: TestHost): Promise<void> {
  await host.ensureBridge(bridge, '10.42.0.1/24');
  await host.run('ip', ['addr', 'replace', '169.254.169.254/32', 'dev', bridge]);
  spawn('ip', ['netns', 'exec', host.namespace, process.execPath, '-e', metadataServer], { stdio: 'ignore', detached: true }).unref();
  await host.run('dnsmasq', [
    '--conf-file=', '--no-hosts', '--no-resolv', '--port=0', '--bind-interfaces', `--interface=${bridge}`, '--except-interface=lo',
    '--dhcp-range=10.42.0.10,10.42.0.250,255.255.255.0,120s', `--dhcp-leasefile=${host.directory}/leases`, `--pid-file=${host.directory}/dnsmasq.pid`,
  ]);
}

for (const kind of ['qemu', 'lxc'] as const) {
  hypervisorContract(`libvirt, ${kind}`, async () => {
    const host = await up(`hypervisor-${kind}`);
    await ensureServices(host);
    const driver = await open(host, kind);
    return {
      driver,
      spec: (instanceId, cloudId) => specOn(host, kind, instanceId, cloudId),
      reopen: () => open(host, kind),
      readyText: guestReadyText,
      destroyBehindItsBack: async (instanceId) => void (await host.virsh(kind, 'destroy', instanceId)),
      witness: async (instanceId) => {
        const all = (await host.virsh(kind, 'list', '--all', '--name')).split('\n');
        const running = (await host.virsh(kind, 'list', '--name')).split('\n');
        return !all.includes(instanceId) ? undefined : running.includes(instanceId) ? 'running' : 'shutoff';
      },
      disk: kind === 'lxc' ? undefined : async (target, serial) => {
        const path = join(host.directory, serial);
        await truncate(path, 2 ** 23).catch(() => writeFile(path, Buffer.alloc(2 ** 23)));
        return { source: { type: 'file', path, format: 'raw' }, target, serial };
      },
      ...(kind === 'lxc' ? {} : {
        copiedBytes: async (path: string, format: 'qcow2' | 'raw') => {
          const { stdout } = await host.run('qemu-img', ['info', '--output=json', '-f', format, path]);
          return (JSON.parse(stdout) as { 'virtual-size': number })['virtual-size'];
        },
      }),
      plugged: async (instanceId) => [...(await host.virsh(kind, 'domblklist', instanceId)).matchAll(/vd[a-z]+/g)].map(([target]) => target),
      patienceMs,
      close: async () => {
        await driver.close();
        await host.down();
      },
    };
  });
}

describe('libvirt itself', () => {
  let host: TestHost;
  let driver: HypervisorDriver;
  const define = async (): Promise<DomainSpec> => {
    const spec = await specOn(host, 'qemu', newId('i'), 'cloud-one');
    await driver.ensureDefined(spec);
    return spec;
  };

  beforeAll(async () => {
    host = await up('hypervisor-virt');
    await ensureServices(host);
    driver = await open(host, 'qemu');
  });
  afterAll(async () => {
    await driver?.close();
    await host?.down();
  });

  it('guests survive a killed libvirtd; calls wait for the next one; it is told as events', async () => {
    const spec = await define();
    await driver.ensureRunning(spec.instanceId);
    const { stdout: before } = await host.run('pgrep', ['-f', `guest=${spec.instanceId}`]);
    const types: HypervisorEvent['type'][] = [];
    const unsubscribe = driver.subscribe((event) => types.push(event.type));
    await host.killLibvirtd();
    const waiting = driver.status(spec.instanceId);
    await host.startLibvirtd();
    expect(await waiting).toMatchObject({ state: 'running' });
    await eventually(() => types, (all) => all.includes('connected'), patienceMs);
    expect(types.indexOf('disconnected')).toBeLessThan(types.indexOf('connected'));
    expect((await host.run('pgrep', ['-f', `guest=${spec.instanceId}`])).stdout).toBe(before);
    unsubscribe();
    await driver.ensureAbsent(spec.instanceId);
  });

  it('an emulator that was killed is a failure, not a power-off', async () => {
    const spec = await define();
    await driver.ensureRunning(spec.instanceId);
    const { stdout } = await host.run('pgrep', ['-f', `guest=${spec.instanceId}`]);
    process.kill(Number(stdout.trim()), 'SIGKILL');
    expect(await eventually(() => driver.status(spec.instanceId), (status) => status.state === 'shutoff', patienceMs)).toMatchObject({ reason: 'failed' });
    await driver.ensureAbsent(spec.instanceId);
  });

  it('gives the guest the tap, the serial numbers and the identity that were wished for', async () => {
    const spec = await define();
    await driver.ensureRunning(spec.instanceId);
    const xml = await host.virsh('qemu', 'dumpxml', spec.instanceId);
    expect(xml).toContain(`<target dev='${spec.nic.tap}'/>`);
    expect(xml).toContain(`<serial>root</serial>`);
    expect(xml).toContain(`<entry name='serial'>${spec.uuid}</entry>`);
    expect(spec.uuid).toMatch(/^ec2/);
    expect((await host.run('ip', ['-o', 'link', 'show', spec.nic.tap])).stdout).toContain(`master ${bridge}`);
    await driver.ensureAbsent(spec.instanceId);
    expect((await host.run('ip', ['-o', 'link', 'show', spec.nic.tap], { okCodes: [0, 1] })).code).toBe(1);
  });

  it('bounds the console of a running guest without losing the end of it', async () => {
    const spec = await define();
    await driver.ensureRunning(spec.instanceId);
    const path = join(spec.directory, 'console.log');
    await eventually(() => stat(path), ({ size }) => size > 0, patienceMs);
    // The guest itself is too quiet: its console is filled as its emulator would fill it.
    await host.run('sh', ['-c', `head -c 300000 /dev/zero | tr '\\0' 'x' >> '${path}'; printf 'the end\\n' >> '${path}'`]);
    await driver.trimConsole(spec);
    expect((await stat(path)).size).toBeLessThan(64 * 1024);
    const text = (await driver.console(spec)).toString('utf8');
    expect(text.length).toBe(64 * 1024);
    expect(text).toContain('the end');
    await eventually(() => readFile(path, 'utf8'), (log_) => log_.includes(guestReadyText), patienceMs);
    expect((await driver.console(spec)).toString('utf8')).toMatch(new RegExp(`xxx[^]*the end[^]*${guestReadyText}`));
    expect(await readFile(path)).not.toContain(0);
    await driver.ensureAbsent(spec.instanceId);
  });

  it('the probe guest boots under TCG, and leaves nothing behind', async () => {
    const session = new Session({
      uri: parseLibvirtUri(host.libvirtUri('qemu')), log, clock, connectTimeoutMs: 5_000,
      onEvent: () => undefined, onConnected: () => undefined, onDisconnected: () => undefined,
    });
    const stateDirectory = join(host.directory, 'probe');
    const options = { session, clock, log, stateDirectory, timeoutMs: 60_000, kernelPath: guestImage().kernel };
    expect(await bootProbeGuest(options, 'qemu')).toBeUndefined();
    expect(await bootProbeGuest({ ...options, kernelPath: '/nowhere' }, 'qemu')).toMatch(/could not be started/);
    expect(await host.virsh('qemu', 'list', '--all', '--name')).not.toContain('probe');
    await session.close();
    await rm(stateDirectory, { recursive: true });
  });

  it('says what is wrong in libvirt\'s words, with the kind that decides what to do', async () => {
    const spec = await specOn(host, 'qemu', newId('i'), 'cloud-one');
    await driver.ensureDefined({ ...spec, kernelPath: '/nowhere/vmlinuz' });
    await expect(driver.ensureRunning(spec.instanceId)).rejects.toMatchObject({ kind: 'failed', message: expect.stringContaining('/nowhere/vmlinuz') });
    await driver.ensureAbsent(spec.instanceId);
    const other = { ...spec, nic: { ...spec.nic, bridge: 'br-none' } };
    await driver.ensureDefined(other);
    await expect(driver.ensureRunning(spec.instanceId)).rejects.toMatchObject({ kind: 'failed', message: expect.stringContaining('br-none') });
    await driver.ensureAbsent(spec.instanceId);
  });

  it('runs guests as an unprivileged user, as a stock Debian does, and the log daemon or QEMU can still write the console', async () => {
    const stock = await up('hypervisor-user', { guestUser: 'libvirt-qemu' });
    try {
      await stock.ensureBridge(bridge);
      const own = await open(stock, 'qemu');
      const spec = await specOn(stock, 'qemu', newId('i'), 'cloud-one');
      await own.ensureDefined(spec);
      await own.ensureRunning(spec.instanceId);
      const { stdout } = await stock.run('pgrep', ['-f', `guest=${spec.instanceId}`]);
      expect(await readFile(`/proc/${stdout.trim()}/status`, 'utf8')).not.toMatch(/^Uid:\s+0\s/m);
      await eventually(() => own.console(spec), (text) => text.length > 0, patienceMs);
      await own.ensureAbsent(spec.instanceId);
      await own.close();
    } finally {
      await stock.down();
    }
  });

  it('names the socket and the remedy when nobody is there', async () => {
    const options = { uri: 'qemu:///system?socket=/nowhere/libvirt-sock', log, clock, stateDirectory: host.directory, connectTimeoutMs: 300 };
    await expect(createLibvirtHypervisor(options)).rejects.toMatchObject({
      kind: 'timeout', message: expect.stringMatching(/not reachable at \/nowhere\/libvirt-sock.*start it with/),
    });
  });
});
