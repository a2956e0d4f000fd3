// The queries of buckets: who owns which, and when one may go.
import { and, asc, eq, gt, gte, lt, sql } from 'drizzle-orm';
import { builtOnce } from './built-once.ts';
import type { Db, Queryable } from './db.ts';
import { discardBlobs } from './blobs.ts';
import { lockProject } from './images.ts';
import { bucketsUsed, limitOf } from './quotas.ts';
import { buckets, bucketSettings, multipartParts, multipartUploads, objects, objectVersions } from './schema/objects.ts';
import type { Versioning } from './versions.ts';

export type Bucket = typeof buckets.$inferSelect;

export async function findBucket(db: Queryable, name: string): Promise<Bucket | undefined> {
  const [row] = await bucketNamed(db).execute({ name });
  return row;
}

const bucketNamed = builtOnce((db) => db.select().from(buckets).where(eq(buckets.name, sql.placeholder('name'))).prepare('bucket'));

/** Undefined: the name is taken. */
export async function insertBucket(db: Queryable, bucket: typeof buckets.$inferInsert): Promise<Bucket | undefined> {
  const [row] = await db.insert(buckets).values(bucket).onConflictDoNothing().returning();
  return row;
}

/** The same for a project, which may have `quota` unless it was given a limit of its own. Whether the name is taken is looked at first. */
export function createBucketOf(db: Db, bucket: typeof buckets.$inferInsert, quota: number): Promise<'inserted' | 'taken' | 'overQuota'> {
  return db.transaction(async (tx) => {
    await lockProject(tx, bucket.projectId);
    if ((await findBucket(tx, bucket.name)) !== undefined) return 'taken';
    if ((await bucketsUsed(tx, bucket.projectId)) >= (await limitOf(tx, bucket.projectId, 'buckets', quota))) return 'overQuota';
    return (await insertBucket(tx, bucket)) === undefined ? 'taken' : 'inserted';
  });
}

export interface BucketPage {
  /** Undefined: of all projects. */
  readonly projectId: string | undefined;
  readonly prefix: string;
  /** Names after this one. */
  readonly after: string;
  readonly limit: number;
}

/** Names are ASCII, so that the order of bytes is also theirs. */
export function listBuckets(db: Queryable, page: BucketPage): Promise<Bucket[]> {
  const name = sql`${buckets.name} collate "C"`;
  return db.select().from(buckets).where(and(
    page.projectId === undefined ? undefined : eq(buckets.projectId, page.projectId),
    page.prefix === '' ? undefined : and(gte(name, page.prefix), lt(name, `${page.prefix}~`)),
    gt(name, page.after),
  )).orderBy(asc(name)).limit(page.limit);
}

export async function describeBucket(db: Queryable, name: string, changes: Partial<Pick<Bucket, 'acl' | 'policy' | 'encryption'>>): Promise<void> {
  await db.update(buckets).set(changes).where(eq(buckets.name, name));
}

/** Waits for the puts and deletions that are on their way, which go by what they found. False: there is no such bucket. */
export function setVersioning(db: Db, name: string, versioning: NonNullable<Versioning>): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [row] = await tx.select({ name: buckets.name }).from(buckets).where(eq(buckets.name, name)).for('update');
    if (row === undefined) return false;
    await tx.update(buckets).set({ versioning }).where(eq(buckets.name, name));
    return true;
  });
}

export type BucketSettingKind = (typeof bucketSettings.$inferSelect)['kind'];

/** As it was put, which its reader knows. */
export async function findBucketSetting(db: Queryable, bucket: string, kind: BucketSettingKind): Promise<unknown> {
  const [row] = await db.select({ value: bucketSettings.value }).from(bucketSettings)
    .where(and(eq(bucketSettings.bucket, bucket), eq(bucketSettings.kind, kind)));
  return row?.value;
}

export async function putBucketSetting(db: Queryable, bucket: string, kind: BucketSettingKind, value: unknown): Promise<void> {
  await db.insert(bucketSettings).values({ bucket, kind, value }).onConflictDoUpdate({ target: [bucketSettings.bucket, bucketSettings.kind], set: { value } });
}

export async function removeBucketSetting(db: Queryable, bucket: string, kind: BucketSettingKind): Promise<void> {
  await db.delete(bucketSettings).where(and(eq(bucketSettings.bucket, bucket), eq(bucketSettings.kind, kind)));
}

export type BucketDeletion = 'deleted' | 'notFound' | 'notEmpty';

/** Unfinished uploads go with the bucket, as in AWS. The row lock keeps new objects out: their foreign key waits for it. */
export function deleteBucket(db: Db, name: string, now: Date): Promise<BucketDeletion> {
  return db.transaction(async (tx) => {
    const [row] = await tx.select({ name: buckets.name }).from(buckets).where(eq(buckets.name, name)).for('update');
    if (row === undefined) return 'notFound';
    const [object] = await tx.select({ key: objects.key }).from(objects).where(eq(objects.bucket, name)).limit(1);
    const [version] = await tx.select({ key: objectVersions.key }).from(objectVersions).where(eq(objectVersions.bucket, name)).limit(1);
    if (object !== undefined || version !== undefined) return 'notEmpty';
    const parts = await tx.select({ blobId: multipartParts.blobId }).from(multipartParts)
      .innerJoin(multipartUploads, eq(multipartUploads.id, multipartParts.uploadId)).where(eq(multipartUploads.bucket, name));
    await tx.delete(multipartUploads).where(eq(multipartUploads.bucket, name));
    await discardBlobs(tx, parts.map((part) => part.blobId), now);
    await tx.delete(buckets).where(eq(buckets.name, name));
    return 'deleted';
  });
}
