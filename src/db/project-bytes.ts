// How many bytes the buckets of a project may hold. Only projects that have a limit are counted: a put adds its size to what the project holds at most,
// in one statement, and whatever goes is not taken off. When that would pass the limit, or is old, what there is is counted anew. So the figure is never
// too small, deletions cost nothing, and what an earlier release put beside this one is found at the next count.
import { and, eq, gt, lte, sql } from 'drizzle-orm';
import { unionAll } from 'drizzle-orm/pg-core';
import type { Queryable, Tx } from './db.ts';
import { buckets, multipartParts, multipartUploads, objects, objectVersions, projectBytes } from './schema/objects.ts';

/** As a limit: there is none. */
export const unlimitedBytes = Number.MAX_SAFE_INTEGER;

const countAgainMs = 600_000;

/** All that is stored in a project's buckets: objects, their versions, and parts of uploads that go on. */
export async function bytesUsed(db: Queryable, projectId: string): Promise<number> {
  const own = eq(buckets.projectId, projectId);
  const sumOf = (column: typeof objects.sizeBytes | typeof objectVersions.sizeBytes | typeof multipartParts.sizeBytes) =>
    ({ bytes: sql<number>`coalesce(sum(${column}), 0)::double precision` });
  // In one statement, which sees one moment: a version that stops being current meanwhile is seen once.
  const sums = await unionAll(
    db.select(sumOf(objects.sizeBytes)).from(objects).innerJoin(buckets, eq(buckets.name, objects.bucket)).where(own),
    db.select(sumOf(objectVersions.sizeBytes)).from(objectVersions).innerJoin(buckets, eq(buckets.name, objectVersions.bucket)).where(own),
    db.select(sumOf(multipartParts.sizeBytes)).from(multipartParts).innerJoin(multipartUploads, eq(multipartUploads.id, multipartParts.uploadId))
      .innerJoin(buckets, eq(buckets.name, multipartUploads.bucket)).where(own),
  );
  return sums.reduce((sum, { bytes }) => sum + bytes, 0);
}

export interface MoreBytes {
  /** The bucket's. */
  readonly projectId: string;
  readonly limit: number;
  /** What will be stored, less what is replaced by it. */
  readonly bytes: number;
  readonly now: Date;
}

/** Before it is stored, in the transaction that stores it: others of the project wait until that ends. False: there is no room. */
export async function takeBytes(tx: Tx, { projectId, limit, bytes, now }: MoreBytes): Promise<boolean> {
  if (limit >= unlimitedBytes || bytes <= 0) return true;
  const { bytesMost, countedAt } = projectBytes;
  const its = eq(projectBytes.projectId, projectId);
  const fresh = gt(countedAt, new Date(now.getTime() - countAgainMs));
  const taken = await tx.update(projectBytes).set({ bytesMost: sql`${bytesMost} + ${bytes}` })
    .where(and(its, fresh, lte(bytesMost, limit - bytes))).returning({ projectId: projectBytes.projectId });
  if (taken.length > 0) return true;
  await tx.insert(projectBytes).values({ projectId, bytesMost: 0, countedAt: new Date(0) }).onConflictDoNothing();
  await tx.select({ projectId: projectBytes.projectId }).from(projectBytes).where(its).for('update');
  // What others took meanwhile is committed, and counted with the rest; who waits for the row has not stored yet.
  const most = (await bytesUsed(tx, projectId)) + bytes;
  if (most > limit) return false;
  await tx.update(projectBytes).set({ bytesMost: most, countedAt: now }).where(its);
  return true;
}
