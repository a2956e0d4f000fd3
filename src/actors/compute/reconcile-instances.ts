// Compares the instances of this host as they should be with the domains and folders that there are, and mends the difference. Without
// input: a notice only makes it look earlier at the domains it names. What it does not know it reports and leaves alone.
import { volumesOfInstance } from '../../db/attachments.ts';
import { instancesById, instancesOfHost, overdueInstances, purgeTerminated, settleUnchanged, type Instance } from '../../db/instance-work.ts';
import { idleInstances } from '../../db/idle-instances.ts';
import { resumeLost } from '../../db/host-life.ts';
import { adoptArrived, forgetMigration } from '../../db/migrate-work.ts';
import { addressesOfInstances } from '../../db/networks.ts';
import { insertOperation, purgeEndedOperations, resourcesWithWork, type NewOperation } from '../../db/operations.ts';
import type { DomainStatus } from '../../drivers/hypervisor/driver.ts';
import { isVolumeSerial, newRequestId, volumeSerial } from '../../lib/ids.ts';
import { networkProtocol } from '../../messages/network.ts';
import { instanceDirectory, ownWish, type ComputeHost } from './host.ts';
import { evictImages } from './image-cache.ts';

export interface Reconciliation {
  /** Instances for which an operation was written: their actors are woken. */
  readonly wake: readonly string[];
}

export interface ReconcileOptions {
  /** The machine was restarted since the rows were written, so that guests that should run are started. */
  readonly hostRestarted: boolean;
}

/** Looks at the domains that events named: as `reconcileInstances`, at the cost of these alone. What an operation works on is its own business. */
export async function lookAtInstances(host: ComputeHost, ids: ReadonlySet<string>, options: ReconcileOptions): Promise<Reconciliation> {
  const rows = await idleInstances(host.db, [...ids]);
  const domains = await domainsOf(host);
  const wake: string[] = [];
  for (const row of rows) {
    const domain = domains.get(row.id);
    if (row.host !== host.name) await reapStranger(host, row, domain);
    else if (await reconcileOne(host, row, domain, options)) wake.push(row.id);
  }
  return { wake };
}

export async function reconcileInstances(host: ComputeHost, options: ReconcileOptions & { purge: boolean }): Promise<Reconciliation> {
  // Rows first, then reality: what is found is written only to a row that has not changed since, so that an operation that ran in between is not
  // undone by an old view of its domain.
  const rows = await instancesOfHost(host.db, host.name);
  const busy = new Set(await resourcesWithWork(host.db, host.owner.name));
  const domains = await domainsOf(host);
  const wake: string[] = [];
  // Of those that were ended while this host was away, the addresses are still claimed.
  const addresses = await addressesOfInstances(host.db, rows.filter((row) => row.state === 'terminated').map((row) => row.id));
  for (const row of rows) {
    if (busy.has(row.id)) continue;
    if (addresses.has(row.id) && !domains.has(row.id)) await removePort(host, row.id);
    const woken = await reconcileOne(host, row, domains.get(row.id), options);
    if (woken) wake.push(row.id);
    await host.hypervisor.trimConsole({ instanceId: row.id, directory: instanceDirectory(host, row.id) });
  }
  await handleUnknown(host, rows, domains);
  wake.push(...(await resolveOverdue(host, busy)));
  if (options.purge) {
    await purgeTerminated(host.db, new Date(host.clock.now() - host.limits.terminatedVisibleMs));
    await purgeEndedOperations(host.db, new Date(host.clock.now() - endedOperationsKeptMs));
  }
  await evictImages(host);
  return { wake };
}

const domainsOf = async (host: ComputeHost): Promise<ReadonlyMap<string, DomainStatus>> =>
  new Map((await host.hypervisor.list(host.cloudId)).map((domain) => [domain.instanceId, domain]));

