// The queries of versions. The current version of a key is its row of `objects`; what is not current, and delete markers, are rows of
// `object_versions` in the order in which they stopped being current. Everything here holds the bucket and the key, so that a bucket's
// versioning cannot change meanwhile and one change of a key sees what the other left.
import { randomBytes } from 'node:crypto';
import { and, desc, eq, isNull, sql, type SQL } from 'drizzle-orm';
import { discardBlobs } from './blobs.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { projectQuotas } from './schema/identity.ts';
import { buckets, objects, objectVersions } from './schema/objects.ts';

export type StoredObject = typeof objects.$inferSelect;
export type ObjectVersion = typeof objectVersions.$inferSelect;
export type Versioning = (typeof buckets.$inferSelect)['versioning'];

/** The version of objects that were put while their bucket had no versions. */
export const nullVersion = 'null';

export interface KeyAddress {
  readonly bucket: string;
  readonly key: string;
}

export interface DeleteMarker {
  readonly isDeleteMarker: true;
  readonly versionId: string;
  readonly modifiedAt: Date;
  readonly isLatest: boolean;
}

/** The id of a version that a put or a deletion makes; undefined in a bucket without versions. */
export function nextVersionId(versioning: Versioning): string | undefined {
  if (versioning === null) return undefined;
  return versioning === 'Enabled' ? randomBytes(16).toString('hex') : nullVersion;
}

export const isVersionId = (text: string): boolean => text === nullVersion || /^[0-9a-f]{32}$/.test(text);

const atKey = (at: KeyAddress) => and(eq(objects.bucket, at.bucket), eq(objects.key, at.key));
const versionsOf = (at: KeyAddress) => and(eq(objectVersions.bucket, at.bucket), eq(objectVersions.key, at.key));

export interface HeldBucket {
  readonly versioning: Versioning;
  readonly projectId: string;
  /** The project's own limit of bytes, if it was given one. */
  readonly ownBytesMax: number | null;
}

/** Until the end of the transaction the bucket is neither deleted nor does its versioning change. Undefined: there is none. Comes before every other lock. */
export async function holdBucket(tx: Tx, name: string): Promise<HeldBucket | undefined> {
  const own = tx.select({ limit: projectQuotas.limit }).from(projectQuotas)
    .where(and(eq(projectQuotas.projectId, buckets.projectId), eq(projectQuotas.name, 'bytes')));
  const ownBytesMax = sql<number | null>`(${own})`.mapWith(Number).as('own_bytes_max');
  const [bucket] = await tx.select({ versioning: buckets.versioning, projectId: buckets.projectId, ownBytesMax }).from(buckets)
    .where(eq(buckets.name, name)).for('key share');
  return bucket;
}

/** Of `bucket/key`; held until the end of the transaction. `try`: tells whether it was free, and does not wait. */
export const keyLock = (address: SQL, how: 'wait' | 'try' = 'wait'): SQL =>
  sql`${sql.raw(how === 'try' ? 'pg_try_advisory_xact_lock' : 'pg_advisory_xact_lock')}(hashtextextended(${address}, 0))`;

/** One change of a key at a time. */
export async function holdKey(tx: Tx, at: KeyAddress): Promise<void> {
  await tx.execute(sql`select ${keyLock(sql`${`${at.bucket}/${at.key}`}`)}`);
}

/** That version of the key; the current one when none is named. Undefined: there is none. */
export async function findVersion(db: Queryable, at: KeyAddress, versionId?: string): Promise<StoredObject | DeleteMarker | undefined> {
  const current = await findCurrent(db, at, versionId);
  if (current !== undefined) return current;
  const [other] = await db.select().from(objectVersions)
    .where(and(versionsOf(at), versionId === undefined ? isNull(objectVersions.noncurrentSince) : eq(objectVersions.versionId, versionId)));
  if (other !== undefined) return asFound(other);
  // Between the two looks it may have become the current one.
  return versionId === undefined ? undefined : findCurrent(db, at, versionId);
}

async function findCurrent(db: Queryable, at: KeyAddress, versionId?: string): Promise<StoredObject | undefined> {
  const [current] = await db.select().from(objects).where(and(atKey(at), versionId === undefined ? undefined : eq(objects.versionId, versionId)));
  return current;
}

function asFound(row: ObjectVersion): StoredObject | DeleteMarker {
  const { blobId, sequence: _sequence, noncurrentSince, ...described } = row;
  if (blobId !== null) return { ...described, blobId };
  return { isDeleteMarker: true, versionId: row.versionId, modifiedAt: row.modifiedAt, isLatest: noncurrentSince === null };
}

export const isMarker = (found: StoredObject | DeleteMarker): found is DeleteMarker => 'isDeleteMarker' in found;

/** Before a new current version of the key: the one that is current goes to the versions, and a null version that is replaced goes for good. */
export async function makeRoom(tx: Tx, at: KeyAddress, place: { versionId: string; now: Date }): Promise<void> {
  const { versionId, now } = place;
  const [current] = await tx.select().from(objects).where(atKey(at)).for('update');
  await tx.update(objectVersions).set({ noncurrentSince: now }).where(and(versionsOf(at), isNull(objectVersions.noncurrentSince)));
  if (versionId === nullVersion) {
    const gone = await tx.delete(objectVersions).where(and(versionsOf(at), eq(objectVersions.versionId, nullVersion)))
      .returning({ blobId: objectVersions.blobId });
    await discardBlobs(tx, gone.flatMap((row) => row.blobId ?? []), now);
  }
  if (current === undefined) return;
  await tx.delete(objects).where(atKey(at));
  if (current.versionId === versionId) await discardBlobs(tx, [current.blobId], now);
  else await tx.insert(objectVersions).values({ ...current, noncurrentSince: now });
}

