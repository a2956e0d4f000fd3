// A put as one statement, which is a fifth of what a transaction of seven costs: into a bucket without versions, of a project without a limit of
// bytes, whatever was there before. It takes the same locks in the same order as `putObjectIn`. A statement sees what was there when it began: when
// it had to wait for another put of a new key, it changes nothing and says so, and the transaction does the work.
import { getTableColumns, Param, sql, type SQL } from 'drizzle-orm';
import { builtOnce } from './built-once.ts';
import type { Queryable } from './db.ts';
import { projectQuotas } from './schema/identity.ts';
import { blobGarbage, buckets, objects } from './schema/objects.ts';
import { keyLock, nullVersion, type StoredObject } from './versions.ts';

/** One that was put whole. */
export type PlainObject = Omit<StoredObject, 'versionId' | 'parts'>;

/** False: nothing has changed, and it is not for one statement. */
export async function putInOne(db: Queryable, object: PlainObject): Promise<boolean> {
  const [told] = await putting(db).execute({ ...object, versionId: nullVersion });
  return told?.isStored === true;
}

const columns = Object.entries(getTableColumns(objects)).map(([field, column]) => ({ field, column, name: sql.identifier(column.name) }));
const listed = (show: (column: (typeof columns)[number]) => SQL): SQL => sql.join(columns.map(show), sql`, `);
const names = listed(({ name }) => sql`${name}`);
const givenNames = listed(({ name }) => sql`given.${name}`);
const changes = listed(({ name }) => sql`${name} = given.${name}`);
const given = listed(({ field, column, name }) => {
  const value = column === objects.parts ? sql`null` : sql`${new Param(sql.placeholder(field), column)}`;
  return sql`${value}::${sql.raw(column.getSQLType())} as ${name}`;
});

const putting = builtOnce((db) => {
  const step = (name: string, query: SQL) => db.$with(name, {}).as(query);
  const isGiven = sql`${objects.bucket} = given.bucket and ${objects.key} = given.key`;
  return db.with(
    step('given', sql`select ${given}`),
    step('held', sql`select ${buckets.name} from ${buckets} where ${buckets.name} = (select bucket from given) and ${buckets.versioning} is null
      and not exists (select from ${projectQuotas} where ${projectQuotas.projectId} = ${buckets.projectId} and ${projectQuotas.name} = 'bytes')
      for key share`),
    step('locked', sql`select ${keyLock(sql`given.bucket || '/' || given.key`)} from held, given`),
    step('old', sql`select ${objects.blobId} from locked, given, ${objects} where ${isGiven} for update of ${objects}`),
    step('changed', sql`update ${objects} set ${changes} from given, old where ${isGiven} returning old.blob_id`),
    step('made', sql`insert into ${objects} (${names}) select ${givenNames} from given, locked where not exists (select from changed)
      on conflict do nothing returning 1`),
    step('discarded', sql`insert into ${blobGarbage} (blob_id, since) select changed.blob_id, given.modified_at from changed, given on conflict do nothing`),
  ).select({ isStored: sql<boolean>`exists (select from changed) or exists (select from made)` }).from(sql`(select) as one`).prepare('put_in_one');
});
