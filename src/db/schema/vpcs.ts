// Virtual private clouds as clients know them, and how they lie on networks: a subnet is a network (under flat managers all default subnets are
// the one that projects share), a VPC is what routes between its subnets. Of an instance whose subnet is null, and of a group whose VPC is null,
// the project's default one is meant: rows of a time before there were any stay right. Network interfaces have no rows: an instance has one.
import { sql } from 'drizzle-orm';
import { boolean, index, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';
import { networks } from './networks.ts';

const ofProject = () => text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' });

/** Made for a project on first use. There is one set, which says what the network's DHCP says. */
export const dhcpOptions = pgTable('dhcp_options', {
  id: text('id').primaryKey(), projectId: ofProject().unique(), createdAt: instant('created_at').notNull(),
});

export const vpcs = pgTable(
  'vpcs',
  {
    id: text('id').primaryKey(),
    projectId: ofProject(),
    cidr: text('cidr').notNull(),
    isDefault: boolean('is_default').notNull(),
    /** Whether instances that are reachable from outside are shown with a name for it. */
    enableDnsHostnames: boolean('enable_dns_hostnames').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [index().on(table.projectId), uniqueIndex('vpcs_one_default').on(table.projectId).where(sql`${table.isDefault}`)],
);

const ofVpc = () => text('vpc_id').notNull().references(() => vpcs.id, { onDelete: 'cascade' });

export const subnets = pgTable(
  'subnets',
  {
    id: text('id').primaryKey(),
    projectId: ofProject(),
    vpcId: ofVpc(),
    networkId: text('network_id').notNull().references(() => networks.id, { onDelete: 'cascade' }),
    cidr: text('cidr').notNull(),
    zone: text('zone').notNull(),
    isDefault: boolean('is_default').notNull(),
    /** Whether what is launched into it is shown with its own address as its public one: for networks whose addresses are reached from outside. */
    mapPublicIpOnLaunch: boolean('map_public_ip_on_launch').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [
    index().on(table.projectId), index().on(table.vpcId), index().on(table.networkId),
    uniqueIndex('subnets_one_default').on(table.projectId).where(sql`${table.isDefault}`),
    uniqueIndex('subnets_cidr').on(table.vpcId, table.cidr),
  ],
);

export const internetGateways = pgTable(
  'internet_gateways',
  {
    id: text('id').primaryKey(),
    projectId: ofProject(),
    /** Null: attached to none. A VPC has at most one. */
    vpcId: text('vpc_id').unique().references(() => vpcs.id, { onDelete: 'set null' }),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [index().on(table.projectId)],
);

export const routeTables = pgTable(
  'route_tables',
  { id: text('id').primaryKey(), projectId: ofProject(), vpcId: ofVpc(), createdAt: instant('created_at').notNull() },
  (table) => [index().on(table.projectId), index().on(table.vpcId)],
);

/** Beside the route to the VPC itself, which every table has. */
export const routes = pgTable(
  'routes',
  {
    routeTableId: text('route_table_id').notNull().references(() => routeTables.id, { onDelete: 'cascade' }),
    destination: text('destination').notNull(),
    /** Kept when the gateway is detached or deleted: the route is a black hole then. */
    gatewayId: text('gateway_id').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.routeTableId, table.destination] })],
);

/** Which table a subnet follows; the one without a subnet is the VPC's main one, for all subnets that follow none. */
export const routeTableAssociations = pgTable(
  'route_table_associations',
  {
    id: text('id').primaryKey(),
    vpcId: ofVpc(),
    routeTableId: text('route_table_id').notNull().references(() => routeTables.id, { onDelete: 'cascade' }),
    subnetId: text('subnet_id').unique().references(() => subnets.id, { onDelete: 'cascade' }),
  },
  (table) => [index().on(table.routeTableId), uniqueIndex('route_table_associations_one_main').on(table.vpcId).where(sql`${table.subnetId} is null`)],
);

/** A VPC's default one, which lets all pass and which all its subnets follow. */
export const networkAcls = pgTable(
  'network_acls',
  { id: text('id').primaryKey(), projectId: ofProject(), vpcId: ofVpc().unique(), createdAt: instant('created_at').notNull() },
  (table) => [index().on(table.projectId)],
);
