// The listing of a bucket's versions: keys in their order, and of each key the newest version first. Objects and versions are two ranges
// of two indexes, merged; a page costs what it shows, and one query more for each common prefix in it.
import { and, asc, desc, eq, gt, gte, lt, sql, type SQL } from 'drizzle-orm';
import { unionAll, type PgColumn } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { afterPrefix, commonPrefix, resumeAfter } from './key-order.ts';
import { objects, objectVersions } from './schema/objects.ts';

export interface ListedVersion {
  readonly key: string;
  readonly versionId: string;
  readonly isDeleteMarker: boolean;
  readonly isLatest: boolean;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly modifiedAt: Date;
  readonly projectId: string;
}

export interface VersionPageQuery {
  readonly bucket: string;
  readonly prefix: string;
  readonly delimiter: string;
  readonly keyMarker: string;
  /** With it, the other versions of the marked key follow. */
  readonly versionIdMarker: string;
  readonly limit: number;
}

export interface VersionPage {
  readonly versions: readonly ListedVersion[];
  readonly commonPrefixes: readonly string[];
  readonly next: { readonly key: string; readonly versionId: string } | undefined;
}

/** Where a page begins: behind a key, at a key, or behind one of its versions. */
type Start = { readonly after: string } | { readonly from: string } | { readonly within: string; readonly sequence: number };

/** An object that is current is newer than all versions of its key. */
const newest = Number.MAX_SAFE_INTEGER;

type Row = ListedVersion & { readonly sequence: number };

export async function listVersions(db: Queryable, query: VersionPageQuery): Promise<VersionPage> {
  const versions: ListedVersion[] = [];
  const commonPrefixes: string[] = [];
  let start = await startOf(db, query);
  let last = { key: query.keyMarker, versionId: query.versionIdMarker };
  for (;;) {
    const room = query.limit - versions.length - commonPrefixes.length;
    const rows = start === 'end' || query.limit === 0 ? [] : await rowsFrom(db, query, start, room + 1);
    if (rows.length === 0) return { versions, commonPrefixes, next: undefined };
    for (const row of rows) {
      if (versions.length + commonPrefixes.length === query.limit) return { versions, commonPrefixes, next: last };
      const common = commonPrefix(row.key, query.prefix, query.delimiter);
      if (common === undefined) {
        versions.push(row);
        start = { within: row.key, sequence: row.sequence };
        last = { key: row.key, versionId: row.versionId };
      } else {
        commonPrefixes.push(common);
        start = resumeAfter(common, query.prefix, query.delimiter);
        last = { key: common, versionId: '' };
        break; // the rest of the rows may lie behind the same prefix
      }
    }
  }
}

/** A marked version that is gone, because who lists also deletes, leaves its key to be shown from its newest version on. */
async function startOf(db: Queryable, query: VersionPageQuery): Promise<Start | 'end'> {
  const { bucket, keyMarker: key, versionIdMarker: versionId } = query;
  if (versionId === '') return resumeAfter(key, query.prefix, query.delimiter);
  const [current] = await db.select({ key: objects.key }).from(objects)
    .where(and(eq(objects.bucket, bucket), eq(objects.key, key), eq(objects.versionId, versionId)));
  if (current !== undefined) return { within: key, sequence: newest };
  const [other] = await db.select({ sequence: objectVersions.sequence }).from(objectVersions)
    .where(and(eq(objectVersions.bucket, bucket), eq(objectVersions.key, key), eq(objectVersions.versionId, versionId)));
  return other === undefined ? { from: key } : { within: key, sequence: other.sequence };
}

const described = (table: typeof objects | typeof objectVersions) => ({
  key: sql<string>`${table.key}`, versionId: sql<string>`${table.versionId}`, sizeBytes: sql<number>`${table.sizeBytes}`.mapWith(Number),
  etag: sql<string>`${table.etag}`, modifiedAt: sql<Date>`${table.modifiedAt}`.mapWith(objects.modifiedAt), projectId: sql<string>`${table.projectId}`,
});
const order = (sequence: SQL): SQL<number> => sql<number>`${sequence}`.mapWith(Number);

async function rowsFrom(db: Queryable, query: VersionPageQuery, start: Start, limit: number): Promise<Row[]> {
  const end = afterPrefix(query.prefix);
  const bounds = (bucket: PgColumn, key: PgColumn): SQL[] => [
    eq(bucket, query.bucket),
    ...('from' in start ? [gte(key, start.from)] : 'within' in start ? [gte(key, start.within)] : [gt(key, start.after)]),
    ...(query.prefix === '' ? [] : [gte(key, query.prefix)]), ...(end === undefined ? [] : [lt(key, end)]),
  ];
  // Of the key in which the page begins only what is older than where it begins.
  const within = 'within' in start ? start : undefined;
  const current = db.select({
    ...described(objects), isDeleteMarker: sql<boolean>`false`, isLatest: sql<boolean>`true`, sequence: order(sql`${newest}::bigint`),
  }).from(objects)
    .where(and(...bounds(objects.bucket, objects.key), within === undefined ? undefined : gt(objects.key, within.within)))
    .orderBy(asc(objects.key)).limit(limit);
  const others = db.select({
    ...described(objectVersions), isDeleteMarker: sql<boolean>`${objectVersions.blobId} is null`,
    isLatest: sql<boolean>`${objectVersions.noncurrentSince} is null`, sequence: order(sql`${objectVersions.sequence}`),
  }).from(objectVersions)
    .where(and(...bounds(objectVersions.bucket, objectVersions.key), within === undefined ? undefined
      : sql`(${objectVersions.key} > ${within.within} or ${objectVersions.sequence} < ${within.sequence})`))
    .orderBy(asc(objectVersions.key), desc(objectVersions.sequence)).limit(limit);
  // In one statement, which sees one moment: an object that becomes a version meanwhile is seen once.
  const rows = await unionAll(current, others);
  return rows.toSorted((one, other) => Buffer.compare(Buffer.from(one.key), Buffer.from(other.key)) || other.sequence - one.sequence).slice(0, limit);
}
