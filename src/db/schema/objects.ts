// Buckets and objects: names, sizes and headers. The bytes are blobs of the objectstore driver.
import { bigint, index, integer, jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { binaryText, instant } from './columns.ts';
import { projects } from './identity.ts';

export const buckets = pgTable(
  'buckets',
  {
    name: text('name').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    acl: text('acl').notNull().default('private'),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [index().on(table.projectId)],
);

/** Headers that come back as they were put: lower-case names. */
export type ContentHeaders = Record<string, string>;

export const objects = pgTable(
  'objects',
  {
    bucket: text('bucket').notNull().references(() => buckets.name),
    key: binaryText('key').notNull(),
    blobId: text('blob_id').notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    /** Without quotes. */
    etag: text('etag').notNull(),
    /** content-type, cache-control, content-disposition, content-encoding, content-language, expires. */
    headers: jsonb('headers').$type<ContentHeaders>().notNull(),
    /** Without the `x-amz-meta-` prefix. */
    metadata: jsonb('metadata').$type<Record<string, string>>().notNull(),
    /** Checksums that the client sent and that were verified: `crc32`, `sha256` … → base64. */
    checksums: jsonb('checksums').$type<Record<string, string>>().notNull(),
    projectId: text('project_id').notNull(),
    acl: text('acl').notNull().default('private'),
    modifiedAt: instant('modified_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.bucket, table.key] }), index().on(table.blobId)],
);

export const multipartUploads = pgTable(
  'multipart_uploads',
  {
    id: text('id').primaryKey(),
    bucket: text('bucket').notNull().references(() => buckets.name),
    key: binaryText('key').notNull(),
    projectId: text('project_id').notNull(),
    headers: jsonb('headers').$type<ContentHeaders>().notNull(),
    metadata: jsonb('metadata').$type<Record<string, string>>().notNull(),
    acl: text('acl').notNull().default('private'),
    initiatedAt: instant('initiated_at').notNull(),
  },
  (table) => [index().on(table.bucket, table.key)],
);

export const multipartParts = pgTable(
  'multipart_parts',
  {
    uploadId: text('upload_id').notNull().references(() => multipartUploads.id, { onDelete: 'cascade' }),
    partNumber: integer('part_number').notNull(),
    blobId: text('blob_id').notNull(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
    md5: text('md5').notNull(),
    modifiedAt: instant('modified_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.uploadId, table.partNumber] }), index().on(table.blobId)],
);

/** Blobs that nothing refers to any more, written in the transaction that let go of them; the sweeper removes them. */
export const blobGarbage = pgTable('blob_garbage', {
  blobId: text('blob_id').primaryKey(),
  since: instant('since').notNull(),
});
