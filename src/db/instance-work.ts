// What owners do to an instance's row while they work on it. Every change is guarded by state, host and fence, so that who lost the
// instance changes nothing.
import { and, eq, inArray, isNotNull, isNull, lt, notExists, notInArray, or, type SQL } from 'drizzle-orm';
import { derivedId, newRequestId } from '../lib/ids.ts';
import { freeFloatingOf } from './addresses.ts';
import { releaseVolumesOf, tryVolumesAgain } from './attachments.ts';
import { releaseRoom, type Claim } from './hosts.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { hosts } from './schema/hosts.ts';
import { releaseAddress } from './networks.ts';
import { images } from './schema/images.ts';
import { instances, reservations, tags, type InstanceState } from './schema/all.ts';
import { finishOperation, forgetOperationsOf, handOperation, unfinishedOperations } from './operations.ts';

export type Instance = typeof instances.$inferSelect;
export type Image = typeof images.$inferSelect;

export const instanceKinds = [
  'instance.run', 'instance.start', 'instance.stop', 'instance.reboot', 'instance.terminate', 'instance.migrate', 'instance.leave',
  'instance.attachVolume', 'instance.detachVolume', 'instance.createImage',
] as const;
export type InstanceOperationKind = (typeof instanceKinds)[number];

export async function loadInstance(db: Queryable, id: string): Promise<Instance | undefined> {
  const [row] = await db.select().from(instances).where(eq(instances.id, id));
  return row;
}

export function imagesOf(db: Queryable, ids: readonly string[]): Promise<Image[]> {
  return db.select().from(images).where(inArray(images.id, [...ids]));
}

/** The room that an instance takes on its host. A root disk as large as its image counts as that many GiB, rounded up. */
export function claimOf(instance: Pick<Instance, 'cores' | 'memoryMiB' | 'rootGiB'>, imageBytes: number): Claim {
  return { cores: instance.cores, memoryMiB: instance.memoryMiB, diskGiB: Math.max(instance.rootGiB, Math.ceil(imageBytes / 2 ** 30)) };
}

/** As `claimOf`, with the image looked up. */
export async function claimOfRow(db: Queryable, instance: Instance): Promise<Claim> {
  const [image] = await imagesOf(db, [instance.imageId]);
  return claimOf(instance, image?.virtualSizeBytes ?? 0);
}

export interface Outcome {
  readonly state: InstanceState;
  readonly reasonCode: string | null;
  readonly reason: string | null;
}

/** A lasting state, reached from one of `from`. False: the row has gone on without us. */
export async function settle(
  db: Queryable,
  instance: Pick<Instance, 'id' | 'fence'>,
  from: readonly InstanceState[],
  outcome: Outcome & { hypervisor?: string; launchedAt?: Date },
  now: Date,
): Promise<boolean> {
  return settleWhere(db, and(eq(instances.id, instance.id), eq(instances.fence, instance.fence), inArray(instances.state, [...from])), outcome, now);
}

/** As `settle`, for who has only looked on: nothing has happened to the instance since its row was read. */
export function settleUnchanged(db: Queryable, seen: Instance, outcome: Outcome, now: Date): Promise<boolean> {
  const { id, fence, state, stateChangedAt } = seen;
  const unchanged = and(eq(instances.id, id), eq(instances.fence, fence), eq(instances.state, state), eq(instances.stateChangedAt, stateChangedAt));
  return settleWhere(db, unchanged, outcome, now);
}

async function settleWhere(
  db: Queryable, which: SQL | undefined, outcome: Outcome & { hypervisor?: string; launchedAt?: Date }, now: Date,
): Promise<boolean> {
  const rows = await db.update(instances)
    .set({
      state: outcome.state,
      stateReasonCode: outcome.reasonCode,
      stateReasonMessage: outcome.reason,
      stateChangedAt: now,
      stateDeadline: null,
      hostLost: false,
      ...(outcome.hypervisor === undefined ? {} : { hypervisor: outcome.hypervisor }),
      ...(outcome.launchedAt === undefined ? {} : { launchedAt: outcome.launchedAt }),
    })
    .where(which)
    .returning({ id: instances.id });
  return rows.length > 0;
}

/**
 * Ends an instance: state `terminated`, room given back, volumes released, public address free of it, other operations of it failed. Its own operation is
 * finished by the caller.
 */
export async function endInstance(tx: Tx, instance: Instance, reason: { code: string; message: string } | undefined, now: Date): Promise<void> {
  const [locked] = await tx.select().from(instances).where(eq(instances.id, instance.id)).for('update');
  if (locked === undefined || locked.state === 'terminated') return;
  if (locked.host !== null) await releaseRoom(tx, locked.host, await claimOfRow(tx, locked));
  if (locked.migratingTo !== null) await releaseRoom(tx, locked.migratingTo, await claimOfRow(tx, locked));
  await tx.update(instances)
    .set({
      state: 'terminated',
      migratingTo: null,
      stateChangedAt: now,
      stateDeadline: null,
      terminatedAt: now,
      ...(reason === undefined ? {} : { stateReasonCode: reason.code, stateReasonMessage: reason.message }),
    })
    .where(eq(instances.id, instance.id));
  // An address by wish outlives the tries on hosts, but not the instance.
  if (locked.wishedAddress !== null) await releaseAddress(tx, instance.id, now);
  await freeFloatingOf(tx, instance.id);
  await releaseVolumesOf(tx, { instanceId: instance.id, requestId: newRequestId() }, now);
}

