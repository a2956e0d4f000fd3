// What owners do to a volume's row while they work on it. Every change is guarded by state and fence, so that who lost the volume changes
// nothing. Rows are held in one order everywhere: instances, then volumes, then their hosts.
import { and, asc, eq, inArray, lt, notExists, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { finishOperation, insertOperation, unfinished, unfinishedOperations } from './operations.ts';
import { operations } from './schema/operations.ts';
import { volumeAttachments, volumeModifications, volumes, type Volume, type VolumeState } from './schema/volumes.ts';
import { deleteTagsOf } from './tags.ts';
import { releaseVolumeRoom } from './volume-hosts.ts';

export type { Volume };

export const volumeKinds = ['volume.create', 'volume.delete', 'volume.release', 'volume.modify', 'volume.snapshot'] as const;
export type VolumeOperationKind = (typeof volumeKinds)[number];

export async function loadVolume(db: Queryable, id: string): Promise<Volume | undefined> {
  const [row] = await db.select().from(volumes).where(eq(volumes.id, id));
  return row;
}

export async function lockVolume(tx: Tx, id: string): Promise<Volume | undefined> {
  const [row] = await tx.select().from(volumes).where(eq(volumes.id, id)).for('update');
  return row;
}

/** Another state, reached from one of `from`. False: the row has gone on without us. */
export async function settleVolume(
  db: Queryable, volume: Pick<Volume, 'id' | 'fence'>, from: readonly VolumeState[], outcome: { state: VolumeState; reason: string | null }, now: Date,
): Promise<boolean> {
  const rows = await db.update(volumes)
    .set({ state: outcome.state, stateReason: outcome.reason, stateChangedAt: now, stateDeadline: null })
    .where(and(eq(volumes.id, volume.id), eq(volumes.fence, volume.fence), inArray(volumes.state, [...from]))).returning({ id: volumes.id });
  return rows.length > 0;
}

/** For `novact explain`: what last went wrong with a volume that is well. */
export async function noteVolumeReason(db: Queryable, id: string, reason: string): Promise<void> {
  await db.update(volumes).set({ stateReason: reason }).where(and(eq(volumes.id, id), inArray(volumes.state, ['available', 'in-use'])));
}

/** It is made: free, or already somebody's who waits for it. */
export function publishVolume(db: Db, volume: Pick<Volume, 'id' | 'fence'>, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, volume.id);
    if (row === undefined || row.fence !== volume.fence) return false;
    const attached = await tx.select({ id: volumeAttachments.id }).from(volumeAttachments).where(eq(volumeAttachments.volumeId, row.id));
    return settleVolume(tx, volume, ['creating', 'available', 'in-use'], { state: attached.length === 0 ? 'available' : 'in-use', reason: null }, now);
  });
}

/** Nothing of it is left at its host: nobody is shown it any more, and its room is free. Repeating it changes nothing. */
export function endVolume(db: Db, id: string, now: Date): Promise<void> {
  return db.transaction((tx) => endVolumeIn(tx, id, now));
}

export async function endVolumeIn(tx: Tx, id: string, now: Date): Promise<void> {
  const row = await lockVolume(tx, id);
  if (row === undefined || row.state === 'deleted') return;
  if (row.host !== null) await releaseVolumeRoom(tx, row.host, row.sizeGiB);
  await tx.delete(volumeAttachments).where(eq(volumeAttachments.volumeId, id));
  await tx.update(volumes).set({ state: 'deleted', stateChangedAt: now, stateDeadline: null, clientToken: null }).where(eq(volumes.id, id));
  await deleteTagsOf(tx, id);
}

/** An operator's last resort, whatever state it is in: the rows end here; its host, when it is there again, removes what it has of it. */
export function forceEndVolume(db: Db, id: string, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, id);
    if (row === undefined || row.state === 'deleted') return false;
    for (const operation of await unfinishedOperations(tx, id)) {
      await finishOperation(tx, operation.id, { state: 'failed', error: 'an operator deleted the volume' }, now);
    }
    await endVolumeIn(tx, id, now);
    return true;
  });
}

// Growing

/** The volume has its new size. False: nothing was being changed. */
export function finishGrowing(db: Db, volume: Pick<Volume, 'id' | 'fence'>, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, volume.id);
    const [change] = await tx.select().from(volumeModifications).where(eq(volumeModifications.volumeId, volume.id));
    if (row === undefined || row.fence !== volume.fence || change === undefined) return false;
    if (change.state !== 'modifying') return change.state === 'completed';
    await tx.update(volumes).set({ sizeGiB: change.targetSizeGiB, type: change.targetType }).where(eq(volumes.id, row.id));
    await tx.update(volumeModifications).set({ state: 'completed', endedAt: now }).where(eq(volumeModifications.volumeId, row.id));
    return true;
  });
}

