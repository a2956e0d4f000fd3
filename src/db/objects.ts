// The queries of objects. Everything that replaces or removes one hands its old blob to the garbage in the same transaction.
import { and, asc, eq, inArray } from 'drizzle-orm';
import { discardBlobs } from './blobs.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { takeBytes, unlimitedBytes } from './project-bytes.ts';
import { putInOne } from './put-in-one.ts';
import { objects } from './schema/objects.ts';
import { holdBucket, holdKey, makeRoom, nextVersionId, nullVersion, type StoredObject } from './versions.ts';

export type { StoredObject } from './versions.ts';

export async function findObject(db: Queryable, bucket: string, key: string): Promise<StoredObject | undefined> {
  const [row] = await db.select().from(objects).where(and(eq(objects.bucket, bucket), eq(objects.key, key)));
  return row;
}

/** What must hold of the object that a put replaces, and of its project. */
export interface PutCondition {
  /** `If-None-Match: *`. */
  readonly mustBeAbsent?: boolean;
  /** `If-Match`: the quoted etag is compared by the caller's function. */
  readonly mustMatch?: (etag: string) => boolean;
  /** Bytes that a project may store that was given no limit of its own. Undefined: it is not more that is stored. */
  readonly bytesMax?: number;
}

/** Stored, with the id of the version where the bucket has versions. */
export interface Stored {
  readonly versionId: string | undefined;
}

export type PutOutcome = Stored | 'noBucket' | 'conditionFailed' | 'noObject' | 'overQuota';

/** What the caller knows of an object: its version is the bucket's to give. Without tags and parts it has none. */
export type NewObject = Omit<StoredObject, 'versionId' | 'tags' | 'parts'> & Partial<Pick<StoredObject, 'tags' | 'parts'>>;

/** Makes the blob the content of the key, atomically. Unless the outcome is that it is stored, nothing has changed and the blob is the caller's to remove. */
export async function putObject(db: Db, object: NewObject, condition: PutCondition = {}): Promise<PutOutcome> {
  const { mustBeAbsent, mustMatch, bytesMax = unlimitedBytes } = condition;
  const isPlain = mustBeAbsent !== true && mustMatch === undefined && bytesMax >= unlimitedBytes && (object.parts ?? null) === null;
  if (isPlain && (await putInOne(db, { tags: {}, ...object }))) return { versionId: undefined };
  return db.transaction((tx) => putObjectIn(tx, object, condition));
}

/** The same, inside a transaction that does more. */
export async function putObjectIn(tx: Tx, object: NewObject, condition: PutCondition = {}): Promise<PutOutcome> {
  // Sharing the bucket's row keeps it from being deleted; the lock of the key lets one put at a time see what it replaces.
  const bucket = await holdBucket(tx, object.bucket);
  if (bucket === undefined) return 'noBucket';
  await holdKey(tx, object);
  const old = await findObject(tx, object.bucket, object.key);
  if (condition.mustBeAbsent === true && old !== undefined) return 'conditionFailed';
  if (condition.mustMatch !== undefined && old === undefined) return 'noObject';
  if (condition.mustMatch !== undefined && old !== undefined && !condition.mustMatch(old.etag)) return 'conditionFailed';
  const versionId = nextVersionId(bucket.versioning);
  if (condition.bytesMax !== undefined) {
    const bytes = object.sizeBytes - (versionId === undefined ? (old?.sizeBytes ?? 0) : 0);
    const limit = bucket.ownBytesMax ?? condition.bytesMax;
    if (!(await takeBytes(tx, { projectId: bucket.projectId, limit, bytes, now: object.modifiedAt }))) return 'overQuota';
  }
  if (versionId !== undefined) await makeRoom(tx, object, { versionId, now: object.modifiedAt });
  const row: StoredObject = { tags: {}, parts: null, ...object, versionId: versionId ?? nullVersion };
  await tx.insert(objects).values(row).onConflictDoUpdate({ target: [objects.bucket, objects.key], set: row });
  if (versionId === undefined && old !== undefined) await discardBlobs(tx, [old.blobId], object.modifiedAt);
  return { versionId };
}

/** Removes what is there of the given keys; what is not there is no error. False: the bucket has versions, and nothing is removed. */
export function deleteObjects(db: Db, bucket: string, keys: readonly string[], now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const held = await holdBucket(tx, bucket);
    if (held !== undefined && held.versioning !== null) return false;
    const among = (names: readonly string[]) => and(eq(objects.bucket, bucket), inArray(objects.key, [...names]));
    // Locked in one order, so that two requests for the same keys cannot wait for each other; and only what was locked is deleted: a key that
    // was put meanwhile is another's row, to be waited for out of order. Its put comes after this deletion.
    const locked = await tx.select({ key: objects.key }).from(objects).where(among(keys)).orderBy(asc(objects.key)).for('update');
    if (locked.length === 0) return true;
    const rows = await tx.delete(objects).where(among(locked.map((row) => row.key))).returning({ blobId: objects.blobId });
    await discardBlobs(tx, rows.map((row) => row.blobId), now);
    return true;
  });
}
