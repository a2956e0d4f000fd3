// The queries of objects. Everything that replaces or removes one hands its old blob to the garbage in the same transaction.
import { and, asc, eq, inArray, sql } from 'drizzle-orm';
import { discardBlobs } from './blobs.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { buckets, objects } from './schema/objects.ts';

export type StoredObject = typeof objects.$inferSelect;

export async function findObject(db: Queryable, bucket: string, key: string): Promise<StoredObject | undefined> {
  const [row] = await db.select().from(objects).where(and(eq(objects.bucket, bucket), eq(objects.key, key)));
  return row;
}

/** What must hold of the object that a put replaces. */
export interface PutCondition {
  /** `If-None-Match: *`. */
  readonly mustBeAbsent?: boolean;
  /** `If-Match`: the quoted etag is compared by the caller's function. */
  readonly mustMatch?: (etag: string) => boolean;
}

export type PutOutcome = 'stored' | 'noBucket' | 'conditionFailed' | 'noObject';

/** Makes the blob the content of the key, atomically. When the outcome is another than `stored`, nothing has changed and the blob is the caller's to remove. */
export function putObject(db: Db, object: StoredObject, condition: PutCondition = {}): Promise<PutOutcome> {
  return db.transaction((tx) => putObjectIn(tx, object, condition));
}

/** The same, inside a transaction that does more. */
export async function putObjectIn(tx: Tx, object: StoredObject, condition: PutCondition = {}): Promise<PutOutcome> {
  // Sharing the bucket's row keeps it from being deleted; the advisory lock lets one put at a time see what it replaces.
  if (!(await holdBucket(tx, object.bucket))) return 'noBucket';
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`${object.bucket}/${object.key}`}, 0))`);
  const old = await findObject(tx, object.bucket, object.key);
  if (condition.mustBeAbsent === true && old !== undefined) return 'conditionFailed';
  if (condition.mustMatch !== undefined && old === undefined) return 'noObject';
  if (condition.mustMatch !== undefined && old !== undefined && !condition.mustMatch(old.etag)) return 'conditionFailed';
  await tx.insert(objects).values(object).onConflictDoUpdate({ target: [objects.bucket, objects.key], set: object });
  if (old !== undefined) await discardBlobs(tx, [old.blobId], object.modifiedAt);
  return 'stored';
}

/** Until the end of the transaction the bucket cannot be deleted. False: there is none. Comes before every other lock. */
export async function holdBucket(tx: Tx, name: string): Promise<boolean> {
  const [bucket] = await tx.select({ name: buckets.name }).from(buckets).where(eq(buckets.name, name)).for('key share');
  return bucket !== undefined;
}

/** Removes what is there of the given keys; what is not there is no error. */
export function deleteObjects(db: Db, bucket: string, keys: readonly string[], now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    const among = (names: readonly string[]) => and(eq(objects.bucket, bucket), inArray(objects.key, [...names]));
    // Locked in one order, so that two requests for the same keys cannot wait for each other; and only what was locked is deleted: a key that
    // was put meanwhile is another's row, to be waited for out of order. Its put comes after this deletion.
    const locked = await tx.select({ key: objects.key }).from(objects).where(among(keys)).orderBy(asc(objects.key)).for('update');
    if (locked.length === 0) return;
    const rows = await tx.delete(objects).where(among(locked.map((row) => row.key))).returning({ blobId: objects.blobId });
    await discardBlobs(tx, rows.map((row) => row.blobId), now);
  });
}

/** False: there is no such object. */
export async function setObjectAcl(db: Queryable, bucket: string, key: string, acl: string): Promise<boolean> {
  const rows = await db.update(objects).set({ acl }).where(and(eq(objects.bucket, bucket), eq(objects.key, key))).returning({ key: objects.key });
  return rows.length > 0;
}
