// The queries of volumes as clients see and change them: each a transaction that checks, changes rows and writes the wish, or does nothing. What
// owners do to them while they work is in volume-work.ts.
import { and, asc, eq, inArray, ne, sql } from 'drizzle-orm';
import { attachmentOf, type Attachment } from './attachments.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { insertOperation, type NewOperation } from './operations.ts';
import { ownLimits, volumesUsed, type Quotas } from './quotas.ts';
import { volumeAttachments, volumeHosts, volumeModifications, volumes } from './schema/volumes.ts';
import { holdContent } from './snapshot-work.ts';
import { insertTags, tagsOf, type TagText } from './tags.ts';
import { claimVolumeRoom } from './volume-hosts.ts';
import { endVolumeIn, lockVolume, type Volume } from './volume-work.ts';

export interface FullVolume extends Volume {
  readonly attachment: Attachment | undefined;
  readonly tags: readonly TagText[];
}

/** Volumes of a project that are there. */
export async function loadVolumes(db: Queryable, projectId: string, ids?: readonly string[]): Promise<FullVolume[]> {
  const rows = await db.select({ volume: volumes, attachment: volumeAttachments }).from(volumes)
    .leftJoin(volumeAttachments, eq(volumeAttachments.volumeId, volumes.id))
    .where(and(eq(volumes.projectId, projectId), ne(volumes.state, 'deleted'), ids === undefined ? undefined : inArray(volumes.id, [...ids])))
    .orderBy(asc(volumes.id));
  const tags = await tagsOf(db, projectId, rows.map(({ volume }) => volume.id));
  return rows.map(({ volume, attachment }) => ({ ...volume, attachment: attachment ?? undefined, tags: tags.get(volume.id) ?? [] }));
}

/** How many volumes each host keeps. */
export async function volumeCounts(db: Queryable): Promise<ReadonlyMap<string, number>> {
  const rows = await db.select({ host: volumes.host, count: sql<number>`count(*)::int` }).from(volumes)
    .where(ne(volumes.state, 'deleted')).groupBy(volumes.host);
  return new Map(rows.flatMap(({ host, count }) => (host === null ? [] : [[host, count] as const])));
}

/** Of all projects: for operators. */
export async function volumesForOperator(
  db: Queryable, choice: { host: string | undefined; countMax: number },
): Promise<(Volume & { readonly attachment: Attachment | undefined })[]> {
  const rows = await db.select({ volume: volumes, attachment: volumeAttachments }).from(volumes)
    .leftJoin(volumeAttachments, eq(volumeAttachments.volumeId, volumes.id))
    .where(and(ne(volumes.state, 'deleted'), choice.host === undefined ? undefined : eq(volumes.host, choice.host)))
    .orderBy(asc(volumes.id)).limit(choice.countMax);
  return rows.map(({ volume, attachment }) => ({ ...volume, attachment: attachment ?? undefined }));
}

export async function findVolume(db: Queryable, projectId: string, id: string): Promise<FullVolume | undefined> {
  return (await loadVolumes(db, projectId, [id]))[0];
}

/** What instances have, by instance. */
export async function attachmentsOf(db: Queryable, instanceIds: readonly string[]): Promise<Attachment[]> {
  if (instanceIds.length === 0) return [];
  return db.select().from(volumeAttachments).where(inArray(volumeAttachments.instanceId, [...instanceIds])).orderBy(asc(volumeAttachments.device));
}

/** Of projects that were given no limits of their own. */
export type VolumeQuota = Pick<Quotas, 'volumes' | 'gigabytes'>;

/** What a project may not have: so many of it, or so much. */
export interface OverQuota {
  readonly of: keyof VolumeQuota;
  readonly limit: number;
}

/** With the project's row held: would these be too many, or too much? */
export async function overQuota(tx: Tx, projectId: string, more: { count: number; sizeGiB: number }, quota: VolumeQuota): Promise<OverQuota | undefined> {
  const used = await volumesUsed(tx, projectId);
  const limits = { ...quota, ...(await ownLimits(tx, projectId)) };
  if (used.volumes + more.count > limits.volumes) return { of: 'volumes', limit: limits.volumes };
  return used.gigabytes + more.sizeGiB > limits.gigabytes ? { of: 'gigabytes', limit: limits.gigabytes } : undefined;
}

