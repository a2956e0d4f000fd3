// Networks and their addresses: one row an address, so that claiming one is one statement.
import { sql } from 'drizzle-orm';
import { boolean, index, integer, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

export const networks = pgTable(
  'networks',
  {
    id: text('id').primaryKey(),
    name: text('name').notNull().unique(),
    manager: text('manager').notNull(),
    cidr: text('cidr').notNull(),
    gateway: text('gateway').notNull(),
    bridge: text('bridge').notNull(),
    mtu: integer('mtu').notNull(),
    /** A /64, of which instances make addresses for themselves; null: no IPv6. */
    ipv6Cidr: text('ipv6_cidr'),
    createdAt: instant('created_at').notNull(),
    /** Whose it is; null: it is shared by all projects. */
    projectId: text('project_id').references(() => projects.id, { onDelete: 'cascade' }),
    /** The VPC whose router leads between its networks and to the outside; null: each host is the gateway itself. */
    routerId: text('router_id'),
    /** The VLAN's or the VXLAN's number; null: none. */
    segment: integer('segment'),
    /** Where instances of the project live that were asked for without a subnet. */
    isDefault: boolean('is_default').notNull().default(false),
  },
  (table) => [
    uniqueIndex('networks_segment').on(table.manager, table.segment),
    uniqueIndex('networks_default').on(table.projectId).where(sql`${table.isDefault}`),
    index().on(table.projectId), index().on(table.routerId),
  ],
);

export const fixedAddresses = pgTable(
  'fixed_addresses',
  {
    networkId: text('network_id').notNull().references(() => networks.id, { onDelete: 'cascade' }),
    address: text('address').notNull(),
    /** The order of claiming: the address as a number, so that low ones are used first. */
    position: integer('position').notNull(),
    reserved: boolean('reserved').notNull().default(false),
    instanceId: text('instance_id'),
    /** Of an address that nobody has: when it was freed. Null: it was never claimed. */
    claimedAt: instant('claimed_at'),
  },
  (table) => [
    primaryKey({ columns: [table.networkId, table.address] }),
    index().on(table.networkId, table.position),
    // What claims look through: without it they would pass by all that is claimed already.
    index('fixed_addresses_free').on(table.networkId, table.position).where(sql`${table.instanceId} is null and not ${table.reserved}`),
    index().on(table.instanceId),
    // Two claims for one instance at the same moment must not give it two addresses.
    uniqueIndex('fixed_addresses_one_an_instance').on(table.networkId, table.instanceId),
  ],
);
