// A farm of simulated hosts: the compute and network roles of one process pretend to be `simHosts` hosts (`<host>-1` …), each with its own
// actors, world and mailboxes, so that a cloud of hundreds of hosts can be tried on one machine. What would be asked for once by each host is
// asked for once by all of them: announcements, epochs and sweeps. Guests, disks and rules are in memory and end with the process, which
// is therefore a machine that was restarted whenever it starts.
import { randomUUID } from 'node:crypto';
import { computeActor, computeHandlers, type ComputeMessage } from '../actors/compute/actor.ts';
import type { AttachmentAccess, ComputeHost } from '../actors/compute/host.ts';
import type { NetworkHost } from '../actors/network/host.ts';
import { networkSpecOf } from '../actors/network/network-spec.ts';
import { startNetworkActors } from '../actors/network/start.ts';
import type { ActorDefinition, Ref } from '../actors/runtime/actor.ts';
import { reportHosts, takeEpochs, workOfOwners } from '../db/farm-hosts.ts';
import { confirmBoot } from '../db/hosts.ts';
import { createMemoryDisk } from '../drivers/disk/memory.ts';
import { createMemoryFiles } from '../drivers/files/memory.ts';
import { createSimHypervisor } from '../drivers/hypervisor/sim.ts';
import { createFakeImageSource } from '../drivers/image-source/fake.ts';
import { listNetworks } from '../db/networks.ts';
import type { NetworkDriver } from '../drivers/network/driver.ts';
import { createFakeNetwork } from '../drivers/network/fake.ts';
import { createVolumeConnector } from '../drivers/volume/connector.ts';
import { computeProtocol } from '../messages/compute.ts';
import { networkProtocol } from '../messages/network.ts';
import { attachmentAccess } from './attachment-access.ts';
import { keep, serviceOf, type Foundation } from './foundation.ts';
import { ensureSharedNetwork, plumbingOf } from './network.ts';

export interface SimHostSize {
  readonly cores: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
}

export interface SimFarmOptions {
  readonly size?: SimHostSize;
  /** How long a sim guest boots. */
  readonly bootDelayMs?: number;
}

const sizeDefault: SimHostSize = { cores: 64, memoryMiB: 262_144, diskGiB: 10_000 };
const sweepIntervalMs = 5_000;
const reconcileIntervalMs = 30_000;
/** So many hosts are looked after as often as one real host; more of them less often, so that the database has no more to do. */
const hostsAtFullPace = 10;
const serveAtOnce = 50;

const limits = {
  shutdownMs: 60_000, rebootMs: 60_000, imageFetchMs: 60_000, imageCacheBytesMax: 2 ** 50, terminatedVisibleMs: 3_600_000,
  sweepIntervalMs: 3_600_000, // the farm sweeps for all
};

/** Does this process stand for many hosts? */
export const isFarm = ({ settings }: Pick<Foundation, 'settings'>): boolean => settings.hypervisor === 'sim' && settings.simHosts > 1;

/** `<host>-1` … `<host>-<simHosts>`. */
export const farmHosts = ({ host, simHosts }: Pick<Foundation['settings'], 'host' | 'simHosts'>): string[] =>
  Array.from({ length: simHosts }, (_, index) => `${host}-${index + 1}`);

const paceOf = (hosts: number): number => reconcileIntervalMs * Math.max(1, hosts / hostsAtFullPace);

/** The compute roles of all hosts of the farm. */
export async function startSimComputes(foundation: Foundation, options: SimFarmOptions = {}): Promise<void> {
  const { settings, system, transport, db, clock } = foundation;
  const names = farmHosts(settings);
  const bootId = randomUUID();
  const size = options.size ?? sizeDefault;
  const known = await reportHosts(db, names.map((name) => ({ name, zone: settings.zone, hypervisor: 'sim', ...size, bootId })), clock.date());
  const epochs = await takeEpochs(db, { hosts: names, role: 'compute' }, clock.date());
  const access = await attachmentAccess(foundation);
  const refs = new Map<string, Ref<ComputeMessage>>();
  await inGroups(names, async (name) => {
    const epoch = epochs.get(name) ?? 0;
    const host = computeHost(foundation, { name, epoch, hosts: names.length, options, access });
    const hostRestarted = known.get(name) === bootId ? undefined : () => confirmBoot(db, name, bootId);
    const ref = system.spawn(computeActor, `compute-${name}`, { host, hostRestarted });
    refs.set(host.owner.name, ref);
    const service = serviceOf(foundation, epoch);
    await keep(foundation, transport.serve({ role: 'compute', host: name }, computeProtocol, computeHandlers(host, ref), { service }));
  });
  system.spawn(defineFarmSweeper(foundation, refs), 'farm-sweeper', undefined);
}

