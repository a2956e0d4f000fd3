// Brings a schema up to date: the migrations lie beside this file, in `src` as in `dist`. A database in use is upgraded under the feet of the last
// release's roles, whose transactions may wait for it, but must not fail for it.
import { fileURLToPath } from 'node:url';
import { sql } from 'drizzle-orm';
import { readMigrationFiles, type MigrationMeta } from 'drizzle-orm/migrator';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate } from 'drizzle-orm/postgres-js/migrator';
import type postgres from 'postgres';
import { systemClock } from '../lib/clock.ts';
import { SetupError } from '../lib/errors.ts';
import { retry } from '../lib/retry.ts';
import { rowsOf, type Db } from './db.ts';

export const migrationsFolder = fileURLToPath(new URL('./migrations', import.meta.url));

/** One number for all of novact: who migrates holds this advisory lock. */
const migrationLock = 7_221_945;

/** The client has two connections: the lock belongs to one of them, which waits as long as another process migrates. */
export async function upgradeSchema(client: postgres.Sql): Promise<void> {
  const session = await client.reserve();
  try {
    await session`select pg_advisory_lock(${migrationLock})`;
    const db = drizzle(client);
    const latest = await refuseNewerSchema(db as unknown as Db);
    if (latest === undefined) return await migrate(db, { migrationsFolder });
    const missing = readMigrationFiles({ migrationsFolder }).filter(({ folderMillis }) => folderMillis > latest);
    if (missing.length > 0) await whenFree(() => client.begin((tx) => applyAlone(tx, missing)));
  } finally {
    session.release();
  }
}

/** A minute and a half for transactions that go on; those of roles end with their statements, after 30 s. */
const patience = { triesMax: 60, firstDelayMs: 100, delayMsMax: 1_000 };

async function whenFree(work: () => Promise<unknown>): Promise<void> {
  try {
    await retry(work, { ...patience, clock: systemClock, mayRetry: isInUse });
  } catch (cause) {
    if (!isInUse(cause)) throw cause;
    throw new SetupError(
      'the schema is not brought up to date: a transaction that does not end has its tables',
      'Look for it in pg_stat_activity, end it (pg_terminate_backend), and start again.', { cause },
    );
  }
}

/**
 * All tables are taken before the first change, and given up again if that takes longer than the half of what PostgreSQL looks on at (a second)
 * before it ends somebody's transaction to solve a deadlock. To take them one by one, as migrations change them, ends those of roles that have
 * a later one and wait for an earlier one.
 */
async function applyAlone(tx: postgres.TransactionSql, missing: readonly MigrationMeta[]): Promise<void> {
  const tables = await tx<{ name: string }[]>`select format('%I.%I', schemaname, tablename) as name from pg_tables where schemaname = 'public' order by 1`;
  await tx.unsafe("set local lock_timeout = '500ms'");
  await tx.unsafe(`lock table ${tables.map(({ name }) => name).join(', ')} in access exclusive mode`);
  await tx.unsafe('set local lock_timeout = 0');
  for (const { sql: statements, hash, folderMillis } of missing) {
    for (const statement of statements) await tx.unsafe(statement);
    await tx`insert into drizzle.__drizzle_migrations (hash, created_at) values (${hash}, ${folderMillis})`;
  }
}

const isInUse = (error: unknown): boolean => error instanceof Error && ['55P03', '40P01'].includes((error as { code?: string }).code ?? '');

/** When the last migration of this release was made. */
export const ownSchema = (): number => Math.max(...readMigrationFiles({ migrationsFolder }).map((migration) => migration.folderMillis));

/**
 * A release works on its own schema and on what the next ones add to it while they replace it, but it never begins on a newer one.
 * Returns when the last migration was made, undefined for a database without any.
 */
export async function refuseNewerSchema(db: Db): Promise<number | undefined> {
  const known = ownSchema();
  const [table] = rowsOf(await db.execute(sql`select to_regclass('drizzle.__drizzle_migrations') is not null as "exists"`));
  if (table?.['exists'] !== true) return undefined;
  const [row] = rowsOf(await db.execute(sql`select max(created_at) as "latest" from drizzle.__drizzle_migrations`));
  const latest = row?.['latest'] ?? undefined;
  if (latest === undefined) return undefined;
  if (Number(latest) <= known) return Number(latest);
  const day = (millis: number): string => new Date(millis).toISOString().slice(0, 16);
  throw new SetupError(
    `the database has the schema of a newer release (of ${day(Number(latest))}; this release knows it up to ${day(known)})`,
    'Start that release or a later one; or restore the backup from before the upgrade.',
  );
}
