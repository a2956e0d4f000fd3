// The queries of multipart uploads: parts are blobs of their own until the upload is completed or given up.
import { and, asc, eq, gt, gte, lt, lte, or, type SQL } from 'drizzle-orm';
import { discardBlobs } from './blobs.ts';
import type { Db, Queryable } from './db.ts';
import { afterPrefix, commonPrefix, resumeAfter } from './key-order.ts';
import { putObjectIn, type NewObject, type PutCondition, type PutOutcome } from './objects.ts';
import { takeBytes } from './project-bytes.ts';
import { multipartParts, multipartUploads } from './schema/objects.ts';
import { holdBucket } from './versions.ts';

export type MultipartUpload = typeof multipartUploads.$inferSelect;
export type MultipartPart = typeof multipartParts.$inferSelect;

/** False: the bucket is gone. */
export function insertUpload(db: Db, upload: MultipartUpload): Promise<boolean> {
  return db.transaction(async (tx) => {
    if ((await holdBucket(tx, upload.bucket)) === undefined) return false;
    await tx.insert(multipartUploads).values(upload);
    return true;
  });
}

/** An upload id means something only together with its bucket and key. */
export async function findUpload(db: Queryable, wanted: { id: string; bucket: string; key: string }): Promise<MultipartUpload | undefined> {
  const [row] = await db.select().from(multipartUploads)
    .where(and(eq(multipartUploads.id, wanted.id), eq(multipartUploads.bucket, wanted.bucket), eq(multipartUploads.key, wanted.key)));
  return row;
}

/** Where a part goes. */
export interface PartPlace {
  readonly bucket: string;
  /** As in PutCondition. */
  readonly bytesMax: number;
}

/** Adds the part, or replaces it. Unless it is stored, the upload is gone or the project has no room, and the blob is the caller's to remove. */
export function putPart(db: Db, part: MultipartPart, { bucket, bytesMax }: PartPlace): Promise<'stored' | 'noUpload' | 'overQuota'> {
  return db.transaction(async (tx) => {
    const held = await holdBucket(tx, bucket);
    const [upload] = await tx.select({ id: multipartUploads.id }).from(multipartUploads).where(eq(multipartUploads.id, part.uploadId)).for('update');
    if (held === undefined || upload === undefined) return 'noUpload';
    const more = { projectId: held.projectId, limit: held.ownBytesMax ?? bytesMax, bytes: part.sizeBytes, now: part.modifiedAt };
    if (!(await takeBytes(tx, more))) return 'overQuota';
    const same = and(eq(multipartParts.uploadId, part.uploadId), eq(multipartParts.partNumber, part.partNumber));
    const old = await tx.delete(multipartParts).where(same).returning({ blobId: multipartParts.blobId });
    await tx.insert(multipartParts).values(part);
    await discardBlobs(tx, old.map((row) => row.blobId), part.modifiedAt);
    return 'stored';
  });
}

export function listParts(db: Queryable, uploadId: string, page: { after: number; limit: number }): Promise<MultipartPart[]> {
  return db.select().from(multipartParts).where(and(eq(multipartParts.uploadId, uploadId), gt(multipartParts.partNumber, page.after)))
    .orderBy(asc(multipartParts.partNumber)).limit(page.limit);
}

/** Gives up the upload; its parts become garbage. False: there was none. */
export function abortUpload(db: Db, uploadId: string, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [upload] = await tx.select({ id: multipartUploads.id }).from(multipartUploads).where(eq(multipartUploads.id, uploadId)).for('update');
    if (upload === undefined) return false;
    const parts = await tx.delete(multipartParts).where(eq(multipartParts.uploadId, uploadId)).returning({ blobId: multipartParts.blobId });
    await tx.delete(multipartUploads).where(eq(multipartUploads.id, uploadId));
    await discardBlobs(tx, parts.map((part) => part.blobId), now);
    return true;
  });
}

