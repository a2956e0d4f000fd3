// What every request for an object asks for: its bucket and itself, of one moment.
import type { Bucket } from './buckets.ts';
import type { Queryable } from './db.ts';
import { currentAt, type Current, type Looks } from './looks.ts';
import { findVersion, type DeleteMarker, type KeyAddress, type StoredObject } from './versions.ts';

export interface BucketAndObject {
  readonly bucket: Bucket;
  /** Undefined: there is none. */
  readonly object: StoredObject | DeleteMarker | undefined;
}

/** The bucket, and that version of the key, or the current one. Undefined: there is no such bucket. */
export type FindInBucket = (at: KeyAddress, versionId?: string) => Promise<BucketAndObject | undefined>;

/** For whoever asks for one now and then. */
export async function findInBucket(db: Queryable, at: KeyAddress, versionId?: string): Promise<BucketAndObject | undefined> {
  return inVersion(db, { at, versionId }, await currentAt(db, at));
}

/** For who asks all the time. */
export const finderInBuckets = (db: Queryable, looks: Pick<Looks, 'current'>): FindInBucket =>
  async (at, versionId) => inVersion(db, { at, versionId }, await looks.current(at));

/** Undefined: there is no such bucket. */
export type FindBucket = (name: string) => Promise<Bucket | undefined>;

async function inVersion(
  db: Queryable, { at, versionId }: { at: KeyAddress; versionId: string | undefined }, current: Current | undefined,
): Promise<BucketAndObject | undefined> {
  if (current === undefined) return undefined;
  const { bucket, object } = current;
  const isWanted = object !== undefined && (versionId === undefined || versionId === object.versionId);
  return { bucket, object: isWanted ? object : await findVersion(db, at, versionId) };
}
