// The queries of lifecycle rules: which buckets have any, and what of a bucket a rule lets expire.
import { and, asc, eq, gt, isNotNull, isNull, lte, notExists, sql, type SQL } from 'drizzle-orm';
import { alias, type PgColumn } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { afterPrefix } from './key-order.ts';
import { bucketSettings, multipartUploads, objects, objectVersions, type Tags } from './schema/objects.ts';

/** As it is kept: what the rule is about, and what becomes of it. */
export interface LifecycleRule {
  readonly id: string;
  readonly isEnabled: boolean;
  readonly prefix: string;
  /** Its prefix was put beside the actions, as clients did before there were filters, and is shown there. */
  readonly isBare?: true;
  readonly tags: Tags;
  readonly sizeAbove?: number;
  readonly sizeBelow?: number;
  readonly days?: number;
  /** A midnight. */
  readonly date?: string;
  /** Delete markers below which nothing is left go too. */
  readonly removesLoneMarkers?: boolean;
  readonly noncurrentDays?: number;
  /** So many of the newest versions that are not current stay. */
  readonly noncurrentKept?: number;
  readonly abortDays?: number;
}

export interface BucketRules {
  readonly bucket: string;
  readonly rules: readonly LifecycleRule[];
}

/** Buckets with rules, in the order of their names, after that one. */
export async function bucketsWithRules(db: Queryable, after: string, limit: number): Promise<BucketRules[]> {
  const rows = await db.select({ bucket: bucketSettings.bucket, value: bucketSettings.value }).from(bucketSettings)
    .where(and(eq(bucketSettings.kind, 'lifecycle'), gt(bucketSettings.bucket, after))).orderBy(asc(bucketSettings.bucket)).limit(limit);
  return rows.map(({ bucket, value }) => ({ bucket, rules: value as LifecycleRule[] }));
}

export interface Expiring {
  readonly key: string;
  readonly versionId: string;
  readonly modifiedAt: Date;
}

interface Columns {
  readonly bucket: PgColumn;
  readonly key: PgColumn;
  readonly sizeBytes: PgColumn;
  readonly tags: PgColumn;
}

function ofRule(columns: Columns, bucket: string, rule: LifecycleRule): SQL[] {
  const end = afterPrefix(rule.prefix);
  return [
    eq(columns.bucket, bucket),
    ...(rule.prefix === '' ? [] : [sql`${columns.key} >= ${rule.prefix}`]),
    ...(rule.prefix === '' || end === undefined ? [] : [sql`${columns.key} < ${end}`]),
    ...(Object.keys(rule.tags).length === 0 ? [] : [sql`${columns.tags} @> ${JSON.stringify(rule.tags)}::jsonb`]),
    ...(rule.sizeAbove === undefined ? [] : [gt(columns.sizeBytes, rule.sizeAbove)]),
    ...(rule.sizeBelow === undefined ? [] : [sql`${columns.sizeBytes} < ${rule.sizeBelow}`]),
  ];
}

/** Current objects that were put before that time. */
export function expiredObjects(db: Queryable, at: { bucket: string; rule: LifecycleRule; before: Date }, limit: number): Promise<Expiring[]> {
  return db.select({ key: objects.key, versionId: objects.versionId, modifiedAt: objects.modifiedAt }).from(objects)
    .where(and(...ofRule(objects, at.bucket, at.rule), lte(objects.modifiedAt, at.before))).orderBy(asc(objects.key)).limit(limit);
}

/** Versions, and delete markers that are not current, that have not been current since before that time, but for the newest few. */
export function expiredVersions(db: Queryable, at: { bucket: string; rule: LifecycleRule; before: Date }, limit: number): Promise<Expiring[]> {
  const kept = at.rule.noncurrentKept ?? 0;
  const newer = alias(objectVersions, 'newer');
  const newerCount = db.select({ count: sql<number>`count(*)` }).from(newer).where(and(
    eq(newer.bucket, objectVersions.bucket), eq(newer.key, objectVersions.key), gt(newer.sequence, objectVersions.sequence), isNotNull(newer.noncurrentSince),
  ));
  return db.select({ key: objectVersions.key, versionId: objectVersions.versionId, modifiedAt: objectVersions.modifiedAt }).from(objectVersions)
    .where(and(
      ...ofRule(objectVersions, at.bucket, at.rule), isNotNull(objectVersions.noncurrentSince), lte(objectVersions.noncurrentSince, at.before),
      kept === 0 ? undefined : sql`(${newerCount}) >= ${kept}`,
    )).orderBy(asc(objectVersions.key)).limit(limit);
}

/** Delete markers that are current and have no version below them. */
export function loneMarkers(db: Queryable, at: { bucket: string; rule: LifecycleRule; before: Date }, limit: number): Promise<Expiring[]> {
  const other = alias(objectVersions, 'other');
  const below = db.select({ one: sql`1` }).from(other).where(and(
    eq(other.bucket, objectVersions.bucket), eq(other.key, objectVersions.key), sql`${other.versionId} <> ${objectVersions.versionId}`,
  ));
  return db.select({ key: objectVersions.key, versionId: objectVersions.versionId, modifiedAt: objectVersions.modifiedAt }).from(objectVersions)
    .where(and(
      ...ofRule(objectVersions, at.bucket, at.rule), isNull(objectVersions.blobId), isNull(objectVersions.noncurrentSince),
      lte(objectVersions.modifiedAt, at.before), notExists(below),
    )).orderBy(asc(objectVersions.key)).limit(limit);
}

/** Uploads of keys with that prefix that were begun before that time. */
export async function expiredUploads(db: Queryable, at: { bucket: string; rule: LifecycleRule; before: Date }, limit: number): Promise<string[]> {
  const end = afterPrefix(at.rule.prefix);
  const rows = await db.select({ id: multipartUploads.id }).from(multipartUploads).where(and(
    eq(multipartUploads.bucket, at.bucket), lte(multipartUploads.initiatedAt, at.before),
    at.rule.prefix === '' ? undefined : sql`${multipartUploads.key} >= ${at.rule.prefix}`,
    at.rule.prefix === '' || end === undefined ? undefined : sql`${multipartUploads.key} < ${end}`,
  )).limit(limit);
  return rows.map((row) => row.id);
}
