// The queries of a launch: one transaction that checks the quota, repeats no client token, and leaves the reservation, its instances
// and their operations, or nothing.
import { and, eq } from 'drizzle-orm';
import { derivedId, newMac } from '../lib/ids.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { holdDisks, insertLaunchVolumes, type DisksRefusal, type LaunchDisks } from './launch-volumes.ts';
import { claimWished, holdAddress, holdNetwork } from './networks.ts';
import { insertOperations, type NewOperation } from './operations.ts';
import { instancesUsed, ownLimits, type Quotas } from './quotas.ts';
import { instances, instanceSecurityGroups, instanceTypes, reservations } from './schema/instances.ts';
import { hosts } from './schema/hosts.ts';
import { holdGroups } from './security-groups.ts';
import { insertTags, type TagText } from './tags.ts';

export type Reservation = typeof reservations.$inferSelect;
export type InstanceType = typeof instanceTypes.$inferSelect;
export type NewInstance = Omit<typeof instances.$inferInsert, 'id' | 'mac' | 'launchIndex'>;

export async function findInstanceType(db: Queryable, name: string): Promise<InstanceType | undefined> {
  const [row] = await db.select().from(instanceTypes).where(eq(instanceTypes.name, name));
  return row;
}

/** Does any host serve this zone? */
export async function zoneHasHosts(db: Queryable, zone: string): Promise<boolean> {
  const [row] = await db.select({ name: hosts.name }).from(hosts).where(eq(hosts.zone, zone)).limit(1);
  return row !== undefined;
}

export type LaunchQuota = Pick<Quotas, 'instances' | 'cores' | 'memoryMiB'>;

export interface Launch {
  readonly reservation: Reservation;
  readonly instance: NewInstance;
  readonly groupIds: readonly string[];
  readonly tags: readonly TagText[];
  readonly interfaceTags?: readonly TagText[];
  /** The address that the one instance is to have. */
  readonly wish?: { readonly networkId: string; readonly address: string } | undefined;
  /** Volumes that each instance is launched with. */
  readonly disks: LaunchDisks;
  readonly countMin: number;
  readonly countMax: number;
  /** What a project may have at once, unless it was given limits of its own. */
  readonly quota: LaunchQuota;
  readonly operation: Omit<NewOperation, 'resourceId'>;
  /** A new id for each instance. */
  readonly newInstanceId: () => string;
}

export type LaunchResult =
  | { readonly outcome: 'launched'; readonly reservationId: string }
  /** The token was used before, with the same request: nothing is done again. */
  | { readonly outcome: 'repeated'; readonly reservationId: string }
  | { readonly outcome: 'mismatch' }
  | { readonly outcome: 'overQuota'; readonly of: keyof LaunchQuota; readonly limit: number; readonly asked: number }
  | { readonly outcome: 'groupGone' }
  | { readonly outcome: 'networkGone' }
  | { readonly outcome: 'addressTaken'; readonly address: string }
  | DisksRefusal;

/** Launches as many as the quota leaves room for, from `countMin` to `countMax`. */
export function launchInstances(db: Db, launch: Launch): Promise<LaunchResult> {
  return db.transaction(async (tx): Promise<LaunchResult> => {
    const { reservation } = launch;
    await lockProject(tx, reservation.projectId);
    const repeated = await findByToken(tx, reservation);
    if (repeated !== undefined) return repeated;
    const room = await roomFor(tx, launch);
    if (room.count < launch.countMin) return { outcome: 'overQuota', of: room.of, limit: room.limit, asked: launch.countMin };
    const held = await holdGroups(tx, reservation.projectId, launch.groupIds);
    if (held.length < new Set(launch.groupIds).size) return { outcome: 'groupGone' };
    const count = Math.min(room.count, launch.countMax);
    const contents = await holdDisks(tx, reservation.projectId, launch.disks, count);
    if ('outcome' in contents) return contents;
    if (!(await holdNetwork(tx, launch.instance.networkId ?? null))) return { outcome: 'networkGone' };
    if (launch.wish !== undefined && !(await holdAddress(tx, launch.wish))) return { outcome: 'addressTaken', address: launch.wish.address };
    await tx.insert(reservations).values(reservation);
    const ids = await insertInstances(tx, launch, count);
    if (launch.wish !== undefined) await claimWished(tx, { ...launch.wish, instanceId: ids[0] ?? '', now: reservation.createdAt });
    const { projectId, userId, createdAt } = reservation;
    await insertLaunchVolumes(tx, { ...launch.disks, instanceIds: ids, projectId, userId, zone: launch.instance.zone, contents }, createdAt);
    await tx.insert(instanceSecurityGroups).values(ids.flatMap((instanceId) => held.map((group) => ({ instanceId, groupId: group.id }))));
    await insertTags(tx, { projectId, resourceType: 'instance', resourceIds: ids, tags: launch.tags });
    const interfaceIds = ids.map((id) => derivedId('eni', id));
    await insertTags(tx, { projectId, resourceType: 'network-interface', resourceIds: interfaceIds, tags: launch.interfaceTags ?? [] });
    await insertOperations(tx, ids.map((resourceId) => ({ ...launch.operation, resourceId })), createdAt);
    return { outcome: 'launched', reservationId: reservation.id };
  });
}

/** What was launched with the client's token before, if anything was. Looked at before the request is checked: what it names may be gone by now. */
export async function findByToken(db: Queryable, asked: Pick<Reservation, 'projectId' | 'clientToken' | 'requestDigest'>): Promise<LaunchResult | undefined> {
  if (asked.clientToken === null) return undefined;
  const [earlier] = await db.select().from(reservations)
    .where(and(eq(reservations.projectId, asked.projectId), eq(reservations.clientToken, asked.clientToken)));
  if (earlier === undefined) return undefined;
  return earlier.requestDigest === asked.requestDigest ? { outcome: 'repeated', reservationId: earlier.id } : { outcome: 'mismatch' };
}

interface Room {
  readonly count: number;
  /** The limit that leaves no more. */
  readonly of: keyof LaunchQuota;
  readonly limit: number;
}

/** How many more such instances the project may have. */
async function roomFor(tx: Queryable, { reservation: { projectId }, instance, quota }: Launch): Promise<Room> {
  const used = await instancesUsed(tx, projectId);
  const each: LaunchQuota = { instances: 1, cores: instance.cores, memoryMiB: instance.memoryMiB };
  const limits = { ...quota, ...(await ownLimits(tx, projectId)) };
  let room: Room | undefined;
  for (const of of ['instances', 'cores', 'memoryMiB'] as const) {
    const limit = limits[of];
    const count = Math.floor((limit - used[of]) / each[of]);
    if (room === undefined || count < room.count) room = { count, of, limit };
  }
  return room ?? { count: 0, of: 'instances', limit: 0 };
}

const macTriesMax = 8;

/** Random addresses collide rarely, and then the row is tried with another. */
async function insertInstances(tx: Tx, launch: Launch, count: number): Promise<string[]> {
  let missing = Array.from({ length: count }, (_, launchIndex) => ({ ...launch.instance, id: launch.newInstanceId(), launchIndex }));
  const ids = missing.map((row) => row.id);
  for (let tries = 0; missing.length > 0; tries += 1) {
    if (tries === macTriesMax) throw new Error('no free MAC address was found');
    const inserted = await tx.insert(instances).values(missing.map((row) => ({ ...row, mac: newMac() })))
      .onConflictDoNothing({ target: instances.mac }).returning({ id: instances.id });
    const done = new Set(inserted.map((row) => row.id));
    missing = missing.filter((row) => !done.has(row.id));
  }
  return ids;
}
