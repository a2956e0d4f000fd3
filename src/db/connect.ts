// Opens the database that a URL names, with the schema brought up to date: `postgres://…` through postgres.js, or `pglite:DIRECTORY`
// (`pglite:memory` keeps nothing) in this process, which is then the only one.
import { mkdir } from 'node:fs/promises';
import { isIP } from 'node:net';
import { dirname, resolve } from 'node:path';
import { checkServerIdentity, type PeerCertificate } from 'node:tls';
import type { PGlite } from '@electric-sql/pglite';
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import { systemClock } from '../lib/clock.ts';
import { SetupError } from '../lib/errors.ts';
import { acquireLock, LockHeld, type Lock } from '../lib/lock.ts';
import type { Db } from './db.ts';
import { preparingHot } from './prepared.ts';
import * as schema from './schema/all.ts';
import { migrationsFolder, refuseNewerSchema, upgradeSchema } from './upgrade-schema.ts';
import { watchedSocket, type SocketTarget } from './watched-socket.ts';

export interface OpenDatabase {
  readonly db: Db;
  readonly kind: 'postgres' | 'pglite';
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Connections of the pool (PostgreSQL). Default 10. */
  readonly connectionsMax?: number;
  /** For specs: a ready PGlite to use. */
  readonly pglite?: PGlite;
}

export async function openDatabase(url: string, options: OpenOptions = {}): Promise<OpenDatabase> {
  if (url.startsWith('pglite:')) return openPglite(url.slice('pglite:'.length), options);
  if (/^postgres(ql)?:/.test(url)) return openPostgres(url, options);
  throw new SetupError(`NOVACT_DATABASE_URL: cannot use ${url.split(':')[0]}:`, 'Use postgres://… or pglite:DIRECTORY.');
}

/** Loaded only where it is used: it costs memory and time at every start. */
async function openPglite(directory: string, options: OpenOptions): Promise<OpenDatabase> {
  const lock = directory === 'memory' ? undefined : await lockPglite(resolve(directory));
  try {
    const [{ PGlite: Client }, { drizzle }, { migrate }] = await Promise.all([
      import('@electric-sql/pglite'), import('drizzle-orm/pglite'), import('drizzle-orm/pglite/migrator'),
    ]);
    const client = options.pglite ?? (await Client.create(directory === 'memory' ? 'memory://' : directory));
    const db = drizzle(client, { schema });
    await refuseNewerSchema(db as unknown as Db);
    await migrate(db, { migrationsFolder });
    return {
      db: db as unknown as Db,
      kind: 'pglite',
      async close() {
        await client.close();
        await lock?.release();
      },
    };
  } catch (error) {
    await lock?.release();
    throw error;
  }
}

/** A second process on the folder would see only itself, and afterwards half of what both have written would be gone. */
async function lockPglite(directory: string): Promise<Lock> {
  await mkdir(dirname(directory), { recursive: true });
  try {
    return await acquireLock(`${directory}.lock`, { now: systemClock.date() });
  } catch (error) {
    if (!(error instanceof LockHeld)) throw error;
    const by = error.holder === undefined ? 'something else' : `process ${error.holder.pid} on ${error.holder.host} since ${error.holder.since}`;
    throw new SetupError(
      `the PGlite database ${directory} is in use by ${by}`,
      'PGlite is for one process. Stop that one, or name a PostgreSQL with NOVACT_DATABASE_URL=postgres://….', { cause: error },
    );
  }
}

async function openPostgres(url: string, options: OpenOptions): Promise<OpenDatabase> {
  const upgrader = connect(url, { max: 2 }); // whose statements may wait as long as another migrates
  await upgradeSchema(upgrader).finally(() => upgrader.end({ timeout: 1 })); // and with its connections the lock
  const client = preparingHot(connectPostgres(url, options.connectionsMax ?? 10));
  return { db: drizzlePostgres(client, { schema }) as unknown as Db, kind: 'postgres', close: () => client.end({ timeout: 5 }) };
}

/** No statement of novact needs a tenth of it: what takes longer waits for something that does not come. */
const statementMsMax = 30_000;
/** Above `statementMsMax`, so that a server that lives answers first. */
const answerMsMax = 40_000;

/** A pool for the URL whose statements end, one way or the other. Like libpq, and unlike postgres.js alone, it takes `?host=/folder` for a unix socket. */
export function connectPostgres(url: string, connectionsMax: number): postgres.Sql {
  return connect(url, {
    max: connectionsMax, connection: { statement_timeout: statementMsMax }, socket: (target: SocketTarget) => watchedSocket(target, answerMsMax),
  });
}

type ConnectOptions = postgres.Options<Record<string, never>> & { readonly socket?: (target: SocketTarget) => unknown };

function connect(url: string, options: ConnectOptions): postgres.Sql {
  const parsed = new URL(url);
  const socketDirectory = parsed.searchParams.get('host');
  // A connection that failed is tried again by the next query that needs one. Its own pauses grow to 20 seconds, and every query in the queue
  // waits for one of them before it fails; nobody here asks in a loop without pauses of his own.
  const backoff = (): number => 0.02;
  const common = { ...options, ...verification(parsed), onnotice: () => undefined, connect_timeout: 10, idle_timeout: 60, keep_alive: 15, backoff };
  const isPlain = !parsed.searchParams.has('sslmode') && !parsed.searchParams.has('ssl') && !parsed.host.includes(',');
  // Over TLS, or with several servers to choose from, postgres.js makes its sockets itself, and only the kernel notices that one is dead.
  const { socket: _own, ...unwatched } = common;
  if (!socketDirectory?.startsWith('/')) return postgres(url, isPlain ? common : unwatched);
  parsed.searchParams.delete('host');
  return postgres(parsed.href, { ...common, path: `${socketDirectory}/.s.PGSQL.${parsed.port || '5432'}` });
}

/** For a server that is named by its address, postgres.js would look for `localhost` in the certificate. */
function verification({ hostname, searchParams }: URL): Pick<postgres.Options<Record<string, never>>, 'ssl'> {
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  if (searchParams.get('sslmode') !== 'verify-full' || isIP(address) === 0) return {};
  return { ssl: { checkServerIdentity: (_name: string, certificate: PeerCertificate) => checkServerIdentity(address, certificate) } };
}
