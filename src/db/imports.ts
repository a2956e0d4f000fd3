// The queries of imports of images: wished by clients and operators, performed by the objectstore.
import { and, asc, eq, gt, inArray, lt, notExists, or, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { publishImage, type ImageFacts } from './image-work.ts';
import { lockProject, nameTaken, type ImageRow } from './images.ts';
import { insertOperation, unfinished, type NewOperation } from './operations.ts';
import { imagesUsed, limitOf } from './quotas.ts';
import { images } from './schema/images.ts';
import { importTasks, type ImportStage } from './schema/imports.ts';
import { operations } from './schema/operations.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';

export type { ImportSource, ImportStage, ImportState } from './schema/imports.ts';

export type ImportTask = typeof importTasks.$inferSelect;

/** Of one project at once, as on AWS. */
const activeMax = 20;

export interface NewImport {
  readonly task: typeof importTasks.$inferInsert;
  readonly row: ImageRow;
  readonly tags: readonly TagText[];
  readonly operation: NewOperation;
  /** Images that a project may have, unless it was given a limit of its own. */
  readonly quota: number;
}

export type ImportInserted =
  | { readonly outcome: 'inserted' | 'mismatch' }
  | { readonly outcome: 'repeated'; readonly task: ImportTask }
  | { readonly outcome: 'duplicate'; readonly usedBy: string }
  | { readonly outcome: 'overQuota'; readonly of: 'images' | 'imports'; readonly limit: number };

/** The task, its image, and the work: all, or nothing. */
export function insertImport(db: Db, { task, row, tags, operation, quota }: NewImport, now: Date): Promise<ImportInserted> {
  return db.transaction(async (tx): Promise<ImportInserted> => {
    await lockProject(tx, row.projectId);
    const earlier = await findByImportToken(tx, task);
    if (earlier !== undefined) return earlier;
    const taken = await nameTaken(tx, row);
    if (taken !== undefined) return { outcome: 'duplicate', usedBy: taken.id };
    const limit = await limitOf(tx, row.projectId, 'images', quota);
    if ((await imagesUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', of: 'images', limit };
    if ((await activeOf(tx, row.projectId)) >= activeMax) return { outcome: 'overQuota', of: 'imports', limit: activeMax };
    await tx.insert(images).values(row);
    await tx.insert(importTasks).values(task);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'import-image-task', resourceIds: [task.id], tags });
    await insertOperation(tx, operation, now);
    return { outcome: 'inserted' };
  });
}

async function activeOf(tx: Tx, projectId: string): Promise<number> {
  const [row] = await tx.select({ count: sql<number>`count(*)::int` }).from(importTasks)
    .where(and(eq(importTasks.projectId, projectId), inArray(importTasks.state, ['active', 'deleting'])));
  return row?.count ?? 0;
}

/** What was begun with the client's token before, if anything was. */
export async function findByImportToken(
  db: Queryable, asked: Pick<typeof importTasks.$inferInsert, 'projectId' | 'clientToken' | 'requestDigest'>,
): Promise<ImportInserted | undefined> {
  if (asked.clientToken === null || asked.clientToken === undefined) return undefined;
  const [task] = await db.select().from(importTasks).where(and(eq(importTasks.projectId, asked.projectId), eq(importTasks.clientToken, asked.clientToken)));
  if (task === undefined) return undefined;
  return task.requestDigest === asked.requestDigest ? { outcome: 'repeated', task } : { outcome: 'mismatch' };
}

/** Of a project, or of all. */
export function importsOf(db: Queryable, projectId?: string): Promise<ImportTask[]> {
  return db.select().from(importTasks).where(projectId === undefined ? undefined : eq(importTasks.projectId, projectId)).orderBy(asc(importTasks.id));
}

export async function loadImport(db: Queryable, id: string): Promise<ImportTask | undefined> {
  const [row] = await db.select().from(importTasks).where(eq(importTasks.id, id));
  return row;
}

export interface ImportProgress {
  readonly stage: ImportStage;
  readonly bytesDone: number;
  readonly bytesTotal: number;
  readonly format?: NonNullable<ImportTask['format']>;
  readonly virtualSizeBytes?: number;
}

/** False: it was cancelled, or has ended. */
export async function noteImport(db: Queryable, id: string, progress: ImportProgress, now: Date): Promise<boolean> {
  const rows = await db.update(importTasks).set({ ...progress, changedAt: now })
    .where(and(eq(importTasks.id, id), eq(importTasks.state, 'active'))).returning({ id: importTasks.id });
  return rows.length > 0;
}

/** Both, or neither. False: it was cancelled, or the image given up. Saying it again with the same facts is true again. */
export function publishImport(db: Db, wish: { readonly taskId: string; readonly imageId: string; readonly facts: ImageFacts }, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const task = and(eq(importTasks.id, wish.taskId), inArray(importTasks.state, ['active', 'completed']));
    const [row] = await tx.select({ id: importTasks.id }).from(importTasks).where(task).for('update');
    if (row === undefined || !(await publishImage(tx, wish.imageId, wish.facts, now))) return false;
    const { sizeBytes } = wish.facts;
    await tx.update(importTasks).set({ state: 'completed', stage: 'publishing', bytesDone: sizeBytes, bytesTotal: sizeBytes, changedAt: now }).where(task);
    return true;
  });
}