async function reconcileOne(host: ComputeHost, row: Instance, domain: DomainStatus | undefined, options: ReconcileOptions): Promise<boolean> {
  const runs = domain?.state === 'running' || domain?.state === 'paused';
  switch (row.state) {
    case 'terminated':
      await reap(host, row, domain);
      return false;
    case 'running':
      return runs ? false : notRunning(host, row, domain, options.hostRestarted);
    case 'stopped':
      if (runs) await adoptRunning(host, row);
      return !runs && row.hostLost ? restartLost(host, row) : false;
    case 'pending':
    case 'stopping':
    case 'shutting-down':
      return false;
  }
}

/** Its guest runs although it is shown as stopped. Where this host was lost, what was taken off it meanwhile goes first: it may be another's. */
async function adoptRunning(host: ComputeHost, row: Instance): Promise<void> {
  if (row.hostLost) await takeOffReleased(host, row);
  await settleUnchanged(host.db, row, { state: 'running', reasonCode: null, reason: null }, host.clock.date());
}

async function takeOffReleased(host: ComputeHost, row: Instance): Promise<void> {
  const own = new Set((await volumesOfInstance(host.db, row.id)).map(({ volume }) => volumeSerial(volume.id)));
  for (const { serial } of await host.hypervisor.disks(row.id)) {
    if (!isVolumeSerial(serial) || own.has(serial)) continue;
    await host.hypervisor.detachDisk(row.id, serial, { force: true });
    host.log.warn({ instance: row.id, disk: serial }, 'a volume was taken off the guest: it was released while this host was away');
  }
}

/** The guest is not there although it should be: its machine restarted, it powered itself off, or somebody ended it behind our back. */
async function notRunning(host: ComputeHost, row: Instance, domain: DomainStatus | undefined, hostRestarted: boolean): Promise<boolean> {
  if (hostRestarted) return wish(host, row, 'instance.start');
  const byGuest = domain?.reason === 'guest';
  if (byGuest && row.shutdownBehavior === 'terminate') {
    // Together: the state without the wish would be nobody's to end.
    return host.db.transaction(async (tx) => {
      const settled = await settleUnchanged(tx, row, {
        state: 'shutting-down', reasonCode: 'Client.InstanceInitiatedShutdown', reason: 'Client.InstanceInitiatedShutdown: Instance initiated shutdown',
      }, host.clock.date());
      if (settled) await insertOperation(tx, wishOf(host, row, 'instance.terminate'), host.clock.date());
      return settled;
    });
  }
  const reason = byGuest
    ? { reasonCode: 'Client.InstanceInitiatedShutdown', reason: 'Client.InstanceInitiatedShutdown: Instance initiated shutdown' }
    : { reasonCode: 'Server.InternalError', reason: `Server.InternalError: the guest ended outside novact (${domain?.reason ?? 'its domain is gone'})` };
  const settled = await settleUnchanged(host.db, row, { state: 'stopped', ...reason }, host.clock.date());
  if (settled) host.log.warn({ instance: row.id, ...reason }, 'instance is not running any more');
  return false;
}

/** It ran when this host was lost, and is not there any more: it starts again. One that was on its way elsewhere may have arrived: that is waited for. */
async function restartLost(host: ComputeHost, row: Instance): Promise<boolean> {
  const now = host.clock.date();
  if (row.migratingTo !== null && now.getTime() - row.stateChangedAt.getTime() < arrivalMs) return false;
  const resumed = await host.db.transaction(async (tx) => {
    if (!(await resumeLost(tx, row, new Date(now.getTime() + operationMs), now))) return false;
    await forgetMigration(tx, row);
    await insertOperation(tx, wishOf(host, row, 'instance.start'), now);
    return true;
  });
  if (resumed) host.log.info({ instance: row.id }, 'an instance that was lost with this host starts again');
  return resumed;
}

async function wish(host: ComputeHost, row: Instance, kind: 'instance.start' | 'instance.stop' | 'instance.terminate'): Promise<boolean> {
  await insertOperation(host.db, wishOf(host, row, kind), host.clock.date());
  return true;
}

