// The outbox: messages that were decided on in a transaction and wait to be sent. Whoever relays takes a batch, sends it, and commits only
// then that it is gone: killed in between, the rows are there again and are sent again with the same ids.
import { asc, inArray, notInArray, sql } from 'drizzle-orm';
import type { SealedEnvelope } from '../messages/announcements.ts';
import type { Db, Queryable } from './db.ts';
import { outbox } from './schema/operations.ts';

/** Written in the transaction that the messages tell of. */
export async function insertOutbox(tx: Queryable, letters: readonly SealedEnvelope[], now: Date): Promise<void> {
  if (letters.length === 0) return;
  await tx.insert(outbox).values(letters.map((letter) => ({ ...letter, createdAt: now })));
}

export interface RelayedBatch {
  readonly taken: number;
  /** Mailboxes that did not take theirs: those rows are still there. */
  readonly refusedBy: ReadonlySet<string>;
}

/**
 * The oldest messages, but for some mailboxes, through `deliver`, which says which ids were stored. Rows that another relay holds are
 * skipped, so several may relay at once; what `deliver` throws leaves everything as it was.
 */
export function relayBatch(
  db: Db,
  batch: { readonly countMax: number; readonly except: readonly string[] },
  deliver: (messages: readonly SealedEnvelope[]) => Promise<readonly string[]>,
): Promise<RelayedBatch> {
  return db.transaction(async (tx) => {
    const oldest = tx.select({ id: outbox.id }).from(outbox)
      .where(batch.except.length > 0 ? notInArray(outbox.mailbox, [...batch.except]) : undefined)
      .orderBy(asc(outbox.sequence)).limit(batch.countMax).for('update', { skipLocked: true });
    const rows = (await tx.delete(outbox).where(inArray(outbox.id, oldest)).returning()).toSorted((a, b) => a.sequence - b.sequence);
    if (rows.length === 0) return { taken: 0, refusedBy: new Set<string>() };
    const stored = new Set(await deliver(rows));
    const kept = rows.filter((row) => !stored.has(row.id));
    if (kept.length > 0) await tx.insert(outbox).values(kept);
    return { taken: rows.length, refusedBy: new Set(kept.map((row) => row.mailbox)) };
  });
}

/** How many wait; counts no further than `countMax`, so that a long queue is not made longer by being looked at. */
export async function countOutbox(db: Queryable, countMax: number): Promise<number> {
  const some = db.select({ one: sql`1`.as('one') }).from(outbox).limit(countMax).as('some');
  const [row] = await db.select({ count: sql<number>`count(*)::int` }).from(some);
  return row?.count ?? 0;
}
