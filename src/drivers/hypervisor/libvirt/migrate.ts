// Moves a running guest from this libvirtd to another. The daemons do it between themselves (peer to peer): this process starts it, watches
// it, and can cancel it; if it dies meanwhile, the move goes on, and the next start finds the guest here, under way, or there.
import { isIPv6 } from 'node:net';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import { createGate } from '../../../lib/gate.ts';
import type { LiveMigrator, LiveMove } from '../driver.ts';
import {
  abortJob, domainStates, getJobInfo, getMigratableXml, getState, jobTypes, libvirtCodes, lookupByName, migrateFlags, migratePeerToPeer,
} from './procedures.ts';
import { connect, ConnectionLost, LibvirtError, toDriverError, type Connection } from './rpc.ts';
import type { Calls, Session } from './session.ts';
import { socketOf, type LibvirtUri } from './uri.ts';
import type { DomainHandle } from './xdr.ts';
import type { DomainDisks } from './domain-disks.ts';
import { escapeXml } from './escape-xml.ts';

export interface MigratorOptions {
  readonly uri: LibvirtUri;
  readonly session: Session;
  readonly clock: Clock;
  readonly log: Log;
  readonly disks: DomainDisks;
}

/** Each takes memory, disk and network of both hosts, and a thread of both daemons. */
const movesAtOnceMax = 2;
const readMs = 10_000;
const pollMs = 500;
const connectMs = 10_000;
const cancelMs = 30_000;

export function createMigrator(options: MigratorOptions): LiveMigrator {
  const { session, disks } = options;
  const gate = createGate(movesAtOnceMax);
  return {
    prepareIncoming: (wanted) => session.run('prepare for a guest', readMs, (calls) => disks.prepare(calls, wanted)),
    migrate: (move, signal) => gate.pass(() => migrateWithSecrets(options, move, signal), signal),
    cancel: (instanceId) => cancel(options, instanceId),
  };
}

/** What opened the guest's disks here is not needed here any more when it has gone. */
async function migrateWithSecrets(options: MigratorOptions, move: LiveMove, signal: AbortSignal): Promise<void> {
  const { session, disks } = options;
  const secrets = await session.run(`migrate ${move.instanceId}`, readMs, async (calls) =>
    disks.secretsOf(calls, await calls.call(lookupByName(move.instanceId))));
  await migrate(options, move, signal);
  await session.run(`forget the secrets of ${move.instanceId}`, readMs, (calls) => disks.forget(calls, secrets));
}

async function cancel(options: MigratorOptions, instanceId: string): Promise<void> {
  const until = options.clock.now() + cancelMs;
  const domain = await options.session.run(`cancel the migration of ${instanceId}`, readMs, (calls) => findAny(calls, instanceId));
  if (domain === undefined) return;
  while (await isBusyOrGone(options, domain) === 'busy') {
    if (options.clock.now() >= until) throw new DriverError('timeout', `cancel the migration of ${instanceId}: it goes on after ${cancelMs} ms`);
    await abort(options, domain);
    await options.clock.sleep(pollMs);
  }
}

async function findAny(calls: Calls, instanceId: string): Promise<DomainHandle | undefined> {
  try {
    return await calls.call(lookupByName(instanceId));
  } catch (error) {
    if (error instanceof LibvirtError && error.code === libvirtCodes.noDomain) return undefined;
    throw error;
  }
}

async function migrate(options: MigratorOptions, move: LiveMove, signal: AbortSignal): Promise<void> {
  const until = options.clock.now() + move.timeoutMs;
  for (;;) {
    const domain = await findRunning(options, move);
    if (await isBusy(options, domain)) {
      if (!(await waitForJob(options, { move, domain, until }, signal))) return;
      continue;
    }
    try {
      return await start(options, { move, domain, until }, signal);
    } catch (error) {
      if (!(error instanceof ConnectionLost)) throw toDriverError(`migrate ${move.instanceId}`, error);
      options.log.warn({ instance: move.instanceId, error: error.message }, 'libvirtd went away during a migration: looking where the guest is');
      if (options.clock.now() >= until) throw new DriverError('timeout', `migrate ${move.instanceId}: not done after ${move.timeoutMs} ms`);
    }
  }
}

interface Run {
  readonly move: LiveMove;
  readonly domain: DomainHandle;
  readonly until: number;
}

async function findRunning({ session }: MigratorOptions, { instanceId }: LiveMove): Promise<DomainHandle> {
  return session.run(`migrate ${instanceId}`, readMs, async (calls) => {
    const domain = await calls.call(lookupByName(instanceId));
    const { state } = await calls.call(getState(domain));
    if (state === domainStates.shutoff || state === domainStates.crashed) throw new DriverError('busy', `migrate ${instanceId}: it is not running`);
    return domain;
  });
}

const isBusy = async ({ session }: MigratorOptions, domain: DomainHandle): Promise<boolean> => {
  const job = await session.run(`migrate ${domain.name}`, readMs, (calls) => calls.call(getJobInfo(domain)));
  return job.type === jobTypes.bounded || job.type === jobTypes.unbounded;
};

/** Joins a move that an earlier start of this process began. False: the guest is not here any more. */
async function waitForJob(options: MigratorOptions, run: Run, signal: AbortSignal): Promise<boolean> {
  options.log.info({ instance: run.move.instanceId }, 'a migration is under way already: waiting for it');
  while (await isBusyOrGone(options, run.domain) === 'busy') {
    await cancelWhenDue(options, run, signal);
    await options.clock.sleep(pollMs);
  }
  return (await isBusyOrGone(options, run.domain)) !== 'gone';
}