export interface Deletion {
  /** Of what was removed, or of the marker that was made; undefined in a bucket without versions. */
  readonly versionId: string | undefined;
  readonly isDeleteMarker: boolean;
}

/** Deletes that version for good; without one makes a delete marker the current version. What is not there is no error. */
export function deleteVersion(db: Db, at: KeyAddress, wanted: { versionId: string | undefined; projectId: string; now: Date }): Promise<Deletion> {
  return db.transaction(async (tx) => {
    const bucket = await holdBucket(tx, at.bucket);
    if (bucket === undefined) return { versionId: wanted.versionId, isDeleteMarker: false };
    await holdKey(tx, at);
    if (wanted.versionId !== undefined) return removeVersion(tx, at, { versionId: wanted.versionId, now: wanted.now });
    const markerId = nextVersionId(bucket.versioning);
    if (markerId === undefined) return removeVersion(tx, at, { versionId: nullVersion, now: wanted.now });
    await insertMarker(tx, at, { ...wanted, versionId: markerId });
    return { versionId: markerId, isDeleteMarker: true };
  });
}

/** Deletes the current version of a key if it is the one that was found: what was put since is another. False: it is. */
export function expireCurrent(db: Db, at: KeyAddress, found: { modifiedAt: Date; now: Date }): Promise<boolean> {
  return db.transaction(async (tx) => {
    const bucket = await holdBucket(tx, at.bucket);
    if (bucket === undefined) return false;
    await holdKey(tx, at);
    const [current] = await tx.select().from(objects).where(atKey(at));
    if (current?.modifiedAt.getTime() !== found.modifiedAt.getTime()) return false;
    const markerId = nextVersionId(bucket.versioning);
    if (markerId === undefined) await removeVersion(tx, at, { versionId: current.versionId, now: found.now });
    else await insertMarker(tx, at, { versionId: markerId, projectId: current.projectId, now: found.now });
    return true;
  });
}

/** Deletes a version that is not current, or a marker, if it is the one that was found: the null version may be another by now. False: it is. */
export function expireVersion(db: Db, at: KeyAddress, found: { versionId: string; modifiedAt: Date; now: Date }): Promise<boolean> {
  return db.transaction(async (tx) => {
    if ((await holdBucket(tx, at.bucket)) === undefined) return false;
    await holdKey(tx, at);
    const [version] = await tx.select().from(objectVersions).where(and(versionsOf(at), eq(objectVersions.versionId, found.versionId)));
    if (version === undefined || version.modifiedAt.getTime() !== found.modifiedAt.getTime()) return false;
    await removeVersion(tx, at, { versionId: found.versionId, now: found.now });
    return true;
  });
}

async function insertMarker(tx: Tx, at: KeyAddress, marker: { versionId: string; projectId: string; now: Date }): Promise<void> {
  const { versionId, projectId, now } = marker;
  await makeRoom(tx, at, { versionId, now });
  await tx.insert(objectVersions).values({
    ...at, versionId, projectId, blobId: null, sizeBytes: 0, etag: '', headers: {}, metadata: {}, checksums: {}, modifiedAt: now, noncurrentSince: null,
  });
}

async function removeVersion(tx: Tx, at: KeyAddress, wanted: { versionId: string; now: Date }): Promise<Deletion> {
  const { versionId, now } = wanted;
  const [current] = await tx.delete(objects).where(and(atKey(at), eq(objects.versionId, versionId))).returning({ blobId: objects.blobId });
  const [other] = current !== undefined ? [] : await tx.delete(objectVersions)
    .where(and(versionsOf(at), eq(objectVersions.versionId, versionId))).returning({ blobId: objectVersions.blobId, since: objectVersions.noncurrentSince });
  const blobId = current?.blobId ?? other?.blobId ?? undefined;
  if (blobId !== undefined) await discardBlobs(tx, [blobId], now);
  if (current !== undefined || other?.since === null) await promote(tx, at);
  return { versionId, isDeleteMarker: other !== undefined && other.blobId === null };
}

/** The newest of what is left is current again. */
async function promote(tx: Tx, at: KeyAddress): Promise<void> {
  const [newest] = await tx.select().from(objectVersions).where(versionsOf(at)).orderBy(desc(objectVersions.sequence)).limit(1);
  if (newest === undefined) return;
  const { sequence: _sequence, noncurrentSince: _since, blobId, ...described } = newest;
  const that = and(versionsOf(at), eq(objectVersions.versionId, newest.versionId));
  if (blobId === null) {
    await tx.update(objectVersions).set({ noncurrentSince: null }).where(that);
    return;
  }
  await tx.delete(objectVersions).where(that);
  await tx.insert(objects).values({ ...described, blobId });
}

/** Changes what may be changed of a version. False: there is no such object. */
export function describeVersion(
  db: Db, at: KeyAddress & { readonly versionId: string }, changes: Partial<Pick<StoredObject, 'acl' | 'tags'>>,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    await holdKey(tx, at);
    const current = await tx.update(objects).set(changes).where(and(atKey(at), eq(objects.versionId, at.versionId))).returning({ key: objects.key });
    if (current.length > 0) return true;
    const others = await tx.update(objectVersions).set(changes)
      .where(and(versionsOf(at), eq(objectVersions.versionId, at.versionId))).returning({ key: objectVersions.key });
    return others.length > 0;
  });
}
