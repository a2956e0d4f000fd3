// Imports of images: what is brought from where, how far it has come, and how it ended. The image is a row of its own from the beginning.
import { bigint, index, jsonb, pgTable, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

/** An object of this cloud, or, for operators, a file on the host of the objectstore. */
export type ImportSource =
  | { readonly kind: 'object'; readonly bucket: string; readonly key: string }
  | { readonly kind: 'file'; readonly path: string };

/** `deleting`: cancelled, and being undone. `deleted`: cancelled or failed. */
export type ImportState = 'active' | 'completed' | 'deleting' | 'deleted';

export const importStages = ['waiting', 'fetching', 'validating', 'converting', 'checking', 'publishing'] as const;

export type ImportStage = (typeof importStages)[number];

export const importTasks = pgTable(
  'import_tasks',
  {
    /** `import-ami-…`. */
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    userId: text('user_id').notNull(),
    imageId: text('image_id').notNull(),
    description: text('description').notNull(),
    source: jsonb('source').$type<ImportSource>().notNull(),
    /** As it was said to be; then as it was found to be. */
    format: text('format').$type<'raw' | 'qcow2' | 'vmdk' | 'vdi' | 'vhd'>(),
    architecture: text('architecture').notNull(),
    platform: text('platform'),
    state: text('state').$type<ImportState>().notNull(),
    stage: text('stage').$type<ImportStage>().notNull(),
    /** Of the present stage. */
    bytesDone: bigint('bytes_done', { mode: 'number' }).notNull().default(0),
    bytesTotal: bigint('bytes_total', { mode: 'number' }).notNull().default(0),
    /** Of the disk, when it is known. */
    virtualSizeBytes: bigint('virtual_size_bytes', { mode: 'number' }),
    /** Why it failed or was cancelled. */
    reason: text('reason'),
    clientToken: text('client_token'),
    requestDigest: text('request_digest').notNull().default(''),
    createdAt: instant('created_at').notNull(),
    /** Of the last sign of life. */
    changedAt: instant('changed_at').notNull(),
  },
  (table) => [
    uniqueIndex('import_tasks_client_token').on(table.projectId, table.clientToken), index().on(table.projectId, table.id), index().on(table.imageId),
    index().on(table.state),
  ],
);
