// Listings of a bucket in O(page): a range of the primary key without a delimiter; with one, a walk that takes one step of the
// index for each key or common prefix shown, however many keys lie behind a prefix.
import { and, asc, eq, gt, gte, lt, sql, type SQL } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { afterPrefix, resumeAfter } from './key-order.ts';
import { objects } from './schema/objects.ts';

export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly modifiedAt: Date;
  readonly projectId: string;
}

export interface ObjectPageQuery {
  readonly bucket: string;
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  /** The last key or common prefix of the page before. */
  readonly marker: string;
  /** Keys and common prefixes together. */
  readonly limit: number;
}

export interface ObjectPage {
  readonly objects: readonly ListedObject[];
  readonly commonPrefixes: readonly string[];
  /** The marker of the next page; undefined: this is the last. */
  readonly next: string | undefined;
}

const listedColumns = {
  key: objects.key,
  sizeBytes: objects.sizeBytes,
  etag: objects.etag,
  modifiedAt: objects.modifiedAt,
  projectId: objects.projectId,
};

type Entry = ListedObject & { readonly common: string | null };

export async function listObjects(db: Queryable, query: ObjectPageQuery): Promise<ObjectPage> {
  const start = resumeAfter(query.marker, query.prefix, query.delimiter);
  if (query.limit === 0 || start === 'end') return { objects: [], commonPrefixes: [], next: undefined };
  const bounds = [
    eq(objects.bucket, query.bucket),
    'from' in start ? gte(objects.key, start.from) : gt(objects.key, start.after),
    ...withinPrefix(query.prefix),
  ];
  const entries = query.delimiter === '' ? await scan(db, bounds, query.limit + 1) : await walk(db, bounds, query);
  const shown = entries.slice(0, query.limit);
  const last = shown.at(-1);
  return {
    objects: shown.filter((entry) => entry.common === null),
    commonPrefixes: shown.flatMap((entry) => entry.common ?? []),
    next: entries.length > shown.length ? (last?.common ?? last?.key) : undefined,
  };
}

function withinPrefix(prefix: string): SQL[] {
  const end = afterPrefix(prefix);
  return [...(prefix === '' ? [] : [gte(objects.key, prefix)]), ...(end === undefined ? [] : [lt(objects.key, end)])];
}

async function scan(db: Queryable, bounds: readonly SQL[], limit: number): Promise<Entry[]> {
  const rows = await db.select(listedColumns).from(objects).where(and(...bounds)).orderBy(asc(objects.key)).limit(limit);
  return rows.map((row) => ({ ...row, common: null }));
}

/** Each step finds the first key behind the last key, or behind all keys of the last common prefix. */
async function walk(db: Queryable, bounds: readonly SQL[], query: ObjectPageQuery): Promise<Entry[]> {
  const { bucket, delimiter, limit } = query;
  const prefixEnd = afterPrefix(query.prefix);
  const prefixLength = Array.from(query.prefix).length;
  const rest = sql`substr(${objects.key}, ${prefixLength + 1}::int)`;
  const at = sql`strpos(${rest}, ${delimiter}::text)`;
  const common = sql`case when ${at} > 0 then left(${objects.key}, ${prefixLength}::int + ${at} - 1 + char_length(${delimiter}::text)) end`;
  // Behind `a/` comes `a0`: the prefix with its delimiter replaced by what is just above it.
  const above = sql`(left(walk.common, char_length(walk.common) - char_length(${delimiter}::text)) || ${afterPrefix(delimiter) ?? ''}::text)`;
  const nextFrom = sql`(case when walk.common is null then walk.key || chr(1) else ${above} end) collate "C"`;
  const steps = sql`(
    with recursive walk(key, common, step) as (
      (select ${objects.key}, (${common}) collate "C", 1 from ${objects} where ${and(...bounds)} order by ${objects.key} limit 1)
      union all
      select next.key, next.common, walk.step + 1 from walk cross join lateral (
        select ${objects.key} as key, (${common}) collate "C" as common from ${objects}
        where ${objects.bucket} = ${bucket} and ${objects.key} >= ${nextFrom}
          ${prefixEnd === undefined ? sql`` : sql`and ${objects.key} < ${prefixEnd}`}
        order by ${objects.key} limit 1
      ) next where walk.step <= ${limit}::int
    ) select key, common from walk
  ) as walked`;
  return db.select({ ...listedColumns, common: sql<string | null>`walked.common` }).from(steps)
    .innerJoin(objects, and(eq(objects.bucket, bucket), sql`${objects.key} = walked.key`)).orderBy(asc(objects.key));
}
