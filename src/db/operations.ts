// The queries of durable operations. Whoever performs one holds it by (owner, epoch): a process of an earlier start changes nothing.
import { and, asc, eq, getTableColumns, inArray, lte, sql } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { instances } from './schema/instances.ts';
import { operations, type OperationState, type StepRecord } from './schema/operations.ts';
import { newId } from '../lib/ids.ts';

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
}

/** Written in the transaction that changes the resource. Returns the id, for the message that follows the commit. */
export async function insertOperation(tx: Queryable, operation: NewOperation, now: Date): Promise<string> {
  const id = newId('op');
  await tx.insert(operations).values({ ...operation, id, input: operation.input ?? {}, state: 'waiting', createdAt: now, updatedAt: now });
  return id;
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
    .where(and(eq(operations.id, take.id), eq(operations.owner, take.owner), lte(operations.epoch, take.epoch), inArray(operations.state, [...unfinished])))
    .returning({ ...getTableColumns(operations), isEnding: resourceEnds(db) });
  return row;
}

/** True when the user has ended the instance that the operation is about. */
const resourceEnds = (db: Queryable) => sql<boolean>`exists (${db.select({ one: sql`1` }).from(instances)
  .where(and(eq(instances.id, operations.resourceId), inArray(instances.state, ['shutting-down', 'terminated'])))})`;

/** `ending`: it is held, but the user has ended the resource meanwhile, so that nothing more is to be made of it. `lost`: this process must not go on. */
export type Hold = 'held' | 'ending' | 'lost';

/** Records progress, if this process still holds the operation. */
export async function recordProgress(
  db: Queryable,
  held: { id: string; owner: string; epoch: number },
  changes: { state?: OperationState; steps?: StepRecord[]; error?: string | null; owner?: string | null },
  now: Date,
): Promise<Hold> {
  const [row] = await db.update(operations).set({ ...changes, updatedAt: now })
    .where(and(eq(operations.id, held.id), eq(operations.owner, held.owner), eq(operations.epoch, held.epoch), inArray(operations.state, [...unfinished])))
    .returning({ isEnding: resourceEnds(db) });
  if (row === undefined) return 'lost';
  return row.isEnding ? 'ending' : 'held';
}

/** The latest operations of a resource, newest first: for `novact explain`. */
export function operationsOf(db: Queryable, resourceId: string, limit: number): Promise<Operation[]> {
  return db.select().from(operations).where(eq(operations.resourceId, resourceId)).orderBy(sql`${operations.sequence} desc`).limit(limit);
}

/** Ends an operation outside a flow, in the transaction that settles its resource. */
export async function finishOperation(tx: Queryable, id: string, ending: { state: 'done' | 'failed'; error?: string }, now: Date): Promise<void> {
  await tx.update(operations).set({ state: ending.state, error: ending.error ?? null, updatedAt: now })
    .where(and(eq(operations.id, id), inArray(operations.state, [...unfinished])));
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
