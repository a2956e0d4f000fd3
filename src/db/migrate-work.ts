// What moving an instance to another host writes. The row says where it lives (`host`) and where it is on its way to (`migratingTo`);
// while it is on its way it has room on both. One transaction gives it over, guarded by host, fence and destination.
import { and, asc, eq, inArray, isNull, ne } from 'drizzle-orm';
import { newRequestId } from '../lib/ids.ts';
import { tellOfMovedFloating } from './addresses.ts';
import { inTransaction, type Db, type Queryable, type Tx } from './db.ts';
import { claimRoom, releaseRoom, type Overcommit } from './hosts.ts';
import { claimOfRow, type Instance } from './instance-work.ts';
import { handOperation, insertOperation, unfinished, unfinishedOperations } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { operations, type DurableReplyTo } from './schema/operations.ts';

/** What the flow keeps of its claim. */
export interface MigrationClaim {
  readonly target: string;
  /** Of the row when it was claimed: the switch raises it by one. */
  readonly fence: number;
  /** It ran when the move began, and is to run after it. */
  readonly running: boolean;
}

export type ClaimOutcome = { readonly claim: MigrationClaim } | { readonly refusal: string };

/**
 * Takes the room on the first host of `candidates` that has it, and notes it as the destination. Repeated, it answers with the one noted.
 * Changes nothing when it refuses.
 */
export function claimTarget(
  db: Db, wish: { instance: Pick<Instance, 'id' | 'fence'>; source: string; candidates: readonly string[]; overcommit: Overcommit },
): Promise<ClaimOutcome> {
  return db.transaction(async (tx) => {
    const locked = await lock(tx, wish.instance.id);
    if (locked === undefined || locked.host !== wish.source || locked.fence !== wish.instance.fence) return { refusal: `it is not on ${wish.source}` };
    if (!isMovable(locked)) return { refusal: `it is ${locked.state}: only a running or stopped instance is moved` };
    const claimed = { fence: locked.fence, running: locked.state === 'running' };
    if (locked.migratingTo !== null) return { claim: { ...claimed, target: locked.migratingTo } };
    const left = await hostsStillLeft(tx, locked.id);
    for (const target of wish.candidates) {
      // A host that has not yet cleaned up after it would take its new files for the old ones.
      if (target === wish.source || left.has(target)) continue;
      if (!(await claimRoom(tx, target, await claimOfRow(tx, locked), wish.overcommit))) continue;
      await tx.update(instances).set({ migratingTo: target }).where(eq(instances.id, locked.id));
      return { claim: { ...claimed, target } };
    }
    return { refusal: 'no host can take it: none that is up, enabled and of this zone and kind has room for it' };
  });
}

/** Hosts on which something of it is still to be removed. */
async function hostsStillLeft(tx: Queryable, instanceId: string): Promise<Set<string>> {
  const rows = await unfinishedOperations(tx, instanceId);
  return new Set(rows.filter((row) => row.kind === 'instance.leave').map((row) => (row.owner ?? '').replace(/^compute@/, '')));
}

/** Takes the claim back, and tells which host it was on; nothing if the instance has gone over, or elsewhere. */
export function releaseTarget(db: Db, instance: Pick<Instance, 'id' | 'fence'>, source: string): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    const locked = await lock(tx, instance.id);
    if (locked === undefined || locked.host !== source || locked.fence !== instance.fence || locked.migratingTo === null) return undefined;
    await forgetMigration(tx, locked);
    return locked.migratingTo;
  });
}

/** The instance is not on its way any more: for who takes it off its host by other means. `locked` is its row, locked. */
export async function forgetMigration(tx: Tx, locked: Instance): Promise<void> {
  if (locked.migratingTo === null) return;
  await releaseRoom(tx, locked.migratingTo, await claimOfRow(tx, locked));
  await tx.update(instances).set({ migratingTo: null }).where(eq(instances.id, locked.id));
}

