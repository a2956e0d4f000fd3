// What was changed through any of the cloud's doors, by whom and from where: written at the edge, read by operators. Nothing refers to it and it
// refers to nothing, so that a record outlives whoever it is of.
import { bigint, index, integer, pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

export const auditRecords = pgTable(
  'audit_records',
  {
    /** Ascends with time, but for records that were written at the same moment. */
    id: bigint('id', { mode: 'number' }).primaryKey().generatedAlwaysAsIdentity(),
    at: instant('at').notNull(),
    /** `control`: of the cloud's resources. `data`: of objects, and whatever strangers tried. Each kind has room of its own. */
    kind: text('kind').$type<'control' | 'data'>().notNull(),
    service: text('service').$type<'ec2' | 'sts' | 'iam' | 'admin' | 's3' | 'manage'>().notNull(),
    action: text('action').notNull(),
    /** As the caller was told: HTTP status below 400, below 500, above. */
    outcome: text('outcome').$type<'done' | 'refused' | 'failed'>().notNull(),
    /** Of the error. */
    code: text('code'),
    /** Of HTTP; none of `novact manage`. */
    status: integer('status'),
    requestId: text('request_id').notNull(),
    userId: text('user_id'),
    userName: text('user_name'),
    accessKeyId: text('access_key_id'),
    projectId: text('project_id'),
    /** An address; of `novact manage`, the host. */
    source: text('source').notNull(),
    /** Ids and names of what it was about. */
    about: text('about').array().notNull(),
  },
  (table) => [index('audit_records_kind').on(table.kind, table.id), index('audit_records_at').on(table.at), index('audit_records_request').on(table.requestId)],
);