/** The room that was claimed for it is free again. */
export function failGrowing(db: Db, volumeId: string, reason: string, now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, volumeId);
    const [change] = await tx.update(volumeModifications).set({ state: 'failed', reason, endedAt: now })
      .where(and(eq(volumeModifications.volumeId, volumeId), eq(volumeModifications.state, 'modifying'))).returning();
    if (row === undefined || change === undefined || row.host === null || row.state === 'deleted') return;
    await releaseVolumeRoom(tx, row.host, change.targetSizeGiB - change.originalSizeGiB);
  });
}

// Looking after

/** Rows of volumes that the host has or has had. */
export function volumesOfHost(db: Queryable, host: string): Promise<Volume[]> {
  return db.select().from(volumes).where(eq(volumes.host, host)).orderBy(asc(volumes.id));
}

export function volumesById(db: Queryable, ids: readonly string[]): Promise<Volume[]> {
  return db.select().from(volumes).where(inArray(volumes.id, [...ids]));
}

/** Volumes in a state past its deadline that nobody works on, or whose owner has not come to it in time. */
export async function overdueVolumes(db: Queryable, now: Date): Promise<Volume[]> {
  const work = db.select({ one: sql`1` }).from(operations)
    .where(and(eq(operations.resourceId, volumes.id), inArray(operations.state, ['running', 'undoing'])));
  return db.select().from(volumes).where(and(lt(volumes.stateDeadline, now), notExists(work)));
}

/** Ends a state that was not left in its time: `error`, from where it can be deleted. What waits for it is given up. */
export function endOverdue(db: Db, seen: Volume, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, seen.id);
    if (row === undefined || row.state !== seen.state || row.stateDeadline === null || row.stateDeadline >= now) return false;
    const kept = (await unfinishedOperations(tx, row.id)).filter(({ kind }) => kind === 'volume.create' || kind === 'volume.delete');
    for (const { id } of kept) await finishOperation(tx, id, { state: 'failed', error: 'not done within its time' }, now);
    const reason = `${row.state} was not done within its time${row.host === null ? '' : ` by volume@${row.host}`}`;
    await tx.update(volumes).set({ state: 'error', stateReason: reason, stateChangedAt: now, stateDeadline: null }).where(eq(volumes.id, row.id));
    return true;
  });
}

/** A volume that was written without a wish is to be made now, near that host. False: it is wished, or made, already. */
export function wishCreation(db: Db, wish: { volume: Volume; near: string; requestId: string }, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, wish.volume.id);
    if (row === undefined || row.host !== null || row.state !== 'creating' || (await unfinishedOperations(tx, row.id)).length > 0) return false;
    await insertOperation(tx, {
      kind: 'volume.create', resourceId: row.id, projectId: row.projectId, userId: row.userId, requestId: wish.requestId, owner: 'scheduler',
      input: { near: wish.near }, deadline: row.stateDeadline ?? new Date(now.getTime() + createMs),
    }, now);
    return true;
  });
}

/** Zeros or a copy of hundreds of gigabytes. */
export const createMs = 60 * 60_000;

/** No host can have it: nothing of it was made. False: it has one meanwhile, or is given up already. */
export function failUnplaced(db: Db, failed: { volumeId: string; operationId: string; reason: string }, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, failed.volumeId);
    if (row === undefined || row.host !== null || row.state !== 'creating') return false;
    await tx.update(volumes).set({ state: 'error', stateReason: failed.reason, stateChangedAt: now, stateDeadline: null }).where(eq(volumes.id, row.id));
    await finishOperation(tx, failed.operationId, { state: 'failed', error: failed.reason }, now);
    return true;
  });
}

/** Forgets volumes that were deleted before that time. */
export async function purgeDeletedVolumes(db: Queryable, host: string, before: Date): Promise<string[]> {
  const rows = await db.delete(volumes).where(and(eq(volumes.host, host), eq(volumes.state, 'deleted'), lt(volumes.stateChangedAt, before)))
    .returning({ id: volumes.id });
  return rows.map(({ id }) => id);
}

/** The owner is there (again): what was kept for it has time again. */
export async function renewDeadlines(db: Queryable, owner: string, deadline: Date): Promise<void> {
  await db.update(operations).set({ deadline }).where(and(
    eq(operations.owner, owner), inArray(operations.state, [...unfinished]), lt(operations.deadline, deadline),
  ));
}
