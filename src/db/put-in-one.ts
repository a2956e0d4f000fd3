// Puts without the transaction of seven statements: what is put at the same time, into buckets without versions, of projects without a limit of bytes,
// is one statement with one commit, whatever was there before. It takes the same locks as `putObjectIn`, but waits for none while it has others: a put
// that would have to wait, or that meets what its statement did not see at its beginning, changes nothing, and the transaction does that work.
import { getTableColumns, sql, type SQL } from 'drizzle-orm';
import { systemClock } from '../lib/clock.ts';
import { builtOnce } from './built-once.ts';
import type { Db } from './db.ts';
import { PutBatches } from './put-batches.ts';
import { projectQuotas } from './schema/identity.ts';
import { blobGarbage, buckets, objects } from './schema/objects.ts';
import { keyLock, nullVersion, type StoredObject } from './versions.ts';

/** One that was put whole. */
export type PlainObject = Omit<StoredObject, 'versionId' | 'parts'>;

/** False: nothing has changed, and it is not for one statement. */
export const putInOne = (db: Db, object: PlainObject): Promise<boolean> => batchesOf(db).put(object);

const batchesOf = builtOnce((db) => new PutBatches<PlainObject>(systemClock, async (batch) => {
  const given = batch.map((object) => rowOf({ ...object, versionId: nullVersion, parts: null }));
  const stored = await putting(db).execute({ given: JSON.stringify(given) });
  return new Set(stored.map(({ blobId }) => blobId));
}));

const columns = Object.entries(getTableColumns(objects))
  .map(([field, column]) => ({ field: field as keyof StoredObject, column, name: sql.identifier(column.name) }));
const listed = (show: (column: (typeof columns)[number]) => SQL): SQL => sql.join(columns.map(show), sql`, `);
const names = listed(({ name }) => sql`${name}`);
const typed = listed(({ column, name }) => sql`${name} ${sql.raw(column.getSQLType())}`);
const changes = listed(({ name }) => sql`${name} = excluded.${name}`);

const rowOf = (object: StoredObject): Readonly<Record<string, unknown>> => Object.fromEntries(columns.map(({ field, column }) => [column.name, object[field]]));

const putting = builtOnce((db) => {
  const step = (name: string, query: SQL) => db.$with(name, {}).as(query);
  const at = (table: SQL) => sql`${table}.bucket = given.bucket and ${table}.key = given.key`;
  return db.with(
    step('given', sql`select * from json_to_recordset(${sql.placeholder('given')}::text::json) as given (${typed})`),
    step('held', sql`select ${buckets.name} from ${buckets} where ${buckets.name} in (select bucket from given) and ${buckets.versioning} is null
      and not exists (select from ${projectQuotas} where ${projectQuotas.projectId} = ${buckets.projectId} and ${projectQuotas.name} = 'bytes')
      for key share skip locked`),
    step('tried', sql`select given.bucket, given.key, given.modified_at, ${keyLock(sql`given.bucket || '/' || given.key`, 'try')} as is_locked
      from given join held on held.name = given.bucket`),
    // Each by the index, for as a join the whole table would be read for a batch while it is small.
    step('old', sql`select given.bucket, given.key, given.modified_at, one.blob_id from tried as given cross join lateral
      (select blob_id from ${objects} where ${at(sql`${objects}`)} limit 1 for update skip locked) as one where given.is_locked`),
    step('stored', sql`insert into ${objects} (${names}) select ${names} from given
      where exists (select from tried where ${at(sql`tried`)} and tried.is_locked)
      and (exists (select from old where ${at(sql`old`)}) or not exists (select from ${objects} where ${at(sql`${objects}`)}))
      on conflict (bucket, key) do update set ${changes}
      where exists (select from old where old.bucket = excluded.bucket and old.key = excluded.key and old.blob_id = ${objects.blobId})
      returning bucket, key, blob_id`),
    step('discarded', sql`insert into ${blobGarbage} (blob_id, since) select old.blob_id, old.modified_at
      from stored join old on old.bucket = stored.bucket and old.key = stored.key where old.blob_id <> stored.blob_id on conflict do nothing`),
  ).select({ blobId: sql<string>`stored.blob_id` }).from(sql`stored`).prepare('put_in_one');
});