async function isBusyOrGone(options: MigratorOptions, domain: DomainHandle): Promise<'busy' | 'idle' | 'gone'> {
  try {
    return (await isBusy(options, domain)) ? 'busy' : 'idle';
  } catch (error) {
    if (error instanceof DriverError && error.kind === 'notFound') return 'gone';
    // A domain that has stopped has no job to tell of.
    if (error instanceof DriverError && error.kind === 'busy') return 'idle';
    throw error;
  }
}

async function cancelWhenDue(options: MigratorOptions, { domain, until }: Run, signal: AbortSignal): Promise<void> {
  if (signal.aborted || options.clock.now() >= until) await abort(options, domain);
}

async function abort(options: MigratorOptions, domain: DomainHandle): Promise<void> {
  await options.session.run(`cancel the migration of ${domain.name}`, readMs, async (calls) => {
    try {
      await calls.call(abortJob(domain));
    } catch (error) {
      if (!(error instanceof LibvirtError && (error.code === libvirtCodes.operationInvalid || error.code === libvirtCodes.noDomain))) throw error;
    }
  });
}

/** On a connection of its own: the call lasts as long as the move, and libvirtd works on few calls of one client at once. */
async function start(options: MigratorOptions, run: Run, signal: AbortSignal): Promise<void> {
  const { clock, uri } = options;
  const { move, domain, until } = run;
  const connection = await connect({ socket: socketOf(uri), uri: uri.uri, clock, timeoutMs: connectMs, onEvent: () => undefined, onClose: () => undefined });
  const watch = new AbortController();
  const watching = watchProgress(options, run, watch.signal, signal);
  try {
    await connection.call(await callOf(connection, domain, move), Math.max(1, until - clock.now()) + graceMs);
  } catch (error) {
    if (signal.aborted && error instanceof LibvirtError) throw new DriverError('failed', `migrate ${move.instanceId}: cancelled`, { cause: error });
    if (clock.now() >= until) throw new DriverError('timeout', `migrate ${move.instanceId}: not done after ${move.timeoutMs} ms`, { cause: error });
    throw error;
  } finally {
    watch.abort();
    await watching;
    await connection.close();
  }
}

/** Between the order to cancel and the answer that it is cancelled. */
const graceMs = 30_000;

async function callOf(connection: Connection, domain: DomainHandle, move: LiveMove): ReturnType<typeof migrateCall> {
  return migrateCall(await connection.call(getMigratableXml(domain), readMs), domain, move);
}

async function migrateCall(xml: string, domain: DomainHandle, move: LiveMove) {
  const definition = translatePaths(xml, move.paths);
  const address = move.address === undefined ? undefined : isIPv6(move.address) ? `[${move.address}]` : move.address;
  const copied = move.disksShared ? [] : ownDisks(xml);
  return migratePeerToPeer(domain, {
    uri: move.uri, flags: flagsOf(move, copied.length > 0),
    parameters: [
      ['destination_xml', definition], ['persistent_xml', definition], ...copied.map((target): [string, string] => ['migrate_disks', target]),
      ...(address === undefined || move.address === undefined ? [] : [['migrate_uri', `tcp://${address}`], ['listen_address', move.address]] as const),
    ],
  });
}

/** Disks of a network are reached from there as from here: only files of this host are copied. */
export const ownDisks = (xml: string): readonly string[] =>
  [...xml.matchAll(/<disk type='file' device='disk'[^]*?<\/disk>/g)].flatMap(([disk]) =>
    (disk.includes('<readonly/>') ? [] : (/<target dev='([^']+)'/.exec(disk)?.[1] ?? [])));

/**
 * What is sent between the hosts is encrypted when the daemons speak TLS; else it is as safe as the network between them. That disks are shared is the
 * operator's word: libvirt knows few file systems that are, and calls all others unsafe. QEMU drops what it had cached when it takes over.
 */
export function flagsOf(move: Pick<LiveMove, 'uri' | 'disksShared'>, copies = !move.disksShared): number {
  const { live, peerToPeer, persistThere, undefineHere, abortOnError, autoConverge, copyOverlays, tunnelled, tls, unsafe } = migrateFlags;
  const common = live | peerToPeer | persistThere | undefineHere | abortOnError | autoConverge;
  if (move.uri.startsWith('qemu+tls:')) return common | tls | (move.disksShared ? unsafe : copies ? copyOverlays : 0);
  // Disks cannot be copied through the daemons' own connection.
  return common | (move.disksShared ? tunnelled | unsafe : copies ? copyOverlays : 0);
}

/** The definition with the other host's paths: whole paths, or beginnings that end at a slash. */
export function translatePaths(xml: string, paths: LiveMove['paths']): string {
  const map = new Map(paths.map(([from, to]) => [escapeXml(from), escapeXml(to)]));
  const any = [...map.keys()].toSorted((a, b) => b.length - a.length).map((path) => path.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
  if (any === '') return xml;
  return xml.replace(new RegExp(`(?<=['">])(${any})(?=['"</])`, 'g'), (path) => map.get(path) ?? path);
}

/** Tells of the progress, and cancels when asked to or when the time is over, until the move has ended. */
async function watchProgress(options: MigratorOptions, run: Run, ended: AbortSignal, signal: AbortSignal): Promise<void> {
  const { clock, session, log } = options;
  while (!ended.aborted) {
    try {
      await cancelWhenDue(options, run, signal);
      const job = await session.run(`watch ${run.move.instanceId}`, readMs, (calls) => calls.call(getJobInfo(run.domain)));
      if (job.type === jobTypes.unbounded || job.type === jobTypes.bounded) run.move.onProgress(job);
    } catch (error) {
      // The domain goes away at the end of it, and the daemon may be restarting: the move itself tells how it ended.
      log.debug({ instance: run.move.instanceId, error: String(error) }, 'no progress read');
    }
    await clock.sleep(pollMs, ended).catch(() => undefined);
  }
}
