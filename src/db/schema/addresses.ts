// Public addresses that operators give to the cloud, one row an address: who has it, and which instance answers by it.
import { bigint, index, pgTable, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';
import { instances } from './instances.ts';

export const floatingAddresses = pgTable(
  'floating_addresses',
  {
    address: text('address').primaryKey(),
    pool: text('pool').notNull(),
    /** The order of claiming: the address as a number. */
    position: bigint('position', { mode: 'number' }).notNull(),
    /** Null: it is free. */
    projectId: text('project_id').references(() => projects.id),
    allocationId: text('allocation_id').unique(),
    /** As its client asked: addresses of the old kind are let go by being released. */
    domain: text('domain').$type<'vpc' | 'standard'>().notNull().default('vpc'),
    instanceId: text('instance_id').references(() => instances.id, { onDelete: 'set null' }),
    associationId: text('association_id').unique(),
    /** Of a free address: when it was released. Null: it never was anybody's. */
    releasedAt: instant('released_at'),
  },
  (table) => [
    index().on(table.pool, table.projectId, table.position), index().on(table.projectId),
    // An instance answers by one public address.
    uniqueIndex('floating_addresses_one_an_instance').on(table.instanceId),
  ],
);
