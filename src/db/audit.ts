// The audit log: records come in batches, are looked for by operators, and go by age and number. docs/decisions/0026-audit-log.md.
import { and, asc, desc, eq, gte, inArray, lt, lte, max, min, or, sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { auditRecords } from './schema/audit.ts';

export type AuditRow = typeof auditRecords.$inferSelect;
export type AuditKind = AuditRow['kind'];
export type AuditService = AuditRow['service'];
export type AuditOutcome = AuditRow['outcome'];

/** One call, as the edge tells of it. */
export interface AuditRecord extends Omit<AuditRow, 'id'> {
  /** Who it was is proven: by a signature, or the operator's token. */
  readonly isProven: boolean;
}

/** Where the edges of a process leave what they record. */
export interface AuditTrail {
  /** Resolves when it is written, if the caller has to wait for that; otherwise at once. Never rejects: what is lost is counted and logged. */
  record(record: AuditRecord): Promise<void>;
}

const textMax = 256;
const aboutMax = 20;

/** As a database takes it and a terminal may show it, and bounded: control characters and halves of characters are replaced. */
const plain = (text: string): string => (usual.test(text) ? text : cleaned(text));
const usual = /^[ -~]{0,256}$/;
const cleaned = (text: string): string => Buffer.from(text.slice(0, textMax).replaceAll(/\p{Cc}/gu, '\ufffd'), 'utf8').toString('utf8');
const plainOrNull = (text: string | null): string | null => (text === null ? null : plain(text));

/** By the names of the columns. */
const rowOf = ({ at, kind, service, action, outcome, code, status, requestId, userId, userName, accessKeyId, projectId, source, about }: AuditRecord) => ({
  at, kind, service, outcome, status, action: plain(action), code: plainOrNull(code), request_id: plain(requestId), user_id: plainOrNull(userId),
  user_name: plainOrNull(userName), access_key_id: plainOrNull(accessKeyId), project_id: plainOrNull(projectId), source: plain(source),
  about: about.slice(0, aboutMax).map(plain),
});

/** All of them or none, in one statement, whose text is always the same: as one value, for a parameter for each column of each row took ten times as long. */
export async function insertAuditRecords(db: Queryable, records: readonly AuditRecord[]): Promise<void> {
  if (records.length === 0) return;
  await db.execute(sql`
    insert into audit_records
      (at, kind, service, action, outcome, code, status, request_id, user_id, user_name, access_key_id, project_id, source, about)
    select at, kind, service, action, outcome, code, status, request_id, user_id, user_name, access_key_id, project_id, source, about
    from jsonb_to_recordset(${JSON.stringify(records.map(rowOf))}::text::jsonb) as r(
      at timestamptz, kind text, service text, action text, outcome text, code text, status integer, request_id text, user_id text, user_name text,
      access_key_id text, project_id text, source text, about text[])`);
}

export interface AuditQuery {
  /** By name or id. */
  readonly user?: string | undefined;
  readonly projectId?: string | undefined;
  readonly accessKeyId?: string | undefined;
  readonly service?: AuditService | undefined;
  /** Its case is not looked at. */
  readonly action?: string | undefined;
  readonly outcome?: AuditOutcome | undefined;
  readonly code?: string | undefined;
  readonly requestId?: string | undefined;
  readonly source?: string | undefined;
  /** One of `about`. */
  readonly about?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
  /** Only those with a smaller id: the next page. */
  readonly before?: number | undefined;
  readonly limit: number;
}

/** The newest first. */
export function selectAuditRecords(db: Queryable, query: AuditQuery): Promise<AuditRow[]> {
  const table = auditRecords;
  const is = <T>(value: T | undefined, condition: (value: T) => SQL | undefined): SQL | undefined => (value === undefined ? undefined : condition(value));
  const where = and(
    is(query.user, (user) => or(eq(table.userId, user), eq(table.userName, user))),
    is(query.projectId, (id) => eq(table.projectId, id)),
    is(query.accessKeyId, (id) => eq(table.accessKeyId, id)),
    is(query.service, (service) => eq(table.service, service)),
    is(query.action, (action) => sql`lower(${table.action}) = ${action.toLowerCase()}`),
    is(query.outcome, (outcome) => eq(table.outcome, outcome)),
    is(query.code, (code) => eq(table.code, code)),
    is(query.requestId, (id) => eq(table.requestId, id)),
    is(query.source, (source) => eq(table.source, source)),
    is(query.about, (about) => sql`${about}::text = any (${table.about})`),
    is(query.since, (since) => gte(table.at, since)),
    is(query.until, (until) => lt(table.at, until)),
    is(query.before, (id) => lt(table.id, id)),
  );
  return db.select().from(table).where(where).orderBy(desc(table.id)).limit(query.limit);
}

export interface AuditLimits {
  readonly olderThan: Date;
  readonly rowsMax: Readonly<Record<AuditKind, number>>;
  /** Rows of one statement. */
  readonly batch: number;
  /** Statements of one call: what is over then waits for the next one. */
  readonly batchesMax: number;
}

/** Removes what is too old, and the oldest of what is too many. Returns how many rows that were. */
export async function rotateAuditRecords(db: Queryable, { olderThan, rowsMax, batch, batchesMax }: AuditLimits): Promise<number> {
  // By the index of each: what is in its order.
  const over: { readonly where: SQL | undefined; readonly by: PgColumn }[] = [{ where: lt(auditRecords.at, olderThan), by: auditRecords.at }];
  for (const kind of ['control', 'data'] as const) {
    const last = await lastTooMany(db, kind, rowsMax[kind]);
    if (last !== undefined) over.push({ where: and(eq(auditRecords.kind, kind), lte(auditRecords.id, last)), by: auditRecords.id });
  }
  let removed = 0;
  let batches = 0;
  for (const { where, by } of over) {
    for (let isMore = true; isMore && batches < batchesMax; batches += 1) {
      const oldest = db.select({ id: auditRecords.id }).from(auditRecords).where(where).orderBy(asc(by)).limit(batch);
      const gone = await db.delete(auditRecords).where(inArray(auditRecords.id, oldest)).returning({ id: auditRecords.id });
      removed += gone.length;
      isMore = gone.length === batch;
    }
  }
  return removed;
}

/** The newest of those for which there is no room; undefined: there is room for all. Their number is looked at only where it may be too large. */
async function lastTooMany(db: Queryable, kind: AuditKind, rowsMax: number): Promise<number | undefined> {
  const ofKind = eq(auditRecords.kind, kind);
  const [ends] = await db.select({ first: min(auditRecords.id), last: max(auditRecords.id) }).from(auditRecords).where(ofKind);
  if (ends === undefined || ends.first === null || ends.last === null || ends.last - ends.first + 1 <= rowsMax) return undefined;
  const [row] = await db.select({ id: auditRecords.id }).from(auditRecords).where(ofKind).orderBy(desc(auditRecords.id)).offset(rowsMax).limit(1);
  return row?.id;
}
