// A cloud without parts: database, transport, actor system and every role are the product's own; hypervisor, network, disks and image
// transfers are the named sims and fakes. Several hosts on one medium.
import { eq } from 'drizzle-orm';
import type { NetworkMessage } from '../../src/actors/network/actor.ts';
import { networksToPlumb } from '../../src/actors/network/network-spec.ts';
import { startNetworkActors } from '../../src/actors/network/start.ts';
import { computeActor, computeHandlers, type ComputeMessage } from '../../src/actors/compute/actor.ts';
import type { ComputeHost, ComputeLimits, HostMoves } from '../../src/actors/compute/host.ts';
import { watchWaking } from '../../src/actors/operations/watch-waking.ts';
import { startRelay } from '../../src/actors/operations/relay.ts';
import { volumeActor, volumeHandlers, type VolumeMessage } from '../../src/actors/volume/actor.ts';
import type { VolumeHost, VolumeLimits } from '../../src/actors/volume/host.ts';
import type { Ref } from '../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { schedulerActor, schedulerHandlers } from '../../src/actors/scheduler/actor.ts';
import { policies } from '../../src/actors/scheduler/policies/index.ts';
import type { Db, Queryable, Tx } from '../../src/db/db.ts';
import { reportHost, takeEpoch } from '../../src/db/hosts.ts';
import { reportVolumeHost } from '../../src/db/volume-hosts.ts';
import { keepContent } from '../../src/db/image-work.ts';
import { instances, images, operations, projects, reservations, users } from '../../src/db/schema/all.ts';
import { insertOperation } from '../../src/db/operations.ts';
import { createNetwork } from '../../src/db/networks.ts';
import type { DiskTransfer } from '../../src/drivers/disk/driver.ts';
import { createMemoryDisk } from '../../src/drivers/disk/memory.ts';
import { createMemoryFiles, type MemoryFiles } from '../../src/drivers/files/memory.ts';
import type { HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { createSimHypervisor, SimWorld, type SimOptions } from '../../src/drivers/hypervisor/sim.ts';
import { createFakeImageSource, type FakeImageSource } from '../../src/drivers/image-source/fake.ts';
import { createFakeNetwork, type FakeNetwork } from '../../src/drivers/network/fake.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import { createFakeVolumes, FakeVolumeWorld } from '../../src/drivers/volume/fake.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { newId, newProjectId } from '../../src/lib/ids.ts';
import { silentLog } from '../../src/lib/log.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { schedulerProtocol } from '../../src/messages/scheduler.ts';
import { volumeProtocol } from '../../src/messages/volume.ts';
import { createDirectoryBoard, createLocalDirectory, type DirectoryBoard, type LocalDirectory } from '../../src/transport/local-directory.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import type { Relay, Transport } from '../../src/transport/transport.ts';
import { specAccess } from './attachment-access.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

export interface SimHost {
  readonly name: string;
  readonly compute: ComputeHost;
  readonly world: SimWorld;
  readonly files: MemoryFiles;
  readonly network: FakeNetwork;
  readonly imageSource: FakeImageSource;
  /** What its volume driver has. */
  readonly volumes: FakeVolumeWorld;
  readonly volume: VolumeHost;
  /** Paused, the host falls silent, though it acts on. */
  readonly directory: LocalDirectory;
  /** What it saw at its last look. */
  readonly knowsItIsHeard: () => boolean;
}

/** Further rows of a launch, in its transaction. */
export type Beside = (tx: Tx, instanceIds: readonly string[]) => Promise<void>;

export interface SimCloud {
  /** What the directories of all processes share. */
  readonly board: DirectoryBoard;
  readonly database: TestDatabase;
  readonly transport: Transport;
  /** Of the process that clients talk to: kicked after a commit. */
  readonly relay: Relay;
  readonly hosts: readonly SimHost[];
  readonly projectId: string;
  readonly imageId: string;
  /** Writes a reservation with pending instances and their operations, as RunInstances does, which tells the scheduler. */
  launch(count: number, changes?: Partial<typeof instances.$inferInsert>, beside?: Beside): Promise<string[]>;
  /** Writes a wish on an instance, which tells its host. */
  wish(instanceId: string, kind: string, state: 'stopping' | 'shutting-down' | 'pending' | undefined, input?: Record<string, unknown>): Promise<void>;
  close(): Promise<void>;
}

export interface SimCloudOptions {
  readonly hosts?: readonly string[];
  readonly cores?: number;
  readonly memoryMiB?: number;
  readonly sim?: (host: string) => Partial<SimOptions>;
  readonly limits?: Partial<ComputeLimits>;
  readonly moves?: Partial<HostMoves>;
  /** False: the roles are laid but not started: for specs of single flows. */
  readonly start?: boolean;
  readonly cidr?: string;
  /** Default: a minute. Leases last half as long. */
  readonly serviceDownMs?: number;
  /** Room for volumes on each host; default 1 TiB. */
  readonly volumesGiB?: number;
  readonly volumeLimits?: Partial<VolumeLimits>;
}

const log = silentLog;
const clock = systemClock;
export const cloudId = 'spec';
let systems = 0;

/** Without roles what is written stays in the outbox: a relay looks by itself, too, and would have it done beside the flow that a spec looks at. */
const nobodyRelays: Relay = { kick: () => undefined, accepts: () => true };

export async function createSimCloud(options: SimCloudOptions = {}): Promise<SimCloud> {
  const database = await createTestDatabase();
  const { db } = database;
  const projectId = newProjectId();
  await db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
  await db.insert(projects).values({ id: projectId, name: 'joe', description: '', managerId: 'u', createdAt: clock.date() });
  const imageId = newId('ami');
  await db.insert(images).values({
    id: imageId, projectId, name: 'an image', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available', rootDeviceName: '/dev/vda',
    virtualizationType: 'hvm', format: 'raw', sizeBytes: 1_000, virtualSizeBytes: 1_000, sha256: '00', blobId: 'blob',
    createdAt: clock.date(), stateChangedAt: clock.date(),
  });
  await createNetwork(db, { name: 'default', manager: 'flat-dhcp', cidr: options.cidr ?? '10.45.0.0/24', bridge: 'spec0', mtu: 1500 }, clock.date());
  const transport = createLocalTransport({ clock, log, process: `spec-${(systems += 1)}` });
  const stops: (() => Promise<void>)[] = [];
  const board = createDirectoryBoard({ clock });
  const made = new Map<string, { world: SimWorld; files: MemoryFiles }>();
  const hosts = await Promise.all((options.hosts ?? ['h1']).map((name) => createHost(name, { database, transport, options, stops, made, board })));
  if (options.start !== false) await startScheduler(database, transport, { board, options, stops });
  const relay = options.start === false ? nobodyRelays : startClient(database, transport, stops);
  const launch = async (count: number, changes: Partial<typeof instances.$inferInsert> = {}, beside?: Beside) => {
    const launched = await launchIn({ database, projectId, imageId, ...(beside === undefined ? {} : { beside }) }, count, changes);
    relay.kick();
    return launched;
  };
  return {
    database, transport, relay, hosts, board, projectId, imageId, launch,
    async wish(instanceId, kind, state, input = {}) {
      await db.transaction(async (tx) => {
        if (state !== undefined) await tx.update(instances).set({ state, stateChangedAt: clock.date() }).where(eq(instances.id, instanceId));
        const owner = await hostOf(tx, instanceId);
        await insertOperation(tx, {
          kind, resourceId: instanceId, projectId, userId: 'u', requestId: 'wish', input, owner: owner === null ? 'scheduler' : `compute@${owner}`,
          deadline: new Date(clock.now() + 60_000),
        }, clock.date());
      });
      relay.kick();
    },
    async close() {
      for (const stop of stops.toReversed()) await stop();
      await transport.close();
      await database.close();
    },
  };
}

interface Making {
  readonly database: TestDatabase;
  readonly transport: Transport;
  readonly options: SimCloudOptions;
  readonly stops: (() => Promise<void>)[];
  readonly board: DirectoryBoard;
  /** The machines of all hosts, by name: what guests and disks move between. */
  readonly made: Map<string, { readonly world: SimWorld; readonly files: MemoryFiles }>;
}

/** Stands for the objectstore: it says of what it is brought that it is a small disk. */
async function keepSome(db: Db, imageId: string): Promise<void> {
  await keepContent(db, imageId, { format: 'qcow2', sizeBytes: 1_000, virtualSizeBytes: 1_000, sha256: '0'.repeat(64), blobId: imageId });
}

async function createHost(name: string, { database, transport, options, stops, made, board }: Making): Promise<SimHost> {
  const { db } = database;
  const world = new SimWorld();
  const files = createMemoryFiles({ clock });
  made.set(name, { world, files });
  const peers = (uri: string) => made.get(uri.replace(/^sim:/, ''))?.world;
  const network = createFakeNetwork();
  const imageSource = createFakeImageSource({ clock, put: files.put, delayMs: 1, keep: (imageId) => keepSome(db, imageId) });
  const hypervisor: HypervisorDriver = createSimHypervisor({
    clock, world, peers, copyFile: async (_from, to) => files.put(to, 100), bootDelayMs: 5, shutdownDelayMs: 5, migrateDelayMs: 5, ...options.sim?.(name),
  });
  const system = createActorSystem({ name: `spec-${(systems += 1)}`, clock, log, onFatal: (error) => { throw error; } });
  const relay = options.start === false ? nobodyRelays : startRelay({ db, transport, clock, log, system });
  const { cores = 16, memoryMiB = 65_536 } = options;
  await reportHost(db, { name, zone: 'nova', hypervisor: 'sim', cores, memoryMiB, diskGiB: 1_000, bootId: 'boot' }, clock.date());
  const epoch = await takeEpoch(db, { host: name, role: 'compute' }, clock.date());
  const compute: ComputeHost = {
    name, cloudId, db, clock, log, system, transport, relay, hypervisor, files, imageSource, disk: createMemoryDisk(files.put),
    volumes: { connector: createVolumeConnector(), access: specAccess },
    owner: { name: `compute@${name}`, epoch },
    paths: { instances: '/instances', images: '/images' },
    limits: {
      shutdownMs: 300, rebootMs: 300, imageFetchMs: 60_000, imageCacheBytesMax: 10_000, terminatedVisibleMs: 3_600_000, reconcileIntervalMs: 30_000,
      sweepIntervalMs: 30_000, ...options.limits,
    },
    moves: {
      address: name, migrationUri: `sim:${name}`, instancesShared: false, overcommit: { cores: 1, memory: 1, disk: 1 }, moveMs: 60_000,
      transfer: memoryTransfer(files, (address) => made.get(address)?.files), ...options.moves,
    },
  };
  const networkRef = await startNetwork(compute, network, database, transport);
  const volumes = new FakeVolumeWorld();
  const volume = await layVolumes(compute, volumes, options);
  if (options.start !== false) await startVolumes(volume);
  const computeRef = options.start === false ? undefined : await startCompute(compute, transport);
  const leaseMs = (options.serviceDownMs ?? 60_000) / 2;
  const directory = createLocalDirectory({ clock, board, leaseMs, renewMs: leaseMs / 4 });
  const announcement = await directory.announce({ role: 'compute', host: name, process: name, epoch, version: '' });
  const onWoken = () => {
    system.tell(networkRef, { type: 'ensureAll' });
    if (computeRef !== undefined) system.tell(computeRef, { type: 'hypervisorChanged' });
  };
  const volumeAnnouncement = { role: 'volume', host: name, process: name, epoch: volume.owner.epoch, version: '' } as const;
  await directory.announce(volumeAnnouncement);
  let knowsItIsHeard = true;
  watchWaking(system, 'waking', { clock, isHeld: () => (knowsItIsHeard = announcement.held()), onWoken, intervalMs: 20 });
  stops.push(() => directory.close());
  stops.push(async () => {
    await system.stop(5_000);
    await hypervisor.close();
  });
  return { name, compute, world, files, network, imageSource, volumes, volume, directory, knowsItIsHeard: () => knowsItIsHeard };
}

async function layVolumes({ name, db, system, transport, relay }: ComputeHost, world: FakeVolumeWorld, options: SimCloudOptions): Promise<VolumeHost> {
  await reportVolumeHost(db, { name, zone: 'nova', driver: 'fake', isRemote: true, movesLive: true, sizeGiB: options.volumesGiB ?? 1_024 }, clock.date());
  const owner = { name: `volume@${name}`, epoch: await takeEpoch(db, { host: name, role: 'volume' }, clock.date()) };
  const limits = { reconcileIntervalMs: 30_000, sweepIntervalMs: 30_000, deletedKeptMs: 3_600_000, placementsMax: 3, ...options.volumeLimits };
  return { name, db, clock, log, system, transport, relay, driver: createFakeVolumes(world), owner, access: specAccess, limits };
}

export async function startVolumes(host: VolumeHost): Promise<Ref<VolumeMessage>> {
  const ref = host.system.spawn(volumeActor, 'volume', host);
  await host.transport.serve({ role: 'volume', host: host.name }, volumeProtocol, volumeHandlers(host, ref));
  return ref;
}

/** Copies an entry from the other host's memory files. */
const memoryTransfer = (files: MemoryFiles, filesOf: (address: string) => MemoryFiles | undefined): DiskTransfer => ({
  info: { name: 'memory' },
  async fetch({ address, instanceId, name }, path) {
    const from = filesOf(address);
    if (from === undefined || !(await from.exists(`/instances/${instanceId}/${name}`))) throw new DriverError('notFound', `${name} of ${instanceId}`);
    files.put(path, 100);
  },
});

async function startNetwork(compute: ComputeHost, driver: FakeNetwork, database: TestDatabase, transport: Transport): Promise<Ref<NetworkMessage>> {
  const { db } = database;
  const networks = networksToPlumb({ db, clock }, { host: compute.name, dnsDomain: 'spec', leaseSeconds: 3_600 });
  const reconcileIntervalMs = Math.max(30_000, compute.limits.reconcileIntervalMs);
  const host = { name: compute.name, db, clock, log, system: compute.system, driver, networks, metadataPort: 1, reconcileIntervalMs };
  const { ref, handlers } = await startNetworkActors(host);
  await transport.serve({ role: 'network', host: compute.name }, networkProtocol, handlers);
  return ref;
}

export async function startCompute(host: ComputeHost, transport: Transport, hostRestarted?: () => Promise<void>): Promise<Ref<ComputeMessage>> {
  const ref = host.system.spawn(computeActor, 'compute', { host, hostRestarted });
  await transport.serve({ role: 'compute', host: host.name }, computeProtocol, computeHandlers(host, ref));
  return ref;
}

async function startScheduler(
  { db }: TestDatabase, transport: Transport, { board, options, stops }: { board: DirectoryBoard; options: SimCloudOptions; stops: (() => Promise<void>)[] },
): Promise<void> {
  const system = createActorSystem({ name: `spec-${(systems += 1)}`, clock, log, onFatal: (error) => { throw error; } });
  const ref = system.spawn(schedulerActor, 'scheduler', {
    system, sweepIntervalMs: 30_000, serviceDownMs: options.serviceDownMs ?? 60_000,
    deps: {
      db, directory: createLocalDirectory({ clock, board }), relay: startRelay({ db, transport, clock, log, system }), clock, log, policy: policies.simple,
      overcommit: { cores: 1, memory: 1, disk: 1 }, random: Math.random, placementsMax: 3,
    },
  });
  await transport.serve({ role: 'scheduler' }, schedulerProtocol, schedulerHandlers(system, ref));
  stops.push(() => system.stop(5_000));
}

/** The process that clients talk to: it writes rows and relays. */
function startClient({ db }: TestDatabase, transport: Transport, stops: (() => Promise<void>)[]): Relay {
  const system = createActorSystem({ name: `spec-${(systems += 1)}`, clock, log, onFatal: (error) => { throw error; } });
  stops.push(() => system.stop(5_000));
  return startRelay({ db, transport, clock, log, system });
}

async function hostOf(db: Queryable, instanceId: string): Promise<string | null> {
  const [row] = await db.select({ host: instances.host }).from(instances).where(eq(instances.id, instanceId));
  return row?.host ?? null;
}

interface LaunchIn {
  readonly database: TestDatabase;
  readonly projectId: string;
  readonly imageId: string;
  readonly beside?: Beside;
}

let macs = 0x10_00_00;

/** One after another: among a thousand drawn by chance two are the same in 3 of 100 runs, which the product expects and this would not. */
function nextMac(): string {
  macs += 1;
  return `02:16:3e:${macs.toString(16).padStart(6, '0').replaceAll(/(..)(?=.)/g, '$1:')}`;
}

async function launchIn(
  { database: { db }, projectId, imageId, beside }: LaunchIn, count: number, changes: Partial<typeof instances.$inferInsert>,
): Promise<string[]> {
  const now = clock.date();
  const reservationId = newId('r');
  return db.transaction(async (tx) => {
    await tx.insert(reservations).values({ id: reservationId, projectId, userId: 'u', requestDigest: '', createdAt: now });
    const ids = await Promise.all(Array.from({ length: count }, async (_, launchIndex) => {
      const id = newId('i');
      await tx.insert(instances).values({
        id, reservationId, projectId, userId: 'u', launchIndex, imageId, instanceType: 'm1.tiny', cores: 1, memoryMiB: 512, rootGiB: 1, architecture: 'x86_64',
        rootDeviceName: '/dev/vda', state: 'pending', stateChangedAt: now, zone: 'nova', mac: nextMac(), launchedAt: now, ...changes,
      });
      await insertOperation(tx, {
        kind: 'instance.run', resourceId: id, projectId, userId: 'u', requestId: 'launch', owner: 'scheduler', deadline: new Date(clock.now() + 60_000),
      }, now);
      return id;
    }));
    await beside?.(tx, ids);
    return ids;
  });
}

export async function stateOf(cloud: SimCloud, instanceId: string): Promise<typeof instances.$inferSelect | undefined> {
  const [row] = await cloud.database.db.select().from(instances).where(eq(instances.id, instanceId));
  return row;
}

export const allOperations = (cloud: SimCloud): Promise<(typeof operations.$inferSelect)[]> => cloud.database.db.select().from(operations);