const wishOf = (host: ComputeHost, row: Instance, kind: string): NewOperation => ({
  kind, resourceId: row.id, projectId: row.projectId, userId: ownWish, requestId: newRequestId(), owner: host.owner.name,
  deadline: new Date(host.clock.now() + operationMs),
});

/** A host looks at what has arrived at it within this time. */
const arrivalMs = 90_000;
const operationMs = 10 * 60_000;
const endedOperationsKeptMs = 7 * 24 * 3_600_000;

async function removePort(host: ComputeHost, instanceId: string): Promise<void> {
  await host.transport.ask({ role: 'network', host: host.name }, networkProtocol, 'removePort', { instanceId });
}

/** What a termination could not remove, or a crash left, goes now. */
async function reap(host: ComputeHost, row: Instance, domain: DomainStatus | undefined): Promise<void> {
  const directory = instanceDirectory(host, row.id);
  if (domain !== undefined) {
    host.log.warn({ instance: row.id, state: row.state, host: row.host }, 'domain of an instance that is not here any more removed');
    await host.hypervisor.ensureAbsent(row.id);
    // The address of one that lives elsewhere is its own there.
    if (row.state === 'terminated') await removePort(host, row.id);
  }
  // On a shared folder they are those of the host that it lives on.
  const shared = host.moves?.instancesShared === true && row.state !== 'terminated';
  if (!shared && (await host.files.exists(directory))) await host.files.removeTree(directory);
}

/**
 * What no instance of this host explains. Of an instance that has ended or belongs to another host it is a leftover (a definition that was
 * made after its caller had given up) and goes; without a row it is reported only: somebody else's work, or a restored database, must not
 * cost a guest.
 */
async function handleUnknown(host: ComputeHost, rows: readonly Instance[], domains: ReadonlyMap<string, DomainStatus>): Promise<void> {
  const known = new Set(rows.map((row) => row.id));
  const folders = (await host.files.list(host.paths.instances)).map((entry) => entry.name);
  const strangers = new Set([...domains.keys(), ...folders].filter((id) => !known.has(id)));
  if (strangers.size === 0) return;
  for (const row of await instancesById(host.db, [...strangers])) {
    strangers.delete(row.id);
    await reapStranger(host, row, domains.get(row.id));
  }
  if (strangers.size > 0) host.log.warn({ unknown: [...strangers] }, 'domains or folders that no instance explains; left as they are');
}

/** Read anew: a move may have brought it here since, and what is removed is gone for good. */
async function reapStranger(host: ComputeHost, seen: Instance, domain: DomainStatus | undefined): Promise<void> {
  const [row] = await instancesById(host.db, [seen.id]);
  if (row === undefined) return;
  if (row.migratingTo === host.name && row.state !== 'terminated') return adopt(host, row, domain);
  if (row.state === 'terminated' || (row.host !== null && row.host !== host.name)) await reap(host, row, domain);
}

/** On its way here: nothing is touched. If it runs here and nobody moves it any more, this is where it lives. */
async function adopt(host: ComputeHost, row: Instance, domain: DomainStatus | undefined): Promise<void> {
  if (domain?.state !== 'running') return;
  const now = host.clock.date();
  const adopted = await adoptArrived(host.db, { instance: row, host: host.name, deadline: new Date(now.getTime() + operationMs) }, now);
  if (adopted) host.log.warn({ instance: row.id, from: row.host }, 'a guest whose move was given up runs here: it lives here now');
}

/** A transitional state past its deadline without an operation at work would be stuck for ever: it is resolved by a new one. */
async function resolveOverdue(host: ComputeHost, busy: ReadonlySet<string>): Promise<string[]> {
  const wake: string[] = [];
  for (const row of await overdueInstances(host.db, host.clock.date())) {
    if (row.host !== host.name || busy.has(row.id)) continue;
    const kind = row.state === 'stopping' ? 'instance.stop' : row.state === 'pending' ? 'instance.start' : 'instance.terminate';
    host.log.warn({ instance: row.id, state: row.state }, 'state is past its deadline');
    await wish(host, row, kind);
    wake.push(row.id);
  }
  return wake;
}
