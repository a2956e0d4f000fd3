// Processes of one cloud that start at once: what is made once for all of them is made under an advisory lock of the database.
import { sql } from 'drizzle-orm';
import type { Db } from './db.ts';

/** Beside the lock of the migrations. */
const locks = { founding: 7_221_946, tinyImage: 7_221_947 } as const;

/**
 * Runs the work while no other process does. The lock ends with the transaction that holds it, and so with the connection of a process that
 * died. With PGlite there is one process, and one connection that the work needs itself: then there is no lock.
 */
export async function underCloudLock<T>(database: { db: Db; kind: 'postgres' | 'pglite' }, name: keyof typeof locks, work: () => Promise<T>): Promise<T> {
  if (database.kind === 'pglite') return work();
  for (let wait = 1; ; wait += 1) {
    try {
      return await database.db.transaction(async (tx) => {
        await tx.execute(sql`set local lock_timeout = '20s'`);
        await tx.execute(sql`select pg_advisory_xact_lock(${locks[name]}::bigint)`);
        await tx.execute(sql`set local lock_timeout = 0`);
        return work();
      });
    } catch (error) {
      // Statements have a time limit, and founding a cloud may take longer: what waits for it asks again.
      if (wait >= waitsMax || !isLockTimeout(error)) throw error;
    }
  }
}

const waitsMax = 15;

const isLockTimeout = (error: unknown): boolean =>
  error instanceof Error && ((error as { code?: string }).code === '55P03' || isLockTimeout(error.cause));
