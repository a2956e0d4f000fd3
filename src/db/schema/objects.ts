// Buckets and objects: names, sizes and headers. The bytes are blobs of the objectstore driver.
import { bigint, bigserial, index, integer, jsonb, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { binaryText, instant } from './columns.ts';
import { projects } from './identity.ts';

export const buckets = pgTable(
  'buckets',
  {
    name: text('name').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    /** The name of a canned ACL, or explicit grants as JSON, which a release that knows canned ones only takes for private. */
    acl: text('acl').notNull().default('private'),
    createdAt: instant('created_at').notNull(),
    /** Null: never asked for. A bucket that once had versions is suspended at most. */
    versioning: text('versioning').$type<'Enabled' | 'Suspended'>(),
    /** The text of the bucket policy, as it was put. */
    policy: text('policy'),
    /** How objects are encrypted at rest that are put without a word of it. Null: they are not. */
    encryption: text('encryption').$type<'AES256'>(),
  },
  (table) => [index().on(table.projectId)],
);

export type Tags = Record<string, string>;

/** What is set on a bucket and rarely read: its tags, CORS rules and lifecycle rules, each as its own reader understands it. */
export const bucketSettings = pgTable(
  'bucket_settings',
  {
    bucket: text('bucket').notNull().references(() => buckets.name, { onDelete: 'cascade' }),
    kind: text('kind').$type<'tagging' | 'cors' | 'lifecycle'>().notNull(),
    value: jsonb('value').notNull(),
  },
  (table) => [primaryKey({ columns: [table.bucket, table.kind] }), index().on(table.kind)],
);

/** Headers that come back as they were put: lower-case names. */
export type ContentHeaders = Record<string, string>;

/** One part of an object that was uploaded in parts. */
export interface ObjectPart {
  readonly partNumber: number;
  readonly sizeBytes: number;
  readonly checksums: Record<string, string>;
}

/** What an object is, and each of its versions. */
const described = () => ({
  bucket: text('bucket').notNull().references(() => buckets.name),
  key: binaryText('key').notNull(),
  sizeBytes: bigint('size_bytes', { mode: 'number' }).notNull(),
  /** Without quotes. */
  etag: text('etag').notNull(),
  /** content-type, cache-control, content-disposition, content-encoding, content-language, expires. */
  headers: jsonb('headers').$type<ContentHeaders>().notNull(),
  /** Without the `x-amz-meta-` prefix. */
  metadata: jsonb('metadata').$type<Record<string, string>>().notNull(),
  /** Verified checksums: `crc32`, `sha256` … → base64; with `-N` at its end one of the checksums of N parts. */
  checksums: jsonb('checksums').$type<Record<string, string>>().notNull(),
  projectId: text('project_id').notNull(),
  acl: text('acl').notNull().default('private'),
  modifiedAt: instant('modified_at').notNull(),
  tags: jsonb('tags').$type<Tags>().notNull().default({}),
  /** Null: it was put whole. */
  parts: jsonb('parts').$type<ObjectPart[]>(),
});

/** The current version of each key, unless that is a delete marker. */
export const objects = pgTable(
  'objects',
  {
    ...described(),
    blobId: text('blob_id').notNull(),
    /** `null` for what was put while the bucket had no versions. */
    versionId: text('version_id').notNull().default('null'),
  },
  (table) => [primaryKey({ columns: [table.bucket, table.key] }), index().on(table.blobId)],
);

/** Versions that are not current, and delete markers, current or not. */
export const objectVersions = pgTable(
  'object_versions',
  {
    ...described(),
    versionId: text('version_id').notNull(),
    /** Null: a delete marker. */
    blobId: text('blob_id'),
    /** The order of the versions of a key. */
    sequence: bigserial('sequence', { mode: 'number' }).notNull(),
    /** Null: a delete marker that is current. */
    noncurrentSince: instant('noncurrent_since'),
  },
  (table) => [
    primaryKey({ columns: [table.bucket, table.key, table.versionId] }), index().on(table.bucket, table.key, table.sequence), index().on(table.blobId),
  ],
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
    tags: jsonb('tags').$type<Tags>().notNull().default({}),
    /** Which checksum its parts have, and whether the object's will be of the whole or of the parts' checksums. Null: none was asked for. */
    checksumAlgorithm: text('checksum_algorithm'),
    checksumType: text('checksum_type').$type<'COMPOSITE' | 'FULL_OBJECT'>(),
    /** How its parts and the object are encrypted at rest. Null: they are not. */
    encryption: text('encryption').$type<'AES256'>(),
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
    checksums: jsonb('checksums').$type<Record<string, string>>().notNull().default({}),
  },
  (table) => [primaryKey({ columns: [table.uploadId, table.partNumber] }), index().on(table.blobId)],
);

/** What the buckets of a project hold, in projects whose bytes are limited: never less than it is, and now and then counted anew. */
export const projectBytes = pgTable('project_bytes', {
  projectId: text('project_id').primaryKey().references(() => projects.id, { onDelete: 'cascade' }),
  bytesMost: bigint('bytes_most', { mode: 'number' }).notNull(),
  countedAt: instant('counted_at').notNull(),
});

/** Blobs that nothing refers to any more, written in the transaction that let go of them; the sweeper removes them. */
export const blobGarbage = pgTable('blob_garbage', {
  blobId: text('blob_id').primaryKey(),
  since: instant('since').notNull(),
});
