// The queries of snapshots as clients see and change them. What volume hosts do to them is in snapshot-work.ts.
import { and, asc, eq, inArray, ne, notInArray, or, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { insertOperation, type NewOperation } from './operations.ts';
import { limitOf, snapshotsUsed } from './quotas.ts';
import { images } from './schema/images.ts';
import { snapshotPermissions, snapshots, volumes } from './schema/volumes.ts';
import type { Snapshot } from './snapshot-work.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';
import { lockOwned, type VolumeWish } from './volumes.ts';

/** Those that are being deleted are shown to nobody. */
const shown = notInArray(snapshots.state, ['deleting', 'deleted']);

/** Snapshots that a project may make volumes of: its own, public ones, and those it was permitted. */
export async function visibleSnapshots(db: Queryable, projectId: string, ids?: readonly string[]): Promise<Snapshot[]> {
  const permitted = db.select({ id: snapshotPermissions.snapshotId }).from(snapshotPermissions).where(eq(snapshotPermissions.projectId, projectId));
  return db.select().from(snapshots).where(and(
    shown, ids === undefined ? undefined : inArray(snapshots.id, [...ids]),
    or(eq(snapshots.projectId, projectId), eq(snapshots.isPublic, true), inArray(snapshots.id, permitted)),
  )).orderBy(asc(snapshots.id));
}

export async function findVisibleSnapshot(db: Queryable, projectId: string, id: string): Promise<Snapshot | undefined> {
  return (await visibleSnapshots(db, projectId, [id]))[0];
}

export function snapshotPermissionsOf(db: Queryable, ids: readonly string[]): Promise<{ snapshotId: string; projectId: string }[]> {
  if (ids.length === 0) return Promise.resolve([]);
  return db.select().from(snapshotPermissions).where(inArray(snapshotPermissions.snapshotId, [...ids])).orderBy(asc(snapshotPermissions.projectId));
}

interface OverQuota {
  readonly refused: 'overQuota';
  readonly limit: number;
}

/** With the project's row held. `quota`: of projects that were given no limit of their own. */
async function overQuota(tx: Tx, { projectId, quota }: { readonly projectId: string; readonly quota: number }): Promise<OverQuota | undefined> {
  const limit = await limitOf(tx, projectId, 'snapshots', quota);
  return (await snapshotsUsed(tx, projectId)) >= limit ? { refused: 'overQuota', limit } : undefined;
}

export interface SnapshotWish extends VolumeWish {
  readonly id: string;
  readonly description: string;
  readonly tags: readonly TagText[];
  readonly quota: number;
}

export type SnapshotRefusal = OverQuota | { readonly refused: 'noVolume' } | { readonly refused: 'state'; readonly state: string };

/** Wished of the volume's actor, so that what is wished of the volume after it waits for it. */
export function createSnapshot(db: Db, wish: SnapshotWish, now: Date): Promise<Snapshot | SnapshotRefusal> {
  return db.transaction(async (tx): Promise<Snapshot | SnapshotRefusal> => {
    await lockProject(tx, wish.projectId);
    return createSnapshotIn(tx, wish, now);
  });
}

async function createSnapshotIn(tx: Tx, wish: SnapshotWish, now: Date): Promise<Snapshot | SnapshotRefusal> {
  const row = await insertSnapshotIn(tx, wish, now);
  if (!('refused' in row)) await insertOperation(tx, snapshotOperation(row, wish), now);
  return row;
}

/** The work on the volume that makes it. */
export const snapshotOperation = (row: Snapshot, { requestId, deadline }: Pick<SnapshotWish, 'requestId' | 'deadline'>): NewOperation => ({
  projectId: row.projectId, userId: row.userId, requestId, deadline, kind: 'volume.snapshot', resourceId: row.volumeId, owner: `volume@${row.host}`,
  input: { snapshotId: row.id },
});

/** A pending one, without the work that makes it. Whoever asks holds the project's row. */
export async function insertSnapshotIn(tx: Tx, wish: SnapshotWish, now: Date): Promise<Snapshot | SnapshotRefusal> {
  const { projectId, userId, deadline, volumeId } = wish;
  const volume = await lockOwned(tx, { projectId, volumeId });
  if (volume === undefined) return { refused: 'noVolume' };
  if ((volume.state !== 'available' && volume.state !== 'in-use') || volume.host === null) return { refused: 'state', state: volume.state };
  const over = await overQuota(tx, wish);
  if (over !== undefined) return over;
  const row: Snapshot = {
    id: wish.id, projectId, userId, volumeId, sizeGiB: volume.sizeGiB, description: wish.description, state: 'pending', stateReason: null,
    stateDeadline: deadline, isPublic: false, host: volume.host, contentId: wish.id, sizeBytes: null, startedAt: now, completedAt: null,
  };
  await tx.insert(snapshots).values(row);
  await insertTags(tx, { projectId, resourceType: 'snapshot', resourceIds: [row.id], tags: wish.tags });
  return row;
}

/** Of several volumes: all, or none and the first refusal. */
export function createSnapshots(db: Db, wishes: readonly SnapshotWish[], now: Date): Promise<Snapshot[] | SnapshotRefusal> {
  const refused = new Map<string, SnapshotRefusal>();
  return db.transaction(async (tx): Promise<Snapshot[] | SnapshotRefusal> => {
    const made: Snapshot[] = [];
    for (const wish of wishes.toSorted((a, b) => (a.volumeId < b.volumeId ? -1 : 1))) {
      await lockProject(tx, wish.projectId);
      const snapshot = await createSnapshotIn(tx, wish, now);
      if ('refused' in snapshot) {
        refused.set('first', snapshot);
        throw new AllOrNone();
      }
      made.push(snapshot);
    }
    return made;
  }).catch((error: unknown) => {
    const first = refused.get('first');
    if (error instanceof AllOrNone && first !== undefined) return first;
    throw error;
  });
}

class AllOrNone extends Error {
  override readonly name = 'AllOrNone';
}

export type SnapshotDeleted = 'deleting' | 'absent' | { readonly usedBy: string } | { readonly state: string };

/** Gone for its users at once; its content goes with the last copy. Kept while an image, or a volume that is being made, needs it. */
export function deleteSnapshot(
  db: Db, wish: Omit<VolumeWish, 'volumeId'> & { readonly snapshotId: string }, now: Date,
): Promise<SnapshotDeleted> {
  return db.transaction(async (tx): Promise<SnapshotDeleted> => {
    const { snapshotId: id, ...rest } = wish;
    const [row] = await tx.select().from(snapshots).where(and(eq(snapshots.id, id), eq(snapshots.projectId, wish.projectId), shown)).for('update');
    if (row === undefined) return 'absent';
    if (row.state === 'pending') return { state: row.state };
    const usedBy = (await imageOf(tx, id)) ?? (await volumeInTheMaking(tx, row));
    if (usedBy !== undefined) return { usedBy };
    await tx.update(snapshots).set({ state: 'deleting', stateDeadline: wish.deadline }).where(eq(snapshots.id, id));
    await deleteTagsOf(tx, id);
    await insertOperation(tx, { ...rest, kind: 'snapshot.delete', resourceId: id, owner: `volume@${row.host}` }, now);
    return 'deleting';
  });
}

async function imageOf(tx: Queryable, snapshotId: string): Promise<string | undefined> {
  const [image] = await tx.select({ id: images.id }).from(images)
    .where(and(ne(images.state, 'deregistered'), sql`${images.devices} @> ${JSON.stringify([{ snapshotId }])}::jsonb`)).limit(1);
  return image?.id;
}

async function volumeInTheMaking(tx: Queryable, { contentId }: Snapshot): Promise<string | undefined> {
  const [volume] = await tx.select({ id: volumes.id }).from(volumes).where(and(eq(volumes.contentId, contentId), eq(volumes.state, 'creating'))).limit(1);
  return volume?.id;
}

export interface SnapshotCopy {
  readonly sourceId: string;
  readonly id: string;
  readonly projectId: string;
  readonly userId: string;
  readonly description: string;
  readonly tags: readonly TagText[];
  readonly quota: number;
}

/** Another row for the same content, which never changes. */
export function copySnapshot(db: Db, copy: SnapshotCopy, now: Date): Promise<Snapshot | 'gone' | OverQuota> {
  return db.transaction(async (tx): Promise<Snapshot | 'gone' | OverQuota> => {
    await lockProject(tx, copy.projectId);
    return copySnapshotIn(tx, copy, now);
  });
}

/** Whoever asks holds the project's row. */
export async function copySnapshotIn(tx: Tx, copy: SnapshotCopy, now: Date): Promise<Snapshot | 'gone' | OverQuota> {
  const { projectId, userId, id, description } = copy;
  const over = await overQuota(tx, copy);
  if (over !== undefined) return over;
  const [source] = await tx.select().from(snapshots).where(and(eq(snapshots.id, copy.sourceId), eq(snapshots.state, 'completed'))).for('share');
  if (source === undefined) return 'gone';
  const row: Snapshot = { ...source, id, projectId, userId, description, isPublic: false, startedAt: now, completedAt: now };
  await tx.insert(snapshots).values(row);
  await insertTags(tx, { projectId, resourceType: 'snapshot', resourceIds: [id], tags: copy.tags });
  return row;
}

export interface SnapshotSharing {
  readonly isPublic?: boolean;
  readonly permit?: readonly string[];
  readonly forbid?: readonly string[];
  /** Takes back every permission. */
  readonly reset?: boolean;
}

export function shareSnapshot(db: Db, id: string, change: SnapshotSharing): Promise<void> {
  return db.transaction(async (tx) => {
    await tx.select({ id: snapshots.id }).from(snapshots).where(eq(snapshots.id, id)).for('update');
    if (change.isPublic !== undefined) await tx.update(snapshots).set({ isPublic: change.isPublic }).where(eq(snapshots.id, id));
    const permissions = snapshotPermissions;
    if (change.reset === true) await tx.delete(permissions).where(eq(permissions.snapshotId, id));
    const forbid = change.forbid ?? [];
    if (forbid.length > 0) await tx.delete(permissions).where(and(eq(permissions.snapshotId, id), inArray(permissions.projectId, [...forbid])));
    const permitted = (change.permit ?? []).map((projectId) => ({ snapshotId: id, projectId }));
    if (permitted.length > 0) await tx.insert(permissions).values(permitted).onConflictDoNothing();
  });
}
