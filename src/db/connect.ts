// Opens the database that a URL names, with the schema brought up to date: `postgres://…` through postgres.js, or `pglite:DIRECTORY`
// (`pglite:memory` keeps nothing) in this process.
import { fileURLToPath } from 'node:url';
import type { PGlite } from '@electric-sql/pglite';
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js';
import { migrate as migratePostgres } from 'drizzle-orm/postgres-js/migrator';
import postgres from 'postgres';
import { SetupError } from '../lib/errors.ts';
import type { Db } from './db.ts';
import * as schema from './schema/all.ts';

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

/** The migrations lie beside this file, in `src` as in `dist`. */
const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));

/** One number for all of novact: who migrates holds this advisory lock. */
const migrationLock = 7_221_945;

export async function openDatabase(url: string, options: OpenOptions = {}): Promise<OpenDatabase> {
  if (url.startsWith('pglite:')) return openPglite(url.slice('pglite:'.length), options);
  if (/^postgres(ql)?:/.test(url)) return openPostgres(url, options);
  throw new SetupError(`NOVACT_DATABASE_URL: cannot use ${url.split(':')[0]}:`, 'Use postgres://… or pglite:DIRECTORY.');
}

/** Loaded only where it is used: it costs memory and time at every start. */
async function openPglite(directory: string, options: OpenOptions): Promise<OpenDatabase> {
  const [{ PGlite: Client }, { drizzle }, { migrate }] = await Promise.all([
    import('@electric-sql/pglite'), import('drizzle-orm/pglite'), import('drizzle-orm/pglite/migrator'),
  ]);
  const client = options.pglite ?? (await Client.create(directory === 'memory' ? 'memory://' : directory));
  const db = drizzle(client, { schema });
  await migrate(db, { migrationsFolder });
  return { db: db as unknown as Db, kind: 'pglite', close: () => client.close() };
}

async function openPostgres(url: string, options: OpenOptions): Promise<OpenDatabase> {
  const client = connectPostgres(url, options.connectionsMax ?? 10);
  try {
    await migrateUnderLock(client);
  } catch (error) {
    await client.end({ timeout: 1 });
    throw error;
  }
  return { db: drizzlePostgres(client, { schema }) as unknown as Db, kind: 'postgres', close: () => client.end({ timeout: 5 }) };
}

/** A pool for the URL. Like libpq, and unlike postgres.js alone, it takes `?host=/folder` for a unix socket. */
export function connectPostgres(url: string, connectionsMax: number): postgres.Sql {
  const parsed = new URL(url);
  const socketDirectory = parsed.searchParams.get('host');
  // Its own back-off grows to 20 seconds: a database that was started again within one would not be found for many.
  const backoff = (retries: number): number => Math.min(0.05 * 2 ** retries, 1);
  const common = { max: connectionsMax, onnotice: () => undefined, connect_timeout: 10, idle_timeout: 0, backoff };
  if (!socketDirectory?.startsWith('/')) return postgres(url, common);
  parsed.searchParams.delete('host');
  return postgres(parsed.href, { ...common, path: `${socketDirectory}/.s.PGSQL.${parsed.port || '5432'}` });
}

/** The lock belongs to a session, so locking and unlocking use one reserved connection. */
async function migrateUnderLock(client: postgres.Sql): Promise<void> {
  const session = await client.reserve();
  try {
    await session`select pg_advisory_lock(${migrationLock})`;
    await migratePostgres(drizzlePostgres(client, { schema }), { migrationsFolder });
    await session`select pg_advisory_unlock(${migrationLock})`;
  } finally {
    session.release();
  }
}