/** Undoes the task's part of `publishImport`. */
export async function reopenImport(db: Queryable, id: string, now: Date): Promise<void> {
  await db.update(importTasks).set({ state: 'active', changedAt: now }).where(and(eq(importTasks.id, id), eq(importTasks.state, 'completed')));
}

/** All is undone: the task says why, which of a cancelled one was said by who cancelled it; so does the image, unless it was given up. */
export function failImport(db: Db, { taskId, imageId, reason }: { taskId: string; imageId: string; reason: string }, now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    await tx.update(importTasks).set({ state: 'deleted', reason: sql`coalesce(${importTasks.reason}, ${reason})`, changedAt: now })
      .where(and(eq(importTasks.id, taskId), inArray(importTasks.state, ['active', 'deleting'])));
    await tx.update(images).set({ state: 'failed', stateReasonCode: 'Client.InvalidImage', stateReason: reason, stateChangedAt: now })
      .where(and(eq(images.id, imageId), eq(images.state, 'pending')));
  });
}

/** The image is given up with it. The state that it had; whoever works on it finds out. */
export function cancelImport(db: Db, { id, reason }: { readonly id: string; readonly reason: string }, now: Date): Promise<ImportTask['state'] | undefined> {
  return db.transaction(async (tx) => {
    const [task] = await tx.select().from(importTasks).where(eq(importTasks.id, id)).for('update');
    if (task?.state !== 'active') return task?.state;
    await tx.update(importTasks).set({ state: 'deleting', reason, changedAt: now }).where(eq(importTasks.id, id));
    await tx.update(images).set({ state: 'deregistered', stateChangedAt: now }).where(and(eq(images.id, task.imageId), eq(images.state, 'pending')));
    await deleteTagsOf(tx, task.imageId);
    return task.state;
  });
}

const settlingMs = 10 * 60_000;
/** AWS shows them for that long. */
const keptMs = 7 * 24 * 3_600_000;

/** Imports on which nobody works any more, and those that ended long ago. The ids of the former. */
export function sweepImports(db: Db, now: Date): Promise<string[]> {
  return db.transaction(async (tx) => {
    const longAgo = new Date(now.getTime() - settlingMs);
    const work = tx.select({ one: sql`1` }).from(operations).where(and(
      eq(operations.resourceId, importTasks.imageId), eq(operations.kind, 'image.import'), inArray(operations.state, [...unfinished]),
      gt(operations.deadline, longAgo),
    ));
    const ended = await tx.update(importTasks)
      .set({ state: 'deleted', reason: sql`coalesce(${importTasks.reason}, 'not done within its time')`, changedAt: now })
      .where(and(inArray(importTasks.state, ['active', 'deleting']), lt(importTasks.changedAt, longAgo), notExists(work))).returning({ id: importTasks.id });
    const old = await tx.delete(importTasks)
      .where(and(or(eq(importTasks.state, 'completed'), eq(importTasks.state, 'deleted')), lt(importTasks.changedAt, new Date(now.getTime() - keptMs))))
      .returning({ id: importTasks.id });
    for (const { id } of old) await deleteTagsOf(tx, id);
    return ended.map(({ id }) => id);
  });
}
