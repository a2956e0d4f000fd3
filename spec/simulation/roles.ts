// The roles of the simulated cloud as processes: the product's own actors, composed as src/roles composes them, on handles that go through a
// SimProcess. What a role's start does here is what its launcher does.
import { allActions } from '../../src/api/ec2/actions/index.ts';
import type { Call } from '../../src/api/ec2/action.ts';
import { fail } from '../../src/api/ec2/action.ts';
import { computeActor, computeHandlers } from '../../src/actors/compute/actor.ts';
import type { ComputeHost } from '../../src/actors/compute/host.ts';
import { networksToPlumb } from '../../src/actors/network/network-spec.ts';
import { startNetworkActors } from '../../src/actors/network/start.ts';
import { startRelay } from '../../src/actors/operations/relay.ts';
import type { ActorSystem } from '../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { schedulerActor, schedulerHandlers } from '../../src/actors/scheduler/actor.ts';
import { policies } from '../../src/actors/scheduler/policies/index.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import type { Principal } from '../../src/auth/principal.ts';
import type { Db } from '../../src/db/db.ts';
import { confirmBoot, reportHost, takeEpoch } from '../../src/db/hosts.ts';
import { createFakeAuthDriver } from '../../src/drivers/auth/fake.ts';
import { createMemoryDisk } from '../../src/drivers/disk/memory.ts';
import type { FilesDriver } from '../../src/drivers/files/driver.ts';
import type { MemoryFiles } from '../../src/drivers/files/memory.ts';
import { createSimHypervisor, type SimWorld } from '../../src/drivers/hypervisor/sim.ts';
import { createVolumeConnector } from '../../src/drivers/volume/connector.ts';
import { createFakeImageSource } from '../../src/drivers/image-source/fake.ts';
import type { FakeNetwork } from '../../src/drivers/network/fake.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { schedulerProtocol } from '../../src/messages/scheduler.ts';
import type { Directory } from '../../src/transport/directory.ts';
import { createLocalDirectory, type DirectoryBoard } from '../../src/transport/local-directory.ts';
import { createLocalTransport, type LocalMedium } from '../../src/transport/local.ts';
import type { Relay, Transport } from '../../src/transport/transport.ts';
import { idleOperator, projectQuotas } from '../support/ec2-world.ts';
import { specAccess } from '../support/attachment-access.ts';
import type { SimDatabase } from '../support/sim-database.ts';
import type { VirtualTime } from '../support/sim-time.ts';
import type { SimProcess } from './process.ts';

export const cloudId = 'simulation';
export const instancesFolder = '/instances';

/** A machine: it outlives the processes on it. */
export interface SimMachine {
  readonly name: string;
  readonly world: SimWorld;
  readonly files: MemoryFiles;
  readonly network: FakeNetwork;
  readonly cores: number;
  bootId: string;
}

/** What a process stands on. */
export interface Ground {
  readonly process: SimProcess;
  readonly time: VirtualTime;
  readonly database: SimDatabase;
  readonly medium: LocalMedium;
  readonly board: DirectoryBoard;
  /** The process gives itself up; its supervisor starts it again. */
  readonly onFatal: (error: unknown) => void;
}

interface Foundation {
  readonly db: Db;
  readonly transport: Transport;
  readonly directory: Directory;
  readonly system: ActorSystem;
  /** Started by the roles that write to the outbox: a relay that finds nothing costs time in every simulation. */
  readonly startRelay: () => Relay;
}

/** A host that is silent for so long counts as down. */
const serviceDownMs = 60_000;

/** Long enough that a quiet cloud costs little, short enough that many rounds fit into a simulated hour. */
const intervals = { relayMs: 20_000, schedulerSweepMs: 10_000, sweepMs: 20_000, reconcileMs: 30_000, networkMs: 40_000 };

function lay({ process, database, medium, board, onFatal }: Ground): Foundation {
  const { clock } = process;
  const connection = database.connect(process.wire());
  process.whenKilled(() => connection.cut('lost'));
  const local = createLocalTransport({ clock, log: silentLog, process: process.name, medium });
  process.whenKilled(() => medium.kill(process.name));
  const directory = createLocalDirectory({ clock, board });
  process.whenKilled(() => directory.kill());
  const system = createActorSystem({ name: process.name, clock, log: silentLog, onFatal });
  // Between the sending and the commit a relay may die: then everything is sent again.
  const deliver: Transport['deliver'] = async (messages) => {
    const stored = await local.deliver(messages);
    await process.pass(1);
    return stored;
  };
  const { db } = connection;
  return {
    db, transport: local, directory, system,
    startRelay: () => startRelay({ db, transport: { deliver }, clock, log: silentLog, system, intervalMs: intervals.relayMs }),
  };
}

