// The queries of durable operations. Whoever performs one holds it by (owner, epoch): a process of an earlier start changes nothing.
import { and, asc, eq, getTableColumns, inArray, lte, Param, sql, type Placeholder, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { newId } from '../lib/ids.ts';
import { announceEnd, announceWork } from '../messages/announcements.ts';
import { builtOnce } from './built-once.ts';
import { inTransaction, type Queryable, type Tx } from './db.ts';
import { insertOutbox } from './outbox.ts';
import { instances } from './schema/instances.ts';
import { mayTake } from './owners.ts';
import { operations, type DurableReplyTo, type OperationState, type StepRecord } from './schema/operations.ts';

export type Operation = typeof operations.$inferSelect;

export interface TakenOperation extends Operation {
  /** The user has ended the resource meanwhile. */
  readonly isEnding: boolean;
}

export const unfinished: readonly OperationState[] = ['waiting', 'running', 'undoing'];

export interface NewOperation {
  readonly kind: string;
  readonly resourceId: string;
  readonly projectId: string;
  readonly userId: string;
  readonly requestId: string;
  readonly input?: Record<string, unknown>;
  /** `compute@host1`, `scheduler`, `objectstore`; null while nobody is known. */
  readonly owner: string | null;
  readonly deadline: Date;
  /** Who is told when it has ended. */
  readonly replyTo?: DurableReplyTo;
}

/** Written in the transaction that changes the resource, with the message that tells the owner. Returns the id. */
export async function insertOperation(db: Queryable, operation: NewOperation, now: Date): Promise<string> {
  const [id] = await insertOperations(db, [operation], now);
  if (id === undefined) throw new Error('no operation was inserted');
  return id;
}

/** Several at once, in this order. */
export async function insertOperations(db: Queryable, wished: readonly NewOperation[], now: Date): Promise<string[]> {
  if (wished.length === 0) return [];
  const rows = wished.map((operation) => (
    { ...operation, id: newId('op'), input: operation.input ?? {}, state: 'waiting' as const, createdAt: now, updatedAt: now }
  ));
  await inTransaction(db, async (tx) => {
    await tx.insert(operations).values(rows);
    await insertOutbox(tx, rows.flatMap(({ owner, ...row }) => (owner === null ? [] : [announceWork({ ...row, owner })])), now);
  });
  return rows.map(({ id }) => id);
}

/** Gives an operation to another owner, from its beginning, and tells that one. In the transaction that gives the resource away. */
export async function handOperation(tx: Tx, id: string, to: { owner: string; error: string | null }, now: Date): Promise<void> {
  await handOperations(tx, [{ id, owner: to.owner }], { error: to.error }, now);
}

/** As `handOperation`, for several to an owner each, in two statements. */
export async function handOperations(tx: Tx, given: readonly { id: string; owner: string }[], to: { error: string | null }, now: Date): Promise<void> {
  if (given.length === 0) return;
  const owners = sql.join(given.map(({ id, owner }) => sql`(${id}, ${owner})`), sql`, `);
  const rows = await tx.update(operations).set({ owner: sql`given.owner`, error: to.error, epoch: 0, state: 'waiting', steps: [], updatedAt: now })
    .from(sql`(values ${owners}) as given(id, owner)`)
    .where(and(eq(operations.id, sql`given.id`), inArray(operations.state, [...unfinished])))
    .returning({ id: operations.id, kind: operations.kind, resourceId: operations.resourceId, requestId: operations.requestId, owner: operations.owner });
  await insertOutbox(tx, rows.flatMap(({ owner, ...row }) => (owner === null ? [] : [announceWork({ ...row, owner })])), now);
}

/** The operations of a resource that are not finished, first things first. */
export function unfinishedOperations(db: Queryable, resourceId: string): Promise<Operation[]> {
  return db.select().from(operations)
    .where(and(eq(operations.resourceId, resourceId), inArray(operations.state, [...unfinished]))).orderBy(asc(operations.sequence));
}

/** Resources for which this owner has unfinished work: what a start and every sweep look for. */
export async function resourcesWithWork(db: Queryable, owner: string): Promise<string[]> {
  const rows = await db.selectDistinct({ resourceId: operations.resourceId }).from(operations)
    .where(and(eq(operations.owner, owner), inArray(operations.state, [...unfinished])));
  return rows.map((row) => row.resourceId);
}

/** Takes an operation for this start of the owner, and writes down the step that it begins with. Undefined: it is finished, or another's. */
export async function takeOperation(
  db: Queryable, take: { id: string; owner: string; epoch: number; firstStep: string | undefined; now: Date },
): Promise<TakenOperation | undefined> {
  const begun: StepRecord[] = take.firstStep === undefined ? [] : [{ name: take.firstStep, state: 'doing' }];
  const isNew = sql`${operations.state} = 'waiting' and jsonb_array_length(${operations.steps}) = 0`;
  const [row] = await db.update(operations)
    .set({
      epoch: take.epoch,
      attempts: sql`${operations.attempts} + 1`,
      state: sql`case when ${operations.state} = 'waiting' then 'running' else ${operations.state} end`,
      steps: sql`case when ${isNew} then ${JSON.stringify(begun)}::jsonb else ${operations.steps} end`,
      updatedAt: take.now,
    })
    .where(and(eq(operations.id, take.id), eq(operations.owner, take.owner), mayTake(db, take), inArray(operations.state, [...unfinished])))
    .returning({ ...getTableColumns(operations), isEnding: resourceEnds(db) });
  return row;
}

/** Keeps what is being worked on from other processes of a shared owner. False: it is lost to one already. */
export async function renewHold(db: Queryable, held: HeldOperation, now: Date): Promise<boolean> {
  const rows = await db.update(operations).set({ updatedAt: now }).where(isHeld(held)).returning({ id: operations.id });
  return rows.length > 0;
}

/** Gives back unfinished what a process of a shared owner took, so that another need not wait until nobody renews it. */
export async function releaseHold(db: Queryable, held: HeldOperation): Promise<void> {
  await db.update(operations).set({ epoch: 0 }).where(isHeld(held));
}

type Given<T> = { readonly [Name in keyof T]: T[Name] | Placeholder };

const isHeld = (held: Given<Pick<HeldOperation, 'id' | 'owner' | 'epoch'>>) =>
  and(eq(operations.id, held.id), eq(operations.owner, held.owner), eq(operations.epoch, held.epoch), inArray(operations.state, [...unfinished]));

/** True when the user has ended the instance that the operation is about. */
const resourceEnds = (db: Queryable) => sql<boolean>`exists (${db.select({ one: sql`1` }).from(instances)
  .where(and(eq(instances.id, operations.resourceId), inArray(instances.state, ['shutting-down', 'terminated'])))})`;

/** `ending`: it is held, but the user has ended the resource meanwhile, so that nothing more is to be made of it. `lost`: this process must not go on. */
export type Hold = 'held' | 'ending' | 'lost';

/** Taken by this process. `replyTo` as it was taken: with null, an end takes no transaction of its own. */
export interface HeldOperation {
  readonly id: string;
  readonly owner: string;
  readonly epoch: number;
  readonly replyTo?: DurableReplyTo | null;
}

export interface Progress {
  readonly state: OperationState;
  /** Without them they stay. */
  readonly steps?: readonly StepRecord[];
  readonly error: string | null;
}

/** Records progress, if this process still holds the operation. */
export async function recordProgress(db: Queryable, held: HeldOperation, { state, steps, error }: Progress, now: Date): Promise<Hold> {
  const { id, owner, epoch } = held;
  const record = async (tx: Queryable): Promise<Hold> => {
    const [row] = await recordingIn(tx).execute({ id, owner, epoch, state, steps: steps === undefined ? null : JSON.stringify(steps), error, now });
    if (row === undefined) return 'lost';
    await tellEnded(tx, [row], now);
    return row.isEnding ? 'ending' : 'held';
  };
  return isEnd(state) && held.replyTo !== null ? inTransaction(db, record) : record(db);
}

/** The statement that every step of every flow runs. */
const recordingIn = builtOnce((db) => {
  const given = (name: string, column: PgColumn) => sql`${new Param(sql.placeholder(name), column)}`;
  return db.update(operations)
    .set({
      state: given('state', operations.state), error: given('error', operations.error), updatedAt: given('now', operations.updatedAt),
      steps: sql`coalesce(${sql.placeholder('steps')}::jsonb, ${operations.steps})`,
    })
    .where(isHeld({ id: sql.placeholder('id'), owner: sql.placeholder('owner'), epoch: sql.placeholder('epoch') }))
    .returning({ ...endingColumns, isEnding: resourceEnds(db) })
    .prepare('recording');
});

const endingColumns = { id: operations.id, state: operations.state, requestId: operations.requestId, replyTo: operations.replyTo };

const isEnd = (state: OperationState | undefined): state is 'done' | 'failed' => state === 'done' || state === 'failed';

/** Whoever asked to be told of an end is, in the transaction that ends. */
async function tellEnded(tx: Queryable, rows: readonly Pick<Operation, keyof typeof endingColumns>[], now: Date): Promise<void> {
  const letters = rows.flatMap(({ replyTo, state, ...row }) => (replyTo !== null && isEnd(state) ? [announceEnd({ ...row, state }, replyTo)] : []));
  await insertOutbox(tx, letters, now);
}

/** The latest operations of a resource, newest first: for `novact explain`. */
export function operationsOf(db: Queryable, resourceId: string, limit: number): Promise<Operation[]> {
  return db.select().from(operations).where(eq(operations.resourceId, resourceId)).orderBy(sql`${operations.sequence} desc`).limit(limit);
}

/** Ends an operation outside a flow, in the transaction that settles its resource, if there is one. */
export function finishOperation(db: Queryable, id: string, ending: { state: 'done' | 'failed'; error?: string }, now: Date): Promise<void> {
  return inTransaction(db, (tx) => endOperations(tx, eq(operations.id, id), ending, now));
}

async function endOperations(tx: Tx, which: SQL, ending: { state: 'done' | 'failed'; error?: string }, now: Date): Promise<void> {
  const rows = await tx.update(operations).set({ state: ending.state, error: ending.error ?? null, updatedAt: now })
    .where(and(which, inArray(operations.state, [...unfinished]))).returning(endingColumns);
  await tellEnded(tx, rows, now);
}

/** Forgets all operations of resources that are gone. Whoever waits for one is told that it failed. */
export async function forgetOperationsOf(tx: Tx, resourceIds: readonly string[], now: Date): Promise<void> {
  const which = inArray(operations.resourceId, [...resourceIds]);
  await endOperations(tx, which, { state: 'failed', error: 'the resource is gone' }, now);
  await tx.delete(operations).where(which);
}

/** Puts a failed operation back to its beginning, for another try by the same owner. */
export async function restartOperation(db: Queryable, held: { id: string; owner: string; epoch: number }, error: string, now: Date): Promise<void> {
  await db.update(operations).set({ state: 'waiting', steps: [], error, updatedAt: now })
    .where(and(eq(operations.id, held.id), eq(operations.owner, held.owner), eq(operations.epoch, held.epoch)));
}

/** Forgets operations that ended before that time: what was done long ago explains nothing. */
export async function purgeEndedOperations(db: Queryable, before: Date): Promise<void> {
  await db.delete(operations).where(and(inArray(operations.state, ['done', 'failed']), lte(operations.updatedAt, before)));
}
