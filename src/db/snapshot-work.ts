// What volume hosts do to a snapshot's row while they work on it.
import { and, eq, inArray, lt, ne, notInArray } from 'drizzle-orm';
import type { Queryable, Tx } from './db.ts';
import { snapshots } from './schema/volumes.ts';

export type Snapshot = typeof snapshots.$inferSelect;

export async function loadSnapshot(db: Queryable, id: string): Promise<Snapshot | undefined> {
  const [row] = await db.select().from(snapshots).where(eq(snapshots.id, id));
  return row;
}

/** It is made. False: it is not to be any more. Saying it again is true again. */
export async function publishSnapshot(db: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await db.update(snapshots).set({ state: 'completed', completedAt: now, stateDeadline: null, stateReason: null })
    .where(and(eq(snapshots.id, id), inArray(snapshots.state, ['pending', 'completed']))).returning({ id: snapshots.id });
  return rows.length > 0;
}

/** Undoes `publishSnapshot`. */
export async function withdrawSnapshot(db: Queryable, id: string): Promise<void> {
  await db.update(snapshots).set({ state: 'pending', completedAt: null }).where(and(eq(snapshots.id, id), eq(snapshots.state, 'completed')));
}

export async function failSnapshot(db: Queryable, id: string, reason: string): Promise<void> {
  await db.update(snapshots).set({ state: 'error', stateReason: reason, stateDeadline: null })
    .where(and(eq(snapshots.id, id), inArray(snapshots.state, ['pending', 'deleting'])));
}

export async function endSnapshot(db: Queryable, id: string): Promise<void> {
  await db.update(snapshots).set({ state: 'deleted', stateDeadline: null }).where(eq(snapshots.id, id));
}

const living = notInArray(snapshots.state, ['deleting', 'deleted']);

/** Is its content another snapshot's too? */
export async function othersWithContent(db: Queryable, snapshot: Snapshot): Promise<boolean> {
  const [row] = await db.select({ id: snapshots.id }).from(snapshots)
    .where(and(eq(snapshots.contentId, snapshot.contentId), ne(snapshots.id, snapshot.id), living)).limit(1);
  return row !== undefined;
}

/** The content of a snapshot, which is not deleted before this transaction ends. Null for no snapshot. */
export async function holdContent(tx: Tx, snapshotId: string | null | undefined): Promise<string | null | 'gone'> {
  if (snapshotId === null || snapshotId === undefined) return null;
  const [row] = await tx.select({ contentId: snapshots.contentId }).from(snapshots)
    .where(and(eq(snapshots.id, snapshotId), eq(snapshots.state, 'completed'))).for('share');
  return row?.contentId ?? 'gone';
}

/** Of contents at a host, those that rows know, and whether one of these is still to be kept. */
export async function knownContents(db: Queryable, host: string): Promise<ReadonlyMap<string, boolean>> {
  const rows = await db.select({ contentId: snapshots.contentId, state: snapshots.state }).from(snapshots).where(eq(snapshots.host, host));
  const known = new Map<string, boolean>();
  for (const { contentId, state } of rows) known.set(contentId, known.get(contentId) === true || state !== 'deleted');
  return known;
}

/** Snapshots that were not made in their time: `error`, from where they can be deleted. Their ids. */
export async function endOverdueSnapshots(db: Queryable, now: Date): Promise<string[]> {
  const rows = await db.update(snapshots).set({ state: 'error', stateReason: 'not done within its time', stateDeadline: null })
    .where(and(lt(snapshots.stateDeadline, now), inArray(snapshots.state, ['pending', 'deleting']))).returning({ id: snapshots.id });
  return rows.map(({ id }) => id);
}

/** Who keeps that content. */
export async function hostOfContent(db: Queryable, contentId: string): Promise<string | undefined> {
  const [row] = await db.select({ host: snapshots.host }).from(snapshots).where(eq(snapshots.contentId, contentId)).limit(1);
  return row?.host;
}
