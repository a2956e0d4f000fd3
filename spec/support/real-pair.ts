// Two hosts of real parts in one process: each a namespace with its own libvirtd (with TLS), bridge, DHCP, rules and folder; joined by a wire
// for the guests and one for the hosts. The roles are the product's own, on a local transport and one database. Root only.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readFile, rm } from 'node:fs/promises';
import type { Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { computeActor, computeHandlers } from '../../src/actors/compute/actor.ts';
import type { ComputeHost } from '../../src/actors/compute/host.ts';
import { networkSpecOf } from '../../src/actors/network/network-spec.ts';
import { startNetworkActors } from '../../src/actors/network/start.ts';
import { startRelay } from '../../src/actors/operations/relay.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { reportHost } from '../../src/db/hosts.ts';
import { isGoingOver } from '../../src/db/migrate-work.ts';
import { claimHostAddress, createNetwork, type Network } from '../../src/db/networks.ts';
import { enrol } from '../../src/db/owners.ts';
import { createQemuImg } from '../../src/drivers/disk/qemu-img.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import { createTransferServer } from '../../src/drivers/disk/transfer-server.ts';
import { createDiskTransfer } from '../../src/drivers/disk/transfer.ts';
import { createLocalFiles } from '../../src/drivers/files/local.ts';
import type { HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { createLibvirtHypervisor } from '../../src/drivers/hypervisor/libvirt/libvirt.ts';
import type { NetworkDriver, NetworkSpec } from '../../src/drivers/network/driver.ts';
import { createLinuxNetwork } from '../../src/drivers/network/linux/linux.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { specAccess } from './attachment-access.ts';
import { makeCertificates } from './certificates.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';
import { imageWithKey } from './guest-host.ts';
import { up, type TestHost } from './host.ts';

const root = createRun({ log });
const cloudId = 'pair';

export interface RealHost {
  readonly name: string;
  readonly machine: TestHost;
  readonly compute: ComputeHost;
  readonly hypervisor: HypervisorDriver;
}

export interface RealPair {
  readonly database: TestDatabase;
  readonly hosts: readonly [RealHost, RealHost];
  readonly folder: string;
  /** The images of the guest, by their ids in the database. */
  readonly images: Readonly<Record<'machine' | 'kernel' | 'ramdisk', { readonly id: string; readonly path: string }>>;
  /** A command in the guest, asked from that host. */
  ssh(from: RealHost, address: string, command: string, timeoutMs?: number): Promise<string>;
  down(): Promise<void>;
}

async function imagesIn(folder: string, publicKey: string): Promise<RealPair['images']> {
  const { root: machine, kernel, ramdisk } = await imageWithKey(folder, publicKey);
  return { machine: { id: 'ami-00000001', path: machine }, kernel: { id: 'aki-00000001', path: kernel }, ramdisk: { id: 'ari-00000001', path: ramdisk } };
}

/** `name` begins every namespace: at most eight characters. */
export async function startPair(name: string): Promise<RealPair> {
  const folder = `/tmp/${name}`;
  const stops: (() => Promise<unknown>)[] = [];
  const down = async () => {
    for (const stop of stops.splice(0).toReversed()) await stop();
  };
  try {
    return await start(name, folder, stops, down);
  } catch (error) {
    await down();
    throw error;
  }
}

async function start(name: string, folder: string, stops: (() => Promise<unknown>)[], down: () => Promise<void>): Promise<RealPair> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o755 });
  stops.push(() => rm(folder, { recursive: true, force: true }));
  const addresses = ['10.98.7.1', '10.98.7.2'] as const;
  const certificates = await makeCertificates(join(folder, 'pki'), addresses);
  const machines = await Promise.all(addresses.map(async (_, index) => {
    // What a killed run left has its images and its keys.
    await (await up(`${name}-${index + 1}`)).down();
    return up(`${name}-${index + 1}`, { certificates: certificates[index] ?? '' });
  }));
  for (const machine of machines) stops.push(() => machine.down());
  const [first, second] = machines;
  if (first === undefined || second === undefined) throw new Error('two hosts are needed');
  await joinHosts(first, second, addresses);
  await promisify(execFile)('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(folder, 'key')]);
  const images = await imagesIn(folder, (await readFile(join(folder, 'key.pub'), 'utf8')).trim());
  const database = await createTestDatabase();
  stops.push(() => database.close());
  const wanted = { name: 'default', manager: 'flat-dhcp', cidr: '10.45.0.0/24', bridge: `${name}br`, mtu: 1500 };
  const network = await createNetwork(database.db, wanted, clock.date());
  const transport = createLocalTransport({ clock, log, process: name });
  stops.push(() => transport.close());
  const world: World = { database, network, transport, images, stops, secret: randomBytes(32), ports: new Map(), certificates: certificates[0] ?? '' };
  const hosts = [await startHost(world, 'h1', first, addresses[0]), await startHost(world, 'h2', second, addresses[1])] as const;
  const said = ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null', 'ConnectTimeout=5', 'LogLevel=ERROR'];
  const options = ['-i', join(folder, 'key'), ...said.flatMap((one) => ['-o', one])];
  return {
    database, hosts, folder, images, down,
    ssh: async (from, address, command, timeoutMs = 30_000) =>
      (await from.machine.run('ssh', [...options, `root@${address}`, command], { timeoutMs })).stdout.trim(),
  };
}

