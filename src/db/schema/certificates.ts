// The authorities of projects, below the cloud's own, and the certificates that people have of them. Keys of authorities are sealed; those of
// people are not kept at all.
import { index, pgTable, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

export const authorities = pgTable('authorities', {
  projectId: text('project_id').primaryKey().references(() => projects.id, { onDelete: 'cascade' }),
  certificate: text('certificate').notNull(),
  sealedKey: text('sealed_key').notNull(),
  createdAt: instant('created_at').notNull(),
});

export const certificates = pgTable(
  'certificates',
  {
    serial: text('serial').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    /** Whoever is gone had it: users may be kept elsewhere. */
    userId: text('user_id').notNull(),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    revokedAt: instant('revoked_at'),
  },
  (table) => [index().on(table.projectId, table.createdAt), index().on(table.userId)],
);
