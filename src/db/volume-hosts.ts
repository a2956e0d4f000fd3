// Hosts that keep volumes, the room on them, and the placement of a volume: its room, its owner and its operation in one transaction.
import { and, asc, eq, inArray, isNull, lte, notInArray, or, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { handOperation, unfinished, type Operation } from './operations.ts';
import { operations } from './schema/operations.ts';
import { volumeAttachments, volumeHosts, volumes, type Volume } from './schema/volumes.ts';

export type VolumeHostRow = typeof volumeHosts.$inferSelect;

export type VolumeHostReport = Pick<VolumeHostRow, 'name' | 'zone' | 'driver' | 'isRemote' | 'movesLive' | 'sizeGiB'>;

/** Announces a host with what its driver can do and carry. What is claimed of it stays. */
export async function reportVolumeHost(db: Queryable, report: VolumeHostReport, now: Date): Promise<void> {
  const { name: _name, ...changes } = report;
  await db.insert(volumeHosts).values({ ...report, updatedAt: now })
    .onConflictDoUpdate({ target: volumeHosts.name, set: { ...changes, updatedAt: now } });
}

export function listVolumeHosts(db: Queryable): Promise<VolumeHostRow[]> {
  return db.select().from(volumeHosts).orderBy(asc(volumeHosts.name));
}

export async function findVolumeHost(db: Queryable, name: string): Promise<VolumeHostRow | undefined> {
  const [row] = await db.select().from(volumeHosts).where(eq(volumeHosts.name, name));
  return row;
}

/** New volumes come, or do not. False: there is no such host. */
export async function setVolumeHostEnabled(db: Queryable, name: string, change: { enabled: boolean; reason: string | null }): Promise<boolean> {
  const rows = await db.update(volumeHosts).set({ enabled: change.enabled, disabledReason: change.reason }).where(eq(volumeHosts.name, name))
    .returning({ name: volumeHosts.name });
  return rows.length > 0;
}

/** Takes room, all of it or nothing, in one statement. A host that is disabled gives more to volumes that it has already. */
export async function claimVolumeRoom(tx: Queryable, claim: { host: string; sizeGiB: number; isNew: boolean }): Promise<boolean> {
  const rows = await tx.update(volumeHosts).set({ claimedGiB: sql`${volumeHosts.claimedGiB} + ${claim.sizeGiB}` })
    .where(and(
      eq(volumeHosts.name, claim.host), claim.isNew ? eq(volumeHosts.enabled, true) : undefined,
      lte(sql`${volumeHosts.claimedGiB} + ${claim.sizeGiB}`, volumeHosts.sizeGiB),
    ))
    .returning({ name: volumeHosts.name });
  return rows.length > 0;
}

/** Gives room back. Called in the transaction that takes the volume off its host, and so once. */
export async function releaseVolumeRoom(tx: Queryable, host: string, sizeGiB: number): Promise<void> {
  await tx.update(volumeHosts).set({ claimedGiB: sql`greatest(0, ${volumeHosts.claimedGiB} - ${sizeGiB})` }).where(eq(volumeHosts.name, host));
}

/** A volume without a host, and the creation that waits for one. */
export interface UnplacedVolume {
  readonly volume: Volume;
  readonly create: Operation | undefined;
}

export async function unplacedVolume(db: Queryable, id: string): Promise<UnplacedVolume | undefined> {
  const waits = and(
    eq(operations.resourceId, volumes.id), eq(operations.kind, 'volume.create'), eq(operations.owner, 'scheduler'),
    inArray(operations.state, [...unfinished]),
  );
  const [row] = await db.select({ volume: volumes, create: operations }).from(volumes).leftJoin(operations, waits)
    .where(and(eq(volumes.id, id), isNull(volumes.host), eq(volumes.state, 'creating')));
  return row === undefined ? undefined : { volume: row.volume, create: row.create ?? undefined };
}

/** Volumes that wait for a host: what the scheduler sweeps. */
export async function unplacedVolumeIds(db: Queryable, countMax: number): Promise<string[]> {
  const rows = await db.select({ id: volumes.id }).from(volumes).where(and(isNull(volumes.host), eq(volumes.state, 'creating')))
    .orderBy(asc(volumes.id)).limit(countMax);
  return rows.map(({ id }) => id);
}

export interface VolumePlaceWish {
  readonly zone: string;
  readonly sizeGiB: number;
  readonly except: readonly string[];
  /** No other will do: the host of the snapshot. */
  readonly only: string | undefined;
  /** Where the guest is that will have it: a host that serves no others will do only there. */
  readonly near: string | undefined;
}

const candidatesMax = 64;

/** Hosts to try: that of the guest first, then those with the most room. */
export async function volumeCandidates(db: Queryable, wish: VolumePlaceWish): Promise<string[]> {
  const { near, only, except } = wish;
  const rows = await db.select({ name: volumeHosts.name }).from(volumeHosts).where(and(
    eq(volumeHosts.enabled, true), eq(volumeHosts.zone, wish.zone), lte(sql`${volumeHosts.claimedGiB} + ${wish.sizeGiB}`, volumeHosts.sizeGiB),
    except.length === 0 ? undefined : notInArray(volumeHosts.name, [...except]),
    only === undefined ? undefined : eq(volumeHosts.name, only),
    near === undefined ? undefined : or(eq(volumeHosts.isRemote, true), eq(volumeHosts.name, near)),
  )).orderBy(
    ...(near === undefined ? [] : [sql`case when ${volumeHosts.name} = ${near} then 0 else 1 end`]),
    sql`${volumeHosts.sizeGiB} - ${volumeHosts.claimedGiB} desc`, asc(volumeHosts.name),
  ).limit(candidatesMax);
  return rows.map(({ name }) => name);
}

/** `full`: the room went to another meanwhile. `gone`: it is not to be placed any more. */
export type VolumePlacement = 'placed' | 'full' | 'gone';

/** Gives a volume to a host, with its room, its next fence and its operation. */
export function placeVolume(db: Db, placement: { volumeId: string; operationId: string; host: string }, now: Date): Promise<VolumePlacement> {
  const { volumeId, operationId, host } = placement;
  return db.transaction(async (tx): Promise<VolumePlacement> => {
    const [row] = await tx.select().from(volumes).where(and(eq(volumes.id, volumeId), eq(volumes.state, 'creating'), isNull(volumes.host))).for('update');
    if (row === undefined) return 'gone';
    if (!(await claimVolumeRoom(tx, { host, sizeGiB: row.sizeGiB, isNew: true }))) return 'full';
    await tx.update(volumes).set({ host, fence: row.fence + 1, placements: row.placements + 1 }).where(eq(volumes.id, volumeId));
    await handOperation(tx, operationId, { owner: `volume@${host}`, error: null }, now);
    return 'placed';
  });
}

/** Takes a volume that could not be made off its host, so that another can be tried. False: it is not to be placed again. */
export function leaveVolumeHost(db: Db, leave: { volume: Volume; operationId: string; error: string }, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockPlaced(tx, leave.volume);
    if (row === undefined) return false;
    await releaseVolumeRoom(tx, row.host, row.sizeGiB);
    await tx.update(volumes).set({ host: null, failedHosts: [...new Set([...row.failedHosts, row.host])] }).where(eq(volumes.id, row.id));
    await handOperation(tx, leave.operationId, { owner: 'scheduler', error: leave.error }, now);
    return true;
  });
}

