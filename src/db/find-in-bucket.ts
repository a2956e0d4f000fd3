// What every request for an object begins with: its bucket and itself, in one look and of one moment. Nothing of it is kept, so that what another
// process changed a moment ago is seen; what many ask for at once is one statement.
import { getTableColumns, sql, type Column, type SQL, type Table } from 'drizzle-orm';
import { Batches } from '../lib/batches.ts';
import type { Clock } from '../lib/clock.ts';
import { askedTexts, canBeAsked } from './asked-texts.ts';
import type { Bucket } from './buckets.ts';
import { builtOnce } from './built-once.ts';
import type { Db, Queryable } from './db.ts';
import { nameOfKey } from './name-of-key.ts';
import { buckets, objects } from './schema/objects.ts';
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
  return inVersion(db, { at, versionId }, (await currentIn(db, [at])).get(nameOfKey(at)));
}

/** For who asks all the time. */
export function finderInBuckets({ db, clock }: { readonly db: Db; readonly clock: Clock }): FindInBucket {
  const current = new Batches<KeyAddress, Current>({ clock, nameOf: nameOfKey, ask: (addresses) => currentIn(db, addresses) });
  return async (at, versionId) => inVersion(db, { at, versionId }, await current.find(at));
}

/** Undefined: there is no such bucket. */
export type FindBucket = (name: string) => Promise<Bucket | undefined>;

/** A bucket alone, for who asks all the time: puts do. Of one bucket all who ask at once ask one question. */
export function finderOfBuckets({ db, clock }: { readonly db: Db; readonly clock: Clock }): FindBucket {
  const batches = new Batches<string, Bucket>({ clock, nameOf: (name) => name, ask: (names) => bucketsNamed(db, names) });
  return (name) => batches.find(name);
}

async function bucketsNamed(db: Queryable, names: readonly string[]): Promise<ReadonlyMap<string, Bucket>> {
  const rows = await lookAtBuckets(db).execute({ names: askedTexts(names.filter(canBeAsked)) });
  return new Map(rows.map(({ bucket }) => bucketRow.read(bucket)).map((bucket) => [bucket.name, bucket]));
}

interface Current {
  readonly bucket: Bucket;
  readonly object: StoredObject | undefined;
}

async function inVersion(
  db: Queryable, { at, versionId }: { at: KeyAddress; versionId: string | undefined }, current: Current | undefined,
): Promise<BucketAndObject | undefined> {
  if (current === undefined) return undefined;
  const { bucket, object } = current;
  const isWanted = object !== undefined && (versionId === undefined || versionId === object.versionId);
  return { bucket, object: isWanted ? object : await findVersion(db, at, versionId) };
}

/** The current objects by bucket and key, with their buckets; none where there is no such bucket. */
async function currentIn(db: Queryable, addresses: readonly KeyAddress[]): Promise<ReadonlyMap<string, Current>> {
  const asked = addresses.filter(({ bucket, key }) => canBeAsked(bucket) && canBeAsked(key));
  const rows = await look(db).execute({ asked: askedTexts(asked.map(({ bucket, key }) => [bucket, key])) });
  const read = new Map<string, Bucket>();
  const found = new Map<string, Current>();
  for (const { number, bucket: text, object } of rows) {
    const at = asked[number - 1];
    const bucket = read.get(text) ?? bucketRow.read(text);
    read.set(text, bucket);
    if (at !== undefined) found.set(nameOfKey(at), { bucket, object: object === null ? undefined : objectRow.read(object) });
  }
  return found;
}

/** A whole row as one text: reading 23 columns one by one costs several times as much as one JSON. */
function rowAsText<Row>(table: Table, alias: string): { readonly text: SQL<string>; readonly read: (text: string) => Row } {
  const columns = Object.entries<Column>(getTableColumns(table));
  const name = sql.identifier(alias);
  const values = sql.join(columns.map(([, column]) => sql`${name}.${sql.identifier(column.name)}`), sql`, `);
  return {
    text: sql`json_build_array(${values})::text`,
    read(text) {
      const row: Record<string, unknown> = {};
      (JSON.parse(text) as readonly unknown[]).forEach((value, index) => {
        const [field, column] = columns[index] ?? [];
        if (field !== undefined && column !== undefined) row[field] = value === null ? null : column.mapFromDriverValue(value);
      });
      return row as Row;
    },
  };
}

const bucketRow = rowAsText<Bucket>(buckets, 'bucket');
const objectRow = rowAsText<StoredObject>(objects, 'object');

const lookAtBuckets = builtOnce((db) => db.select({ bucket: bucketRow.text })
  .from(sql`${buckets} as bucket`)
  .where(sql`bucket.name = any(array(select json_array_elements_text(${sql.placeholder('names')}::text::json)))`)
  .prepare('buckets_named'));

/** By the index, each key for itself: as a plain join the whole table would be read for a batch, while it is small. */
const look = builtOnce((db) => db.select({
  number: sql<number>`asked.number::integer`, bucket: bucketRow.text,
  object: sql<string | null>`case when object.blob_id is not null then ${objectRow.text} end`,
}).from(sql`json_array_elements(${sql.placeholder('asked')}::text::json) with ordinality as asked (pair, number)
  join lateral (select * from ${buckets} where ${buckets.name} = asked.pair->>0 limit 1) as bucket on true
  left join lateral (select * from ${objects} where ${objects.bucket} = bucket.name and ${objects.key} = asked.pair->>1 limit 1) as object on true`)
  .prepare('buckets_and_objects'));