export interface Switch {
  readonly instanceId: string;
  readonly source: string;
  readonly claim: MigrationClaim;
  /** The operation that moves it: it stays its owner's; all other wishes go along with the instance. */
  readonly operationId: string;
  readonly requestId: string;
  readonly deadline: Date;
}

/**
 * Gives the instance over: it lives on the target, the source's room is free, the source is told to clean up, and a guest that was stopped
 * for the move is to start there. True also when that was done before; false: it is not this move's to give.
 */
export function switchHost(db: Db, change: Switch, now: Date): Promise<boolean> {
  const { source, claim: { target, fence } } = change;
  return db.transaction(async (tx) => {
    const locked = await lock(tx, change.instanceId);
    if (locked === undefined) return false;
    if (locked.host === target && locked.fence === fence + 1) return true;
    if (locked.host !== source || locked.fence !== fence || locked.migratingTo !== target) return false;
    await releaseRoom(tx, source, await claimOfRow(tx, locked));
    await tx.update(instances).set({ host: target, fence: fence + 1, migratingTo: null, failedHosts: [], hostLost: false }).where(eq(instances.id, locked.id));
    const wishes = await tx.select({ id: operations.id }).from(operations).where(and(
      eq(operations.resourceId, locked.id), eq(operations.owner, `compute@${source}`), ne(operations.id, change.operationId),
      ne(operations.kind, 'instance.leave'), inArray(operations.state, [...unfinished]),
    )).orderBy(operations.sequence);
    for (const { id } of wishes) await handOperation(tx, id, { owner: `compute@${target}`, error: null }, now);
    const common = { resourceId: locked.id, projectId: locked.projectId, userId: 'novact', requestId: change.requestId, deadline: change.deadline };
    // The move stopped it into `pending`. One that was stopped, and is to start by its user's wish, has that wish among those above.
    if (change.claim.running && locked.state === 'pending') {
      await tx.update(instances).set({ stateDeadline: change.deadline }).where(eq(instances.id, locked.id));
      await insertOperation(tx, { ...common, kind: 'instance.start', owner: `compute@${target}`, input: { moved: true } }, now);
    }
    await insertOperation(tx, { ...common, kind: 'instance.leave', owner: `compute@${source}` }, now);
    await tellOfMovedFloating(tx, { instanceId: locked.id, hosts: [source, target], requestId: change.requestId, now });
    return true;
  });
}

/** A guest that is on its way here, runs here, and that nobody moves any more: its mover gave up without knowing. The row follows it. */
export async function adoptArrived(db: Db, arrived: { instance: Instance; host: string; deadline: Date }, now: Date): Promise<boolean> {
  const { instance, host } = arrived;
  if (instance.host === null || instance.migratingTo !== host || (await isMoving(db, instance.id))) return false;
  const claim = { target: host, fence: instance.fence, running: true };
  return switchHost(db, { instanceId: instance.id, source: instance.host, claim, operationId: '', requestId: newRequestId(), deadline: arrived.deadline }, now);
}

/** Is a move of it unfinished? */
export async function isMoving(db: Queryable, instanceId: string): Promise<boolean> {
  return (await unfinishedOperations(db, instanceId)).some((row) => row.kind === 'instance.migrate');
}

export interface MigrationWish {
  readonly instanceId: string;
  /** The guest goes on running; otherwise it is stopped, and started on the other host. */
  readonly live: boolean;
  /** Undefined: the scheduler's choice. */
  readonly target?: string | undefined;
  readonly userId: string;
  readonly requestId: string;
  readonly deadline: Date;
  /** Who is told when it has ended. */
  readonly replyTo?: DurableReplyTo;
}