/**
 * Ends an instance that no host has, and every wish on it, read under the row's lock so that none stays behind. Changes nothing when it was placed
 * meanwhile. A user who ended it meanwhile is the reason.
 */
export function endUnplaced(db: Db, id: string, reason: { code: string; message: string } | undefined, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [locked] = await tx.select().from(instances).where(and(eq(instances.id, id), isNull(instances.host))).for('update');
    if (locked === undefined) return false;
    const told = locked.state === 'shutting-down' ? undefined : reason;
    await endInstance(tx, locked, told, now);
    // Its last host undid everything; an ask for its port that came late to there may have claimed the address again.
    await releaseAddress(tx, id, now);
    for (const operation of await unfinishedOperations(tx, id)) {
      const wished = operation.kind === 'instance.terminate';
      await finishOperation(tx, operation.id, wished ? { state: 'done' } : { state: 'failed', error: told?.message ?? 'the user ended the instance' }, now);
    }
    return true;
  });
}

/** Takes an instance off a host where it failed, so that another can be tried. False: it is not to be placed again (the user ends it, or it is ended). */
export function leaveHost(db: Db, leave: { instance: Instance; operationId: string; error: string; now: Date }): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [locked] = await tx.select().from(instances).where(and(eq(instances.id, leave.instance.id), eq(instances.fence, leave.instance.fence))).for('update');
    if (locked === undefined || locked.state !== 'pending' || locked.host === null) return false;
    await releaseRoom(tx, locked.host, await claimOfRow(tx, locked));
    await tx.update(instances).set({ host: null, failedHosts: [...new Set([...locked.failedHosts, locked.host])] }).where(eq(instances.id, locked.id));
    await tryVolumesAgain(tx, locked.id, leave.now);
    await handOperation(tx, leave.operationId, { owner: 'scheduler', error: leave.error }, leave.now);
    return true;
  });
}

/** All instances of a host that are not terminated, and those terminated lately: what its reconciler compares with reality. */
export function instancesOfHost(db: Queryable, host: string): Promise<Instance[]> {
  return db.select().from(instances).where(eq(instances.host, host));
}

export function instancesById(db: Queryable, ids: readonly string[]): Promise<Instance[]> {
  return db.select().from(instances).where(inArray(instances.id, [...ids]));
}

/** Instances whose transitional state is past its deadline. */
export function overdueInstances(db: Queryable, now: Date): Promise<Instance[]> {
  return db.select().from(instances).where(and(lt(instances.stateDeadline, now), notInArray(instances.state, ['running', 'stopped', 'terminated'])));
}

/**
 * Forgets instances that were terminated before that time, with their tags, operations and emptied reservations. Returns their ids. Those on a
 * host that is down are kept: it must know when it returns that what it has of them is to go.
 */
export function purgeTerminated(db: Db, before: Date): Promise<string[]> {
  return db.transaction(async (tx) => {
    const down = tx.select({ name: hosts.name }).from(hosts).where(and(eq(hosts.name, instances.host), isNotNull(hosts.downSince)));
    const gone = await tx.delete(instances).where(and(eq(instances.state, 'terminated'), lt(instances.terminatedAt, before), notExists(down)))
      .returning({ id: instances.id, reservationId: instances.reservationId });
    const ids = gone.map((row) => row.id);
    if (ids.length === 0) return ids;
    await tx.delete(tags).where(inArray(tags.resourceId, [...ids, ...ids.map((id) => derivedId('eni', id))]));
    await forgetOperationsOf(tx, ids, before);
    const others = tx.select({ id: instances.id }).from(instances).where(eq(instances.reservationId, reservations.id));
    await tx.delete(reservations).where(and(inArray(reservations.id, [...new Set(gone.map((row) => row.reservationId))]), notExists(others)));
    return ids;
  });
}

/** Images that instances of a host stand on: never evicted from its cache. */
export async function imagesInUse(db: Queryable, host: string): Promise<Set<string>> {
  const rows = await db.select({ imageId: instances.imageId, kernelId: instances.kernelId, ramdiskId: instances.ramdiskId }).from(instances)
    .where(and(or(eq(instances.host, host), eq(instances.migratingTo, host)), notInArray(instances.state, ['terminated'])));
  return new Set(rows.flatMap((row) => [row.imageId, row.kernelId, row.ramdiskId]).filter((id) => id !== null));
}
