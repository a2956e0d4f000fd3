// Images of instances: a row, the snapshots that its devices name, and the work of the instance's host that makes them. Snapshots are rows from the
// beginning, so that their ids can be told, and are begun when that host says so: after the guest has ended, where it is to.
import { and, eq, gt, inArray, lt, notExists, or, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject, nameTaken, type ImageRow } from './images.ts';
import { insertOperation, insertOperations, unfinished, type NewOperation } from './operations.ts';
import { imagesUsed, limitOf } from './quotas.ts';
import { images } from './schema/images.ts';
import { operations } from './schema/operations.ts';
import { snapshots } from './schema/volumes.ts';
import type { Snapshot } from './snapshot-work.ts';
import { insertSnapshotIn, snapshotOperation, type SnapshotRefusal, type SnapshotWish } from './snapshots.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';

export interface InstanceImageWish {
  readonly row: ImageRow;
  readonly tags: readonly TagText[];
  readonly snapshots: readonly SnapshotWish[];
  readonly operation: NewOperation;
  /** Images that a project may have, unless it was given a limit of its own. */
  readonly quota: number;
}

export type InstanceImageOutcome =
  | { readonly outcome: 'inserted' }
  | { readonly outcome: 'duplicate'; readonly usedBy: string }
  | { readonly outcome: 'overQuota'; readonly limit: number }
  | { readonly outcome: 'noSnapshot'; readonly refusal: SnapshotRefusal; readonly volumeId: string };

/** All of it, or nothing. */
export function insertInstanceImage(db: Db, wish: InstanceImageWish, now: Date): Promise<InstanceImageOutcome> {
  return db.transaction(async (tx): Promise<InstanceImageOutcome> => {
    const { row } = wish;
    await lockProject(tx, row.projectId);
    const taken = await nameTaken(tx, row);
    if (taken !== undefined) return { outcome: 'duplicate', usedBy: taken.id };
    const limit = await limitOf(tx, row.projectId, 'images', wish.quota);
    if ((await imagesUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', limit };
    for (const snapshot of wish.snapshots.toSorted((a, b) => (a.volumeId < b.volumeId ? -1 : 1))) {
      const made = await insertSnapshotIn(tx, snapshot, now);
      if ('refused' in made) throw new NoSnapshot(made, snapshot.volumeId);
    }
    await tx.insert(images).values(row);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'image', resourceIds: [row.id], tags: wish.tags });
    await insertOperation(tx, wish.operation, now);
    return { outcome: 'inserted' };
  }).catch((error: unknown) => {
    if (error instanceof NoSnapshot) return { outcome: 'noSnapshot', refusal: error.refusal, volumeId: error.volumeId };
    throw error;
  });
}

class NoSnapshot extends Error {
  override readonly name = 'NoSnapshot';
  readonly refusal: SnapshotRefusal;
  readonly volumeId: string;

  constructor(refusal: SnapshotRefusal, volumeId: string) {
    super(`no snapshot of ${volumeId}: ${refusal.refused}`);
    this.refusal = refusal;
    this.volumeId = volumeId;
  }
}

/** The hosts of the volumes are told to make them; for one that was told, it is not said again. */
export function beginSnapshots(db: Db, ids: readonly string[], wish: { requestId: string; deadline: Date }, now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    const rows = await tx.select().from(snapshots).where(and(inArray(snapshots.id, [...ids]), eq(snapshots.state, 'pending'))).for('update');
    if (rows.length === 0) return;
    const snapshotId = sql<string>`${operations.input} ->> 'snapshotId'`;
    const told = await tx.select({ snapshotId }).from(operations)
      .where(and(eq(operations.kind, 'volume.snapshot'), inArray(operations.resourceId, rows.map(({ volumeId }) => volumeId))));
    const known = new Set(told.map((operation) => operation.snapshotId));
    await insertOperations(tx, rows.filter(({ id }) => !known.has(id)).map((row) => snapshotOperation(row, wish)), now);
  });
}

export function snapshotsById(db: Queryable, ids: readonly string[]): Promise<Snapshot[]> {
  return ids.length === 0 ? Promise.resolve([]) : db.select().from(snapshots).where(inArray(snapshots.id, [...ids]));
}

/** Its content, if it has any of its own, is there. False: the image is not pending any more. Saying it again is true again. */
export async function publishInstanceImage(db: Queryable, id: string, now: Date): Promise<boolean> {
  const rows = await db.update(images).set({ state: 'available', stateChangedAt: now })
    .where(and(eq(images.id, id), inArray(images.state, ['pending', 'available']))).returning({ id: images.id });
  return rows.length > 0;
}

/** Undoes `publishInstanceImage`. */
export async function withdrawInstanceImage(db: Queryable, id: string, now: Date): Promise<void> {
  await db.update(images).set({ state: 'pending', stateChangedAt: now }).where(and(eq(images.id, id), eq(images.state, 'available')));
}

const failed = (reason: string, now: Date) =>
  ({ state: 'failed', stateReasonCode: 'Server.InternalError', stateReason: reason, stateChangedAt: now }) as const;

export interface FailedImage {
  readonly imageId: string;
  readonly snapshotIds: readonly string[];
  readonly reason: string;
  readonly requestId: string;
  readonly deadline: Date;
}

/** The image says why it failed, and the snapshots that were made for it go. */
export function failInstanceImage(db: Db, { imageId, snapshotIds, reason, ...wish }: FailedImage, now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    await tx.update(images).set({ ...failed(reason, now), devices: [] }).where(and(eq(images.id, imageId), eq(images.state, 'pending')));
    await dropSnapshots(tx, snapshotIds, wish, now);
  });
}

async function dropSnapshots(tx: Tx, ids: readonly string[], wish: { requestId: string; deadline: Date }, now: Date): Promise<void> {
  if (ids.length === 0) return;
  const rows = await tx.update(snapshots).set({ state: 'deleting', stateDeadline: wish.deadline })
    .where(and(inArray(snapshots.id, [...ids]), inArray(snapshots.state, ['pending', 'completed', 'error']))).returning();
  for (const { id, projectId, userId, host } of rows) {
    await deleteTagsOf(tx, id);
    await insertOperation(tx, { ...wish, projectId, userId, kind: 'snapshot.delete', resourceId: id, owner: `volume@${host}` }, now);
  }
}

const settlingMs = 10 * 60_000;

/** Pending images on which nobody works any more: their operation was forgotten with its instance, or its host stays away. Their ids. */
export async function failAbandonedImages(db: Queryable, now: Date): Promise<string[]> {
  const longAgo = new Date(now.getTime() - settlingMs);
  const work = db.select({ one: sql`1` }).from(operations).where(and(
    inArray(operations.state, [...unfinished]), gt(operations.deadline, longAgo),
    or(eq(operations.resourceId, images.id), eq(sql`${operations.input} ->> 'imageId'`, images.id)),
  ));
  const rows = await db.update(images).set(failed('not done within its time', now))
    .where(and(eq(images.state, 'pending'), lt(images.stateChangedAt, longAgo), notExists(work))).returning({ id: images.id });
  return rows.map(({ id }) => id);
}
