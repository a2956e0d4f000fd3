// What the requests of a process begin with: who holds the access key, and what is in the bucket under the key. Nothing of the answers is kept, so that
// what another process changed a moment ago is seen; but whatever many requests ask for at the same time is one statement, of one moment.
import { and, eq, sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { Batches } from '../lib/batches.ts';
import type { Clock } from '../lib/clock.ts';
import { readOnce } from '../lib/read-once.ts';
import { askedTexts, canBeAsked } from './asked-texts.ts';
import type { Bucket } from './buckets.ts';
import { builtOnce } from './built-once.ts';
import type { Db, Queryable } from './db.ts';
import { lockoutSubjectOf } from './lockouts.ts';
import { nameOfKey } from './name-of-key.ts';
import { rowAsJson } from './row-as-json.ts';
import { accessKeys, globalRoles, lockouts, projectMembers, projectRoles, projects, users } from './schema/identity.ts';
import { buckets, objects } from './schema/objects.ts';
import type { KeyAddress, StoredObject } from './versions.ts';

/** An access key, its user, the project that it stands for, what the user is in it, and whether wrong signatures have locked the key. */
export interface KeyHolderRow {
  readonly key: typeof accessKeys.$inferSelect;
  readonly user: typeof users.$inferSelect;
  readonly project: typeof projects.$inferSelect | undefined;
  readonly globalRoles: readonly string[];
  readonly projectRoles: readonly string[];
  readonly isMember: boolean;
  readonly lockedUntil: Date | undefined;
}

/** A bucket with the current object of a key, where there is one. */
export interface Current {
  readonly bucket: Bucket;
  readonly object: StoredObject | undefined;
}

/** Undefined in all of them: there is none. */
export interface Looks {
  keyHolder(accessKeyId: string): Promise<KeyHolderRow | undefined>;
  bucket(name: string): Promise<Bucket | undefined>;
  /** Undefined: there is no such bucket. */
  current(at: KeyAddress): Promise<Current | undefined>;
}

/** Of one handle, and by one clock, the same for all who ask: so the look at a key and that at an object become one. */
export function looksOf({ db, clock }: { readonly db: Db; readonly clock: Clock }): Looks {
  const ofDb = known.get(db) ?? new WeakMap<Clock, Looks>();
  known.set(db, ofDb);
  const looks = ofDb.get(clock) ?? makeLooks(db, clock);
  ofDb.set(clock, looks);
  return looks;
}

const known = new WeakMap<Db, WeakMap<Clock, Looks>>();

function makeLooks(db: Db, clock: Clock): Looks {
  const batches = new Batches<Question, KeyHolderRow | Current>({ clock, nameOf: nameOfQuestion, ask: (questions) => lookAt(db, questions) });
  return {
    keyHolder: (accessKeyId) => batches.find({ accessKeyId }) as Promise<KeyHolderRow | undefined>,
    bucket: async (name) => (await (batches.find({ bucket: name }) as Promise<Current | undefined>))?.bucket,
    current: (at) => batches.find(at) as Promise<Current | undefined>,
  };
}

/** One object, for whoever asks for one now and then. */
export const currentAt = async (db: Queryable, at: KeyAddress): Promise<Current | undefined> =>
  (await lookAt(db, [at])).get(nameOfQuestion(at)) as Current | undefined;

type Question = { readonly accessKeyId: string } | { readonly bucket: string; readonly key?: string };

const nameOfQuestion = (question: Question): string => {
  if ('accessKeyId' in question) return `key ${question.accessKeyId}`;
  return question.key === undefined ? `bucket ${question.bucket}` : `object ${nameOfKey({ bucket: question.bucket, key: question.key })}`;
};

const canBeFound = (question: Question): boolean =>
  ('accessKeyId' in question ? canBeAsked(question.accessKeyId) : canBeAsked(question.bucket) && canBeAsked(question.key ?? ''));

async function lookAt(db: Queryable, questions: readonly Question[]): Promise<ReadonlyMap<string, KeyHolderRow | Current>> {
  const asked = questions.filter(canBeFound);
  const texts = asked.map((question) => ('accessKeyId' in question ? [question.accessKeyId] : [question.bucket, question.key ?? null]));
  const rows = await look(db).execute({ asked: askedTexts(texts) });
  const found = new Map<string, KeyHolderRow | Current>();
  for (const { number, first, second } of rows) {
    const question = asked[number - 1];
    if (question === undefined) continue;
    const object = second === null ? undefined : readObject(second);
    found.set(nameOfQuestion(question), 'accessKeyId' in question ? readHolder(first) : { bucket: readBucket(first), object });
  }
  return found;
}

const bucketRow = rowAsJson<Bucket>(buckets, 'bucket');
const objectRow = rowAsJson<StoredObject>(objects, 'object');
const keyRow = rowAsJson<KeyHolderRow['key']>(accessKeys, 'access_keys');
const userRow = rowAsJson<KeyHolderRow['user']>(users, 'users');
const projectRow = rowAsJson<typeof projects.$inferSelect>(projects, 'projects');

type Values = readonly unknown[];
const readBucket = readOnce((text) => bucketRow.read(JSON.parse(text) as Values));
const readObject = readOnce((text) => objectRow.read(JSON.parse(text) as Values));
const readHolder = readOnce((text): KeyHolderRow => {
  const [key, user, project, ofUser, inProject, isMember, lockedUntil] =
    JSON.parse(text) as [Values, Values, Values | null, string[], string[], boolean, string | null];
  return {
    key: keyRow.read(key), user: userRow.read(user), project: project === null ? undefined : projectRow.read(project), globalRoles: ofUser,
    projectRoles: inProject, isMember, lockedUntil: lockedUntil === null ? undefined : (lockouts.lockedUntil.mapFromDriverValue(lockedUntil) as Date),
  };
});

const rolesOf = (column: PgColumn, where: SQL): SQL => sql`(select coalesce(json_agg(${column} order by ${column}), '[]') from ${column.table} where ${where})`;

const holder = (() => {
  const { id, userId, projectId } = accessKeys;
  const ofUser = sql`${globalRoles.userId} = ${userId}`;
  const inProject = sql`${projectRoles.userId} = ${userId} and ${projectRoles.projectId} = ${projectId}`;
  const isMember = sql`exists (select from ${projectMembers} where ${and(eq(projectMembers.userId, userId), eq(projectMembers.projectId, projectId))})`;
  const project = sql`case when ${projects.id} is not null then ${projectRow.json} end`;
  return {
    json: sql`json_build_array(${keyRow.json}, ${userRow.json}, ${project}, ${rolesOf(globalRoles.role, ofUser)}, ${rolesOf(projectRoles.role, inProject)},
      ${isMember}, ${lockouts.lockedUntil})`,
    from: sql`${accessKeys} join ${users} on ${users.id} = ${userId} left join ${projects} on ${projects.id} = ${projectId}
      left join ${lockouts} on ${lockouts.subject} = ${lockoutSubjectOf('key', id)}`,
  };
})();

/** By the index, each for itself: as a plain join whole tables would be read for a batch, while they are small. A question of one text is for a key. */
const look = builtOnce((db) => db.select({
  number: sql<number>`asked.number::integer`, first: sql<string>`coalesce(holder.found, bucket.found)`, second: sql<string | null>`object.found`,
}).from(sql`json_array_elements(${sql.placeholder('asked')}::text::json) with ordinality as asked (texts, number)
  left join lateral (select ${holder.json}::text as found from ${holder.from}
    where json_array_length(asked.texts) = 1 and ${accessKeys.id} = asked.texts->>0 limit 1) as holder on true
  left join lateral (select ${bucketRow.json}::text as found, bucket.name from ${buckets} as bucket
    where json_array_length(asked.texts) = 2 and bucket.name = asked.texts->>0 limit 1) as bucket on true
  left join lateral (select ${objectRow.json}::text as found from ${objects} as object
    where object.bucket = bucket.name and object.key = asked.texts->>1 limit 1) as object on true`)
  .where(sql`coalesce(holder.found, bucket.found) is not null`)
  .prepare('looks'));
