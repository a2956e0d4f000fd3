// What every role of a process stands on: database, mailboxes, directory, actor system, auth manager, and who this host is. Alone, a process
// has its mailboxes in itself; with a Redis named, they are there, and the cloud is as many processes as one likes.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createActorSystem } from '../actors/runtime/system.ts';
import { startAuditWriter, type AuditWriter } from '../actors/audit/writer.ts';
import { startRelay } from '../actors/operations/relay.ts';
import type { ActorSystem } from '../actors/runtime/actor.ts';
import { AuthManager } from '../auth/manager.ts';
import type { RoleName } from '../config/options.ts';
import { statePaths, type Settings, type StatePaths } from '../config/settings.ts';
import { openDatabase, type OpenDatabase } from '../db/connect.ts';
import type { Db } from '../db/db.ts';
import { underCloudLock } from '../db/founding-lock.ts';
import { ensureSetting } from '../db/hosts.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { SetupError } from '../lib/errors.ts';
import { createRun, type Run } from '../lib/exec.ts';
import type { Log } from '../lib/log.ts';
import type { Sealer } from '../lib/sealed.ts';
import type { Role } from '../messages/protocol.ts';
import type { Directory } from '../transport/directory.ts';
import type { Relay, Subscription, Transport } from '../transport/transport.ts';
import { createLockout, openAuthDriver } from './auth-driver.ts';
import { createDrain, type Drain } from './drain.ts';
import { openMailboxes } from './mailboxes.ts';
import { openMasterKey } from './master-key.ts';
import { processName } from './names.ts';

export interface Foundation {
  readonly settings: Settings;
  readonly paths: StatePaths;
  readonly log: Log;
  readonly clock: Clock;
  readonly db: Db;
  readonly transport: Transport;
  /** Carries what this process leaves in the outbox: kicked after every commit that left work for an owner. */
  readonly relay: Relay;
  readonly directory: Directory;
  readonly system: ActorSystem;
  readonly auth: AuthManager;
  /** To which the edges of this process tell what is changed through them. */
  readonly audit: AuditWriter;
  /** Of secrets that are kept in the database. */
  readonly sealer: Sealer;
  /** Commands on this host, inside its network namespace if it has one. */
  readonly run: Run;
  /** Marks this cloud's domains. */
  readonly cloudId: string;
  /** Of this process, unique in the cloud. */
  readonly process: string;
  /** The release, as others see it in the directory. */
  readonly version: string;
  /** Every subscription and every server of a role is told to it, so that the end is gentle. */
  readonly drain: Drain;
  /** Runs work that is done once for the whole cloud while no other process does. */
  once<T>(name: 'founding' | 'tinyImage', work: () => Promise<T>): Promise<T>;
  /** Gently: stops taking, finishes what is in hand up to a deadline, says goodbye. */
  close(): Promise<void>;
}

export interface FoundationOptions {
  readonly log: Log;
  readonly onFatal: (error: unknown) => void;
  readonly version: string;
  /** The one role of this process; absent: all. */
  readonly role?: RoleName | undefined;
}

const stopDeadlineMs = 20_000;

export async function layFoundation(settings: Settings & { readonly databaseUrl: string }, options: FoundationOptions): Promise<Foundation> {
  refuseTrialDatabase(settings);
  const closers: (() => Promise<void>)[] = [];
  const closeAll = async () => {
    for (const close of closers.splice(0).toReversed()) await close();
  };
  try {
    // A server has room for so many, and a cloud has many processes of one role.
    const database: OpenDatabase = await openDatabase(settings.databaseUrl, options.role === undefined ? {} : { connectionsMax: 5 });
    closers.push(() => database.close());
    return await lay(settings, options, { database, closers, closeAll });
  } catch (error) {
    await closeAll();
    throw error;
  }
}

interface Ground {
  readonly database: OpenDatabase;
  readonly closers: (() => Promise<void>)[];
  readonly closeAll: () => Promise<void>;
}

async function lay(settings: Settings, { log, onFatal, version, role }: FoundationOptions, { database, closers, closeAll }: Ground): Promise<Foundation> {
  const clock = systemClock;
  const paths = statePaths(settings);
  const { db } = database;
  const once: Foundation['once'] = (name, work) => underCloudLock(database, name, work);
  const cloudId = await ensureSetting(db, 'cloudId', () => randomBytes(8).toString('hex'));
  const sealer = await once('founding', () => openMasterKey(db, paths.masterKey));
  const driver = await openAuthDriver(settings, { db, clock, log });
  closers.push(() => driver.close());
  const auth = new AuthManager({ driver, sealer, lockout: createLockout(settings, { db, clock, log }) });
  const name = processName(role, settings.host);
  const { transport, directory, close } = await openMailboxes(settings, { clock, log, process: name });
  closers.push(close);
  const system = createActorSystem({ name: settings.host, clock, log, onFatal });
  closers.push(() => system.stop(stopDeadlineMs));
  const relay = startRelay({ db, transport, clock, log, system });
  const audit = startAuditWriter({ db, clock, log: log.child({ part: 'audit' }), system, hasObjects: settings.auditObjectRowsMax > 0 });
  closers.push(() => audit.flush());
  const drain = createDrain(log);
  closers.push(() => drain.run());
  return {
    settings, paths, log, clock, db, transport, relay, directory, system, auth, audit, sealer, cloudId, version, drain, once, process: name,
    run: createRun({ log, networkNamespace: settings.networkNamespace }),
    close: closeAll,
  };
}

/** PGlite lives in one process: with mailboxes for many, it would be the truth of one of them only. */
function refuseTrialDatabase({ databaseUrl, redisUrl }: Settings): void {
  if (redisUrl === undefined || databaseUrl?.startsWith('pglite:') !== true) return;
  throw new SetupError(
    'PGlite is for one process, but NOVACT_REDIS_URL is for many',
    'Name a PostgreSQL (NOVACT_DATABASE_URL=postgres://…), or leave out NOVACT_REDIS_URL.',
  );
}

/** Takes note of a subscription, for the drain. */
export async function keep(foundation: Pick<Foundation, 'drain'>, serving: Promise<Subscription>): Promise<Subscription> {
  const subscription = await serving;
  foundation.drain.add('mailbox', (deadlineMs) => subscription.stop(deadlineMs));
  return subscription;
}

/** A role that many processes share is in the directory too, for whoever looks: nobody is found or counted by it. */
export async function announceShared(foundation: Foundation, role: Role): Promise<void> {
  const { directory, settings, process, drain } = foundation;
  const announcement = await directory.announce({ role, host: settings.host, process, ...serviceOf(foundation, 0) });
  drain.add('server', () => announcement.withdraw());
}

/** What the directory says of a host's role. */
export const serviceOf = ({ settings, version }: Pick<Foundation, 'settings' | 'version'>, epoch: number) =>
  ({ epoch, version, ...(settings.address === undefined ? {} : { address: settings.address }) });

/** Of the running kernel: another one means that the machine was restarted. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}
