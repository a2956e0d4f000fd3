// What members of a project sign the manifests of their bundles with. Only certificates: their keys are the members' own.
import { pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

export const signingCertificates = pgTable(
  'signing_certificates',
  {
    /** SHA-1 of the certificate, in hexadecimal, as tools show it. */
    id: text('id').notNull(),
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    userId: text('user_id').notNull(),
    /** PEM. */
    certificate: text('certificate').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.id] })],
);
