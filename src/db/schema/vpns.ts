// VPNs into projects: where each has its end point, its authority, and the certificates that it has given out. Keys are sealed; those of
// clients are not kept at all.
import { index, integer, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

export const vpns = pgTable(
  'vpns',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().unique().references(() => projects.id, { onDelete: 'cascade' }),
    host: text('host').notNull(),
    /** At which clients find the host. */
    address: text('address').notNull(),
    port: integer('port').notNull(),
    /** Which of the cloud's tunnels: names the device and the addresses of its clients. */
    number: integer('number').notNull().unique(),
    authority: text('authority').notNull(),
    sealedAuthorityKey: text('sealed_authority_key').notNull(),
    certificate: text('certificate').notNull(),
    sealedKey: text('sealed_key').notNull(),
    sealedControlKey: text('sealed_control_key').notNull(),
    /** The lists of the cloud's authority and of this one. */
    revocations: text('revocations').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [uniqueIndex('vpns_port').on(table.host, table.port)],
);

export const vpnCertificates = pgTable(
  'vpn_certificates',
  {
    vpnId: text('vpn_id').notNull().references(() => vpns.id, { onDelete: 'cascade' }),
    serial: text('serial').notNull(),
    name: text('name').notNull(),
    createdAt: instant('created_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
    revokedAt: instant('revoked_at'),
  },
  (table) => [primaryKey({ columns: [table.vpnId, table.serial] }), index().on(table.vpnId, table.name)],
);