/** Writes the wish to move an instance, for its present host. An answer in words when that cannot be wished now. */
export function requestMigration(db: Queryable, wish: MigrationWish, now: Date): Promise<{ operationId: string } | { refusal: string }> {
  return inTransaction(db, async (tx): Promise<{ operationId: string } | { refusal: string }> => {
    const locked = await lock(tx, wish.instanceId);
    if (locked === undefined) return { refusal: `there is no instance ${wish.instanceId}` };
    if (locked.host === null) return { refusal: `${locked.id} is on no host` };
    if (!isMovable(locked)) return { refusal: `${locked.id} is ${locked.state}: only a running or stopped instance is moved` };
    if (locked.host === wish.target) return { refusal: `${locked.id} is on ${locked.host} already` };
    if (await isMoving(tx, locked.id)) return { refusal: `${locked.id} is being moved already` };
    const operationId = await insertOperation(tx, {
      kind: 'instance.migrate', resourceId: locked.id, projectId: locked.projectId, userId: wish.userId, requestId: wish.requestId,
      owner: `compute@${locked.host}`, deadline: wish.deadline,
      input: { live: wish.live && locked.state === 'running', ...(wish.target === undefined ? {} : { target: wish.target }) },
      ...(wish.replyTo === undefined ? {} : { replyTo: wish.replyTo }),
    }, now);
    return { operationId };
  });
}

const isMovable = ({ state }: Instance): boolean => state === 'running' || state === 'stopped';

async function lock(tx: Tx, instanceId: string): Promise<Instance | undefined> {
  const [row] = await tx.select().from(instances).where(eq(instances.id, instanceId)).for('update');
  return row;
}

/** A guest is stopped only to be moved: it is shown as starting, until it has started on the other host. False: its user wants something else. */
export async function pauseForMove(
  db: Queryable, instance: Pick<Instance, 'id' | 'fence'>, change: { reason: string; deadline: Date }, now: Date,
): Promise<boolean> {
  const reason = { stateReasonCode: moveReasonCode, stateReasonMessage: `${moveReasonCode}: ${change.reason}` };
  const rows = await db.update(instances)
    .set({ state: 'pending', ...reason, stateChangedAt: now, stateDeadline: change.deadline })
    .where(and(eq(instances.id, instance.id), eq(instances.fence, instance.fence), inArray(instances.state, ['running', 'pending'])))
    .returning({ id: instances.id });
  return rows.length > 0;
}

const moveReasonCode = 'Server.ScheduledMove';

export interface TargetWish {
  readonly zone: string;
  readonly source: string;
  /** Only this one, if given. */
  readonly target: string | undefined;
  /** Hosts of this hypervisor only, if given. */
  readonly hypervisor: string | undefined;
}

/** Hosts to try, those with the fewest promised cores first. */
export async function targetsOf(db: Queryable, wish: TargetWish): Promise<string[]> {
  const rows = await db.select({ name: hosts.name }).from(hosts).where(and(
    eq(hosts.enabled, true), isNull(hosts.downSince), eq(hosts.zone, wish.zone), ne(hosts.name, wish.source),
    wish.target === undefined ? undefined : eq(hosts.name, wish.target),
    wish.hypervisor === undefined ? undefined : eq(hosts.hypervisor, wish.hypervisor),
  )).orderBy(asc(hosts.claimedCores), asc(hosts.claimedMemoryMiB), asc(hosts.name)).limit(targetsMax);
  return rows.map((row) => row.name);
}

const targetsMax = 100;

/** Is this move going on, from that host to this one? What decides who may have a disk. */
export async function isGoingOver(db: Queryable, move: { instanceId: string; operationId: string; source: string; target: string }): Promise<boolean> {
  const [row] = await db.select({ id: operations.id }).from(operations).innerJoin(instances, eq(instances.id, operations.resourceId)).where(and(
    eq(operations.id, move.operationId), eq(operations.kind, 'instance.migrate'), inArray(operations.state, [...unfinished]),
    eq(instances.id, move.instanceId), eq(instances.host, move.source), eq(instances.migratingTo, move.target),
  ));
  return row !== undefined;
}