/** One wire for the hosts, and one for the guests' bridges. */
async function joinHosts(first: TestHost, second: TestHost, addresses: readonly [string, string]): Promise<void> {
  for (const link of ['hosts0', 'guests0']) {
    await root('ip', ['-n', first.namespace, 'link', 'del', link], { okCodes: [0, 1] });
    await root('ip', ['-n', first.namespace, 'link', 'add', link, 'type', 'veth', 'peer', 'name', link, 'netns', second.namespace]);
  }
  for (const [index, machine] of [first, second].entries()) {
    await machine.run('ip', ['addr', 'add', `${addresses[index]}/24`, 'dev', 'hosts0']);
    await machine.run('ip', ['link', 'set', 'hosts0', 'up']);
  }
}

interface World {
  readonly database: TestDatabase;
  readonly network: Network;
  readonly transport: Transport;
  readonly images: RealPair['images'];
  readonly stops: (() => Promise<unknown>)[];
  readonly secret: Buffer;
  /** Where each host's disks are fetched: all in this process, so on loopback. */
  readonly ports: Map<string, number>;
  readonly certificates: string;
}

async function startHost(world: World, name: string, machine: TestHost, address: string): Promise<RealHost> {
  const { database: { db }, stops, images, transport } = world;
  const state = join(machine.directory, 'novact');
  const paths = { instances: join(state, 'instances'), images: join(state, 'images') };
  const files = createLocalFiles({ clock });
  for (const path of Object.values(paths)) await files.ensureDirectory(path);
  const system = createActorSystem({ name: `pair-${name}`, clock, log, onFatal: (error) => { throw error; } });
  const relay = startRelay({ db, transport, clock, log, system });
  const hypervisor = await createLibvirtHypervisor({ uri: machine.libvirtUri('qemu'), log, clock, stateDirectory: state, accelerator: 'tcg' });
  stops.push(() => hypervisor.close());
  const plumbing = await plumb(world, name, machine);
  // The actors end before what they look after is taken away.
  stops.push(() => system.stop(10_000));
  await reportHost(db, { name, zone: 'nova', hypervisor: 'qemu', cores: 8, memoryMiB: 4_096, diskGiB: 100, bootId: 'boot' }, clock.date());
  const owner = { name: `compute@${name}`, epoch: await enrol(db, `compute@${name}`, clock.date()) };
  const compute: ComputeHost = {
    name, cloudId, db, clock, log, system, transport, relay, hypervisor, files, owner, paths, disk: createQemuImg({ run: root, log, clock }),
    volumes: { connector: createVolumeConnector(), access: specAccess },
    imageSource: {
      info: { name: 'copy' },
      fetch: async ({ id }, path) => copyFile(Object.values(images).find((image) => image.id === id)?.path ?? '', path),
      store: async () => undefined,
    },
    limits: {
      shutdownMs: 30_000, rebootMs: 30_000, imageFetchMs: 60_000, imageCacheBytesMax: 2 ** 40, terminatedVisibleMs: 3_600_000, reconcileIntervalMs: 2_000,
      sweepIntervalMs: 500,
    },
    moves: {
      address, migrationUri: `qemu+tls://${address}/system?pkipath=${world.certificates}`, instancesShared: false, moveMs: 120_000,
      overcommit: { cores: 1, memory: 1, disk: 1 },
      transfer: {
        info: { name: 'loopback' },
        fetch: (file, path, signal) => createDiskTransfer({ clock, secret: world.secret, port: world.ports.get(file.address) ?? 0, stallMs: 10_000 })
          .fetch({ ...file, address: '127.0.0.1' }, path, signal),
      },
    },
  };
  await serveDisks(world, compute, address);
  await startNetwork(world, compute, plumbing);
  const ref = system.spawn(computeActor, 'compute', { host: compute, hostRestarted: undefined });
  await transport.serve({ role: 'compute', host: name }, computeProtocol, computeHandlers(compute, ref));
  return { name, machine, compute, hypervisor };
}

async function serveDisks({ secret, ports, stops, database }: World, { name, paths }: ComputeHost, address: string): Promise<void> {
  const server: Server = createTransferServer({
    secret, log,
    authorise: async (move) => ((await isGoingOver(database.db, { ...move, source: name })) ? join(paths.instances, move.instanceId) : undefined),
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ports.set(address, (server.address() as AddressInfo).port);
  stops.push(() => new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  }));
}

async function plumb({ network, database: { db }, stops }: World, name: string, machine: TestHost): Promise<Plumbing> {
  const driver = createLinuxNetwork({ run: machine.run, log, clock, stateDirectory: join(machine.directory, 'networks') });
  const hostAddress = await claimHostAddress(db, { networkId: network.id, host: name, now: clock.date() });
  const spec = { ...networkSpecOf(network, { host: name, dnsDomain: 'spec', leaseSeconds: 3_600, flatInterface: 'guests0' }), hostAddress };
  stops.push(() => driver.removeAll([spec]).finally(() => driver.close()));
  return { driver, spec };
}

interface Plumbing {
  readonly driver: NetworkDriver;
  readonly spec: NetworkSpec;
}

async function startNetwork({ database: { db }, transport }: World, { name, system }: ComputeHost, { driver, spec }: Plumbing): Promise<void> {
  const host = { name, db, clock, log, system, driver, networks: async () => [spec], metadataPort: 8775, reconcileIntervalMs: 2_000 };
  const { handlers } = await startNetworkActors(host);
  await transport.serve({ role: 'network', host: name }, networkProtocol, handlers);
}