/** Makes the joined blob the object, whose bytes were taken with its parts, and ends the upload, in one transaction. `noUpload`: somebody else has ended it. */
export function completeUpload(db: Db, uploadId: string, object: NewObject, condition: PutCondition): Promise<PutOutcome | 'noUpload'> {
  return db.transaction(async (tx) => {
    if ((await holdBucket(tx, object.bucket)) === undefined) return 'noBucket';
    const [upload] = await tx.select({ id: multipartUploads.id }).from(multipartUploads).where(eq(multipartUploads.id, uploadId)).for('update');
    if (upload === undefined) return 'noUpload';
    const outcome = await putObjectIn(tx, object, condition);
    if (typeof outcome === 'string') return outcome;
    const parts = await tx.delete(multipartParts).where(eq(multipartParts.uploadId, uploadId)).returning({ blobId: multipartParts.blobId });
    await tx.delete(multipartUploads).where(eq(multipartUploads.id, uploadId));
    // A part of one piece is linked, not moved: the object's blob is always its own.
    await discardBlobs(tx, parts.map((part) => part.blobId), object.modifiedAt);
    return outcome;
  });
}

/** Uploads begun before that time, oldest first. */
export async function staleUploads(db: Queryable, before: Date, limit: number): Promise<string[]> {
  const rows = await db.select({ id: multipartUploads.id }).from(multipartUploads)
    .where(lte(multipartUploads.initiatedAt, before)).orderBy(asc(multipartUploads.initiatedAt)).limit(limit);
  return rows.map((row) => row.id);
}

export interface UploadPageQuery {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  readonly keyMarker: string;
  /** With it, the other uploads of the marked key follow. */
  readonly uploadIdMarker: string;
  readonly limit: number;
}

export interface UploadPage {
  readonly uploads: readonly MultipartUpload[];
  readonly commonPrefixes: readonly string[];
  readonly next: { readonly key: string; readonly uploadId: string } | undefined;
}

/** Uploads in the order of key and id. They are few, so a group behind a common prefix costs one query. */
export async function listUploads(db: Queryable, query: UploadPageQuery): Promise<UploadPage> {
  const uploads: MultipartUpload[] = [];
  const commonPrefixes: string[] = [];
  let last = { key: query.keyMarker, uploadId: query.uploadIdMarker };
  for (;;) {
    const room = query.limit - uploads.length - commonPrefixes.length;
    const rows = await uploadsAfter(db, query, last, room + 1);
    const [first] = rows;
    if (first === undefined || query.limit === 0) return { uploads, commonPrefixes, next: undefined };
    if (room === 0) return { uploads, commonPrefixes, next: last };
    for (const row of rows) {
      if (uploads.length + commonPrefixes.length === query.limit) break;
      const common = commonPrefix(row.key, query.prefix, query.delimiter);
      if (common === undefined) {
        uploads.push(row);
        last = { key: row.key, uploadId: row.id };
      } else {
        commonPrefixes.push(common);
        last = { key: common, uploadId: '' };
        break; // the rest of the rows may lie behind the same prefix
      }
    }
  }
}

function uploadsAfter(db: Queryable, query: UploadPageQuery, last: { key: string; uploadId: string }, limit: number): Promise<MultipartUpload[]> {
  const end = afterPrefix(query.prefix);
  const start = resumeAfter(last.key, query.prefix, query.delimiter);
  if (start === 'end') return Promise.resolve([]);
  const { key, id } = multipartUploads;
  const behind = 'from' in start ? gte(key, start.from) : behindUpload(start.after, last.uploadId);
  return db.select().from(multipartUploads)
    .where(and(eq(multipartUploads.bucket, query.bucket), behind, gte(key, query.prefix), end === undefined ? undefined : lt(key, end)))
    .orderBy(asc(key), asc(id)).limit(limit);
}

function behindUpload(key: string, uploadId: string): SQL | undefined {
  if (uploadId === '') return gt(multipartUploads.key, key);
  return or(gt(multipartUploads.key, key), and(eq(multipartUploads.key, key), gt(multipartUploads.id, uploadId)));
}