export type NewVolume = Omit<typeof volumes.$inferInsert, 'contentId'>;

export interface VolumeCreation {
  readonly row: NewVolume;
  readonly tags: readonly TagText[];
  readonly quota: VolumeQuota;
  readonly operation: Pick<NewOperation, 'requestId' | 'deadline'>;
}

export type VolumeCreated =
  | { readonly outcome: 'created' }
  /** The token was used before, with the same request: nothing is done again. */
  | { readonly outcome: 'repeated'; readonly volumeId: string }
  | { readonly outcome: 'mismatch' }
  | { readonly outcome: 'overQuota'; readonly of: OverQuota }
  | { readonly outcome: 'snapshotGone' };

export function createVolume(db: Db, { row, tags, quota, operation }: VolumeCreation): Promise<VolumeCreated> {
  return db.transaction(async (tx): Promise<VolumeCreated> => {
    await lockProject(tx, row.projectId);
    const earlier = await findByVolumeToken(tx, row);
    if (earlier !== undefined) return earlier;
    const of = await overQuota(tx, row.projectId, { count: 1, sizeGiB: row.sizeGiB }, quota);
    if (of !== undefined) return { outcome: 'overQuota', of };
    const content = await holdContent(tx, row.snapshotId);
    if (content === 'gone') return { outcome: 'snapshotGone' };
    await tx.insert(volumes).values({ ...row, contentId: content });
    await insertTags(tx, { projectId: row.projectId, resourceType: 'volume', resourceIds: [row.id], tags });
    const { id: resourceId, projectId, userId } = row;
    await insertOperation(tx, { kind: 'volume.create', resourceId, projectId, userId, owner: 'scheduler', ...operation }, row.createdAt);
    return { outcome: 'created' };
  });
}

/** What was made with the client's token before, if anything was. */
export async function findByVolumeToken(
  db: Queryable, asked: Pick<NewVolume, 'projectId' | 'clientToken' | 'requestDigest'>,
): Promise<VolumeCreated | undefined> {
  if (asked.clientToken === null || asked.clientToken === undefined) return undefined;
  const [earlier] = await db.select().from(volumes).where(and(eq(volumes.projectId, asked.projectId), eq(volumes.clientToken, asked.clientToken)));
  if (earlier === undefined) return undefined;
  return earlier.requestDigest === asked.requestDigest ? { outcome: 'repeated', volumeId: earlier.id } : { outcome: 'mismatch' };
}

export interface VolumeWish {
  readonly projectId: string;
  readonly volumeId: string;
  readonly userId: string;
  readonly requestId: string;
  readonly deadline: Date;
}

export type VolumeDeleted = 'deleting' | 'absent' | { readonly state: Volume['state']; readonly attachment: Attachment | undefined };

/** From `available` or `error`. One that was never placed is gone at once. */
export function deleteVolume(db: Db, wish: VolumeWish, now: Date): Promise<VolumeDeleted> {
  return db.transaction(async (tx): Promise<VolumeDeleted> => {
    const row = await lockOwned(tx, wish);
    if (row === undefined) return 'absent';
    const attachment = await attachmentOf(tx, row.id);
    if (row.state === 'deleting') return 'deleting';
    if ((row.state !== 'available' && row.state !== 'error') || attachment !== undefined) return { state: row.state, attachment };
    if (row.host === null) await endVolumeIn(tx, row.id, now);
    else {
      await tx.update(volumes).set({ state: 'deleting', stateReason: null, stateChangedAt: now, stateDeadline: wish.deadline }).where(eq(volumes.id, row.id));
      await insertOperation(tx, operationOf(wish, 'volume.delete', `volume@${row.host}`), now);
    }
    return 'deleting';
  });
}

const operationOf = ({ volumeId, ...wish }: VolumeWish, kind: string, owner: string, input: Record<string, unknown> = {}): NewOperation =>
  ({ ...wish, kind, resourceId: volumeId, owner, input });