export async function startScheduler(ground: Ground): Promise<void> {
  const { process: { clock } } = ground;
  const foundation = lay(ground);
  const { db, transport, directory, system } = foundation;
  const relay = foundation.startRelay();
  const ref = system.spawn(schedulerActor, 'scheduler', {
    system, sweepIntervalMs: intervals.schedulerSweepMs, serviceDownMs,
    deps: {
      db, directory, relay, clock, log: silentLog, policy: policies.simple, overcommit: { cores: 1, memory: 1, disk: 1 }, random: Math.random, placementsMax: 3,
    },
  });
  await transport.serve({ role: 'scheduler' }, schedulerProtocol, schedulerHandlers(system, ref));
}

export async function startNetwork(ground: Ground, machine: SimMachine): Promise<void> {
  const { process } = ground;
  const { db, transport, directory, system } = lay(ground);
  const networks = networksToPlumb({ db, clock: process.clock }, { host: machine.name, dnsDomain: 'simulation', leaseSeconds: 3_600 });
  const host = {
    name: machine.name, db, clock: process.clock, log: silentLog, system, driver: process.driver(machine.network), networks, metadataPort: 8775,
    reconcileIntervalMs: intervals.networkMs,
  };
  const { handlers } = await startNetworkActors(host);
  const epoch = await takeEpoch(db, { host: machine.name, role: 'network' }, process.clock.date());
  await transport.serve({ role: 'network', host: machine.name }, networkProtocol, handlers);
  await directory.announce({ role: 'network', host: machine.name, process: process.name, epoch, version: '' });
}

export async function startCompute(ground: Ground, machine: SimMachine): Promise<void> {
  const { process, time } = ground;
  const { clock } = process;
  const foundation = lay(ground);
  const { db, transport, directory, system } = foundation;
  const relay = foundation.startRelay();
  const { name, world, cores } = machine;
  const bootId = machine.bootId;
  const { knownBootId } = await reportHost(db, {
    name, zone: 'nova', hypervisor: 'sim', cores, memoryMiB: cores * 2_048, diskGiB: 1_000, bootId,
  }, clock.date());
  const hostRestarted = knownBootId === bootId ? undefined : () => confirmBoot(db, name, bootId);
  const epoch = await takeEpoch(db, { host: name, role: 'compute' }, clock.date());
  // The guests' own clock goes on when the process does not.
  const capacity = { cores, memoryMiB: cores * 2_048 };
  const copyFile = async (_from: string, to: string) => machine.files.put(to, 1);
  const hypervisor = process.driver(createSimHypervisor({ clock: time, world, capacity, copyFile, bootDelayMs: 3_000, shutdownDelayMs: 2_000 }));
  const files: FilesDriver = process.driver(machine.files);
  const host: ComputeHost = {
    name, cloudId, db, clock, log: silentLog, system, transport, relay, hypervisor, files,
    disk: process.driver(createMemoryDisk(machine.files.put)),
    imageSource: process.driver(createFakeImageSource({ clock, put: machine.files.put, delayMs: 2_000 })),
    volumes: { connector: createVolumeConnector(), access: specAccess },
    owner: { name: `compute@${name}`, epoch },
    paths: { instances: instancesFolder, images: '/images' },
    limits: {
      shutdownMs: 60_000, rebootMs: 60_000, imageFetchMs: 120_000, imageCacheBytesMax: 10_000, terminatedVisibleMs: 4 * 3_600_000,
      reconcileIntervalMs: intervals.reconcileMs, sweepIntervalMs: intervals.sweepMs,
    },
  };
  const ref = system.spawn(computeActor, 'compute', { host, hostRestarted });
  await transport.serve({ role: 'compute', host: name }, computeProtocol, computeHandlers(host, ref));
  await directory.announce({ role: 'compute', host: name, process: process.name, epoch, version: '' });
}

/** One action of the EC2 API, called as its dispatcher calls it. */
export type CallApi = (action: string, input: object, requestId: string) => Promise<unknown>;

export async function startApi(ground: Ground, principal: Principal): Promise<CallApi> {
  const { process: { clock } } = ground;
  const foundation = lay(ground);
  const { db, transport, directory } = foundation;
  const relay = foundation.startRelay();
  const auth = new AuthManager({ driver: createFakeAuthDriver(), sealer: createSealer(Buffer.alloc(32)) });
  const actions = new Map(allActions.map((action) => [action.name as string, action]));
  return async (name, input, requestId) => {
    const call: Call = {
      db, auth, operator: idleOperator, transport, relay, directory, clock, log: silentLog, region: 'nova', zone: 'nova',
      dnsDomain: 'simulation', endpoint: 'http://127.0.0.1:8773',
      instancesPerProjectMax: 20, addressesPerProjectMax: 10, ...projectQuotas, requestId, principal, version: '2016-11-15', fail,
    };
    const action = actions.get(name);
    if (action === undefined) throw new Error(`no action ${name}`);
    return action.handle(call, input);
  };
}