function computeHost(
  { system, transport, relay, db, clock, cloudId, log }: Foundation,
  farm: { name: string; epoch: number; hosts: number; options: SimFarmOptions; access: AttachmentAccess },
): ComputeHost {
  const { name, epoch, options } = farm;
  const files = createMemoryFiles({ clock });
  return {
    name, cloudId, db, clock, system, transport, relay, files,
    log: log.child({ role: 'compute', host: name }),
    hypervisor: createSimHypervisor({
      clock, copyFile: async (_from, to) => files.put(to, 1), ...(options.bootDelayMs === undefined ? {} : { bootDelayMs: options.bootDelayMs }),
    }),
    disk: createMemoryDisk(files.put),
    imageSource: createFakeImageSource({ clock, put: files.put, delayMs: 0 }),
    volumes: { connector: createVolumeConnector(), access: farm.access },
    owner: { name: `compute@${name}`, epoch },
    paths: { instances: '/instances', images: '/images' },
    limits: { ...limits, reconcileIntervalMs: paceOf(farm.hosts) },
  };
}

/** One query for the waiting work of all hosts. */
function defineFarmSweeper({ settings, system, db }: Foundation, refs: ReadonlyMap<string, Ref<ComputeMessage>>): ActorDefinition<null, 'sweep'> {
  return {
    kind: 'sweeper',
    init(context) {
      context.after(0, 'sweep');
      context.every(sweepIntervalMs, 'sweep');
      return null;
    },
    async handle() {
      for (const { owner, resourceId } of await workOfOwners(db, `compute@${settings.host}-`)) {
        const ref = refs.get(owner ?? '');
        if (ref !== undefined) system.tell(ref, { type: 'work', instanceId: resourceId });
      }
    },
    // The database may be away for a while: the next round comes anyway.
    onError: () => 'resume',
  };
}

/** The network roles of all hosts of the farm, each with the networks of the cloud, plumbed in memory. */
export async function startSimNetworks(foundation: Foundation): Promise<void> {
  const { settings, system, transport, db, clock } = foundation;
  await ensureSharedNetwork(foundation);
  // Thousands of hosts need not ask one by one.
  const shared = (await listNetworks(db)).filter((row) => row.projectId === null).map((row) => networkSpecOf(row, plumbingOf(settings)));
  const networks = async (): Promise<typeof shared> => shared;
  const names = farmHosts(settings);
  const epochs = await takeEpochs(db, { hosts: names, role: 'network' }, clock.date());
  await inGroups(names, async (name) => {
    const host: NetworkHost = {
      name, db, clock, system, networks, driver: plumbsNothing(), metadataPort: settings.metadataPort, reconcileIntervalMs: paceOf(names.length),
      log: foundation.log.child({ role: 'network', host: name }),
    };
    const { handlers } = await startNetworkActors(host, `network-${name}`);
    await keep(foundation, transport.serve({ role: 'network', host: name }, networkProtocol, handlers, {
      service: serviceOf(foundation, epochs.get(name) ?? 0),
    }));
  });
}

/** A fake that remembers nothing: the rules of each of many hosts name every member of a group, and nobody looks at them. */
function plumbsNothing(): NetworkDriver {
  return { ...createFakeNetwork(), ensureNetwork: async () => undefined, applyFirewall: async () => undefined, releaseLease: async () => undefined };
}

async function inGroups(names: readonly string[], start: (name: string) => Promise<void>): Promise<void> {
  for (let first = 0; first < names.length; first += serveAtOnce) await Promise.all(names.slice(first, first + serveAtOnce).map(start));
}