export async function lockOwned(tx: Tx, { projectId, volumeId }: Pick<VolumeWish, 'projectId' | 'volumeId'>): Promise<Volume | undefined> {
  const row = await lockVolume(tx, volumeId);
  return row === undefined || row.projectId !== projectId || row.state === 'deleted' ? undefined : row;
}

// Changing

export type Modification = typeof volumeModifications.$inferSelect;

export interface ModifyWish extends VolumeWish {
  readonly sizeGiB: number | undefined;
  readonly type: string | undefined;
  readonly quota: VolumeQuota;
}

export type ModifyRefusal =
  | { readonly refused: 'noVolume' | 'inProgress' | 'full' }
  | { readonly refused: 'state'; readonly state: Volume['state'] }
  | { readonly refused: 'smaller'; readonly sizeGiB: number }
  | { readonly refused: 'overQuota'; readonly of: OverQuota };

/** Takes the room for the growth, and wishes it. A change of the type alone is done at once: all types are served alike. */
export function modifyVolume(db: Db, wish: ModifyWish, now: Date): Promise<Modification | ModifyRefusal> {
  return db.transaction(async (tx): Promise<Modification | ModifyRefusal> => {
    await lockProject(tx, wish.projectId);
    const volume = await lockOwned(tx, wish);
    if (volume === undefined) return { refused: 'noVolume' };
    if (volume.state !== 'available' && volume.state !== 'in-use') return { refused: 'state', state: volume.state };
    const [last] = await modificationsOf(tx, [volume.id]);
    if (last?.state === 'modifying') return { refused: 'inProgress' };
    const targetSizeGiB = wish.sizeGiB ?? volume.sizeGiB;
    const more = targetSizeGiB - volume.sizeGiB;
    if (more < 0) return { refused: 'smaller', sizeGiB: volume.sizeGiB };
    const of = more === 0 ? undefined : await overQuota(tx, wish.projectId, { count: 0, sizeGiB: more }, wish.quota);
    if (of !== undefined) return { refused: 'overQuota', of };
    if (more > 0 && !(await claimVolumeRoom(tx, { host: volume.host ?? '', sizeGiB: more, isNew: false }))) return { refused: 'full' };
    const change: Modification = {
      volumeId: volume.id, state: more === 0 ? 'completed' : 'modifying', reason: null, originalSizeGiB: volume.sizeGiB, targetSizeGiB,
      originalType: volume.type, targetType: wish.type ?? volume.type, startedAt: now, endedAt: more === 0 ? now : null,
    };
    const { volumeId: _key, ...set } = change;
    await tx.insert(volumeModifications).values(change).onConflictDoUpdate({ target: volumeModifications.volumeId, set });
    if (more === 0) await tx.update(volumes).set({ type: change.targetType }).where(eq(volumes.id, volume.id));
    else {
      const { projectId, userId, requestId, deadline, volumeId } = wish;
      await insertOperation(tx, operationOf({ projectId, userId, requestId, deadline, volumeId }, 'volume.modify', `volume@${volume.host ?? ''}`,
        { sizeGiB: targetSizeGiB }), now);
    }
    return change;
  });
}

export function modificationsOf(db: Queryable, volumeIds: readonly string[]): Promise<Modification[]> {
  return db.select().from(volumeModifications).where(inArray(volumeModifications.volumeId, [...volumeIds])).orderBy(asc(volumeModifications.volumeId));
}

/** False: there is no such volume. */
export async function setAutoEnableIo(db: Queryable, which: { projectId: string; volumeId: string; value: boolean }): Promise<boolean> {
  const rows = await db.update(volumes).set({ autoEnableIo: which.value })
    .where(and(eq(volumes.projectId, which.projectId), eq(volumes.id, which.volumeId), ne(volumes.state, 'deleted'))).returning({ id: volumes.id });
  return rows.length > 0;
}

/** Does any volume host serve this zone? */
export async function zoneHasVolumeHosts(db: Queryable, zone: string): Promise<boolean> {
  const [row] = await db.select({ name: volumeHosts.name }).from(volumeHosts).where(eq(volumeHosts.zone, zone)).limit(1);
  return row !== undefined;
}
