// What draining and evacuating a host reads and writes. Such an operation is the schedulers': whoever looks at it holds its row, so that two of
// them do not do the same twice, and everything it starts is written in the transaction that looked.
import { and, asc, desc, eq, inArray, ne, or, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { claimRoom, releaseRoom, type HostRow, type Overcommit } from './hosts.ts';
import { claimOfRow, type Instance } from './instance-work.ts';
import { forgetMigration } from './migrate-work.ts';
import { insertOperation, unfinished, type Operation } from './operations.ts';
import { candidatePages } from './placement.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';

export const hostKinds = ['host.drain', 'host.evacuate'] as const;
export type HostOperationKind = (typeof hostKinds)[number];

export async function findHost(db: Queryable, name: string): Promise<HostRow | undefined> {
  const [row] = await db.select().from(hosts).where(eq(hosts.name, name));
  return row;
}

/** Instances of a host that are not ended. */
export function inhabitants(db: Queryable, host: string): Promise<Instance[]> {
  return db.select().from(instances).where(and(eq(instances.host, host), ne(instances.state, 'terminated'))).orderBy(asc(instances.id));
}

/** Something lives there, or is on its way there. */
export async function isInhabited(db: Queryable, host: string): Promise<boolean> {
  const [row] = await db.select({ id: instances.id }).from(instances)
    .where(and(or(eq(instances.host, host), eq(instances.migratingTo, host)), ne(instances.state, 'terminated'))).limit(1);
  return row !== undefined;
}

const isUnfinishedHostWork = and(inArray(operations.kind, [...hostKinds]), eq(operations.owner, 'scheduler'), inArray(operations.state, [...unfinished]));

/** The ids of unfinished drains and evacuations, of one host or of all. */
export async function hostWork(db: Queryable, host?: string): Promise<string[]> {
  const rows = await db.select({ id: operations.id }).from(operations)
    .where(and(isUnfinishedHostWork, host === undefined ? undefined : eq(operations.resourceId, host))).orderBy(asc(operations.sequence));
  return rows.map(({ id }) => id);
}

export interface HostWish {
  readonly kind: HostOperationKind;
  readonly host: string;
  readonly input: Record<string, unknown>;
  readonly userId: string;
  readonly requestId: string;
  readonly deadline: Date;
}

/** Writes the wish; a drained host takes nothing new from here on. An answer in words when it cannot be wished. */
export function requestHostWork(db: Db, wish: HostWish, now: Date): Promise<{ operationId: string } | { refusal: string }> {
  return db.transaction(async (tx) => {
    const [host] = await tx.select().from(hosts).where(eq(hosts.name, wish.host)).for('update');
    if (host === undefined) return { refusal: `there is no host ${wish.host}` };
    const [other] = await hostWork(tx, wish.host);
    if (other !== undefined) return { refusal: `host ${wish.host} is being drained or evacuated already (${other})` };
    if (wish.kind === 'host.drain' && host.downSince !== null) return { refusal: `host ${wish.host} is down: its instances cannot be moved, but evacuated` };
    if (wish.kind === 'host.evacuate' && host.downSince === null) return { refusal: `host ${wish.host} is not down: drain it` };
    if (wish.kind === 'host.drain') {
      await tx.update(hosts).set({ enabled: false, disabledReason: `drained by ${wish.userId}` }).where(eq(hosts.name, wish.host));
    }
    const { host: resourceId, ...rest } = wish;
    return { operationId: await insertOperation(tx, { ...rest, resourceId, projectId: '', owner: 'scheduler' }, now) };
  });
}

/** Does `work` with the operation's row held. Nothing happens when it is ended, or another holds it: that one sees what there is to see. */
export function withHostWork(db: Db, id: string, work: (tx: Tx, operation: Operation) => Promise<void>): Promise<void> {
  return db.transaction(async (tx) => {
    const [operation] = await tx.select().from(operations).where(and(eq(operations.id, id), isUnfinishedHostWork)).for('update', { skipLocked: true });
    if (operation !== undefined) await work(tx, operation);
  });
}

/** Notes that it is at work, and what it waits for, in words. */
export async function noteHostWork(tx: Tx, id: string, waitsFor: string | null, now: Date): Promise<void> {
  await tx.update(operations).set({ state: 'running', error: waitsFor, updatedAt: now }).where(eq(operations.id, id));
}

/** The moves of these instances that a drain began, or that go on, newest first. */
export function movesOf(db: Queryable, drainId: string, instanceIds: readonly string[]): Promise<Operation[]> {
  if (instanceIds.length === 0) return Promise.resolve([]);
  return db.select().from(operations).where(and(
    inArray(operations.resourceId, [...instanceIds]), eq(operations.kind, 'instance.migrate'),
    or(eq(sql`${operations.replyTo} ->> 'actor'`, drainId), inArray(operations.state, [...unfinished])),
  )).orderBy(desc(operations.sequence));
}

export interface Evacuation {
  readonly operation: Operation;
  readonly instanceId: string;
  readonly host: string;
  readonly overcommit: Overcommit;
  readonly deadline: Date;
}

async function lockLost(tx: Tx, { instanceId, host }: Evacuation): Promise<Instance | undefined> {
  const [row] = await tx.select().from(instances)
    .where(and(eq(instances.id, instanceId), eq(instances.host, host), eq(instances.state, 'stopped'), eq(instances.hostLost, true))).for('update');
  return row;
}

const wishFor = ({ operation, deadline }: Evacuation, row: Instance) =>
  ({ resourceId: row.id, projectId: row.projectId, userId: operation.userId, requestId: operation.requestId, deadline });

/** A lost instance begins anew somewhere else, as a launch does: same address, a fresh root disk. False: there is no such loss any more. */
export async function rebuildElsewhere(tx: Tx, evacuation: Evacuation, now: Date): Promise<boolean> {
  const row = await lockLost(tx, evacuation);
  if (row === undefined) return false;
  await forgetMigration(tx, row);
  await releaseRoom(tx, evacuation.host, await claimOfRow(tx, row));
  await tx.update(instances).set({
    host: null, fence: row.fence + 1, placements: 0, failedHosts: [evacuation.host], hostLost: false, state: 'pending', stateChangedAt: now,
    stateDeadline: evacuation.deadline, stateReasonCode: null, stateReasonMessage: null,
  }).where(eq(instances.id, row.id));
  await insertOperation(tx, { ...wishFor(evacuation, row), kind: 'instance.run', owner: 'scheduler' }, now);
  return true;
}

/** A lost instance starts on another host, on its own disk, which all hosts share. The name of the host; undefined: none has room, or it is not lost. */
export async function startElsewhere(tx: Tx, evacuation: Evacuation, up: ReadonlySet<string> | undefined, now: Date): Promise<string | undefined> {
  const row = await lockLost(tx, evacuation);
  if (row === undefined) return undefined;
  const room = await claimOfRow(tx, row);
  const { overcommit } = evacuation;
  const wish = { zone: row.zone, room, overcommit, order: 'load' as const, except: [evacuation.host], pageSize: 16 };
  for await (const page of candidatePages(tx, wish)) {
    for (const { name } of page) {
      if (up?.has(name) === false || !(await claimRoom(tx, name, room, overcommit))) continue;
      await forgetMigration(tx, row);
      await releaseRoom(tx, evacuation.host, room);
      await tx.update(instances).set({
        host: name, fence: row.fence + 1, hostLost: false, state: 'pending', stateChangedAt: now, stateDeadline: evacuation.deadline,
        stateReasonCode: null, stateReasonMessage: null,
      }).where(eq(instances.id, row.id));
      await insertOperation(tx, { ...wishFor(evacuation, row), kind: 'instance.start', owner: `compute@${name}` }, now);
      return name;
    }
  }
  return undefined;
}
