// What every request for an object begins with: its bucket and itself, in one look and of one moment. Nothing of it is kept, so that what another
// process changed a moment ago is seen.
import { and, eq, sql } from 'drizzle-orm';
import type { Bucket } from './buckets.ts';
import { builtOnce } from './built-once.ts';
import type { Queryable } from './db.ts';
import { buckets, objects } from './schema/objects.ts';
import { findVersion, type DeleteMarker, type KeyAddress, type StoredObject } from './versions.ts';

export interface BucketAndObject {
  readonly bucket: Bucket;
  /** Undefined: there is none. */
  readonly object: StoredObject | DeleteMarker | undefined;
}

/** The bucket, and that version of the key, or the current one. Undefined: there is no such bucket. */
export async function findInBucket(db: Queryable, at: KeyAddress, versionId?: string): Promise<BucketAndObject | undefined> {
  const [row] = await currentIn(db).execute({ bucket: at.bucket, key: at.key });
  if (row === undefined) return undefined;
  const { bucket, object } = row;
  const isWanted = object !== null && (versionId === undefined || versionId === object.versionId);
  return { bucket, object: isWanted ? object : await findVersion(db, at, versionId) };
}

const currentIn = builtOnce((db) => db.select({ bucket: buckets, object: objects }).from(buckets)
  .leftJoin(objects, and(eq(objects.bucket, buckets.name), eq(objects.key, sql.placeholder('key'))))
  .where(eq(buckets.name, sql.placeholder('bucket')))
  .prepare('bucket_and_object'));