async function lockPlaced(tx: Tx, { id, fence }: Volume): Promise<(Volume & { host: string }) | undefined> {
  const [row] = await tx.select().from(volumes).where(and(eq(volumes.id, id), eq(volumes.fence, fence), eq(volumes.state, 'creating'))).for('update');
  return row === undefined || row.host === null ? undefined : { ...row, host: row.host };
}

/** Why an instance cannot go to another host with the volumes that it has; undefined when it can. */
export async function volumesThatStay(db: Queryable, move: { instanceId: string; live: boolean }): Promise<string | undefined> {
  const rows = await db.select({ volumeId: volumes.id, host: volumeHosts }).from(volumeAttachments)
    .innerJoin(volumes, eq(volumes.id, volumeAttachments.volumeId)).innerJoin(volumeHosts, eq(volumeHosts.name, volumes.host))
    .where(and(eq(volumeAttachments.instanceId, move.instanceId), eq(volumeAttachments.released, false))).orderBy(asc(volumes.id));
  const local = rows.find(({ host }) => !host.isRemote);
  if (local !== undefined) return `its volume ${local.volumeId} can be used on ${local.host.name} only (volume driver ${local.host.driver}): detach it first`;
  const still = move.live ? rows.find(({ host }) => !host.movesLive) : undefined;
  return still === undefined ? undefined : `not while it runs: the volume driver ${still.host.driver} of ${still.volumeId} cannot go along`;
}
