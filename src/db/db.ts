// The one type of a database handle: PostgreSQL through postgres.js or PGlite in the process, or a transaction of either.
// Inside a transaction only the handle given to it may be used: PGlite has one session, and would wait for itself for ever.
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core';
import type * as schema from './schema/all.ts';

export type Db = PgDatabase<PgQueryResultHKT, typeof schema>;

/** The handle inside `db.transaction(async (tx) => …)`. */
export type Tx = Parameters<Parameters<Db['transaction']>[0]>[0];

/** Either: what queries take. */
export type Queryable = Db | Tx;

/** Runs the work in the transaction that is given, or in one of its own: no savepoint is made for what stands or falls with the whole. */
export function inTransaction<T>(db: Queryable, work: (tx: Tx) => Promise<T>): Promise<T> {
  return isTransaction(db) ? work(db) : db.transaction(work);
}

const isTransaction = (db: Queryable): db is Tx => 'rollback' in db;

/** The rows of an `execute`: postgres.js answers with the rows, PGlite with an object that has them. */
export function rowsOf(result: unknown): readonly Record<string, unknown>[] {
  const rows = Array.isArray(result) ? result : (result as { rows: unknown[] }).rows;
  return rows as Record<string, unknown>[];
}
