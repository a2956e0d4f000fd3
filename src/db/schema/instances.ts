// Reservations, instances and what they are made from.
import { sql } from 'drizzle-orm';
import { boolean, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';
import { networks } from './networks.ts';
import { subnets, vpcs } from './vpcs.ts';

/** AWS's states. */
export type InstanceState = 'pending' | 'running' | 'shutting-down' | 'terminated' | 'stopping' | 'stopped';

export const instanceTypes = pgTable('instance_types', {
  name: text('name').primaryKey(),
  cores: integer('cores').notNull(),
  memoryMiB: integer('memory_mib').notNull(),
  /** Size of the root disk; 0: as large as the image. */
  rootGiB: integer('root_gib').notNull(),
  sortOrder: integer('sort_order').notNull(),
});

export const reservations = pgTable(
  'reservations',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    userId: text('user_id').notNull(),
    /** Unique in the project: the second RunInstances with it gets the first one's answer. */
    clientToken: text('client_token'),
    /** A digest of the request's parameters: the same token with others is IdempotentParameterMismatch. */
    requestDigest: text('request_digest').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [uniqueIndex('reservations_client_token').on(table.projectId, table.clientToken)],
);

export const instances = pgTable(
  'instances',
  {
    id: text('id').primaryKey(),
    reservationId: text('reservation_id').notNull().references(() => reservations.id, { onDelete: 'cascade' }),
    projectId: text('project_id').notNull().references(() => projects.id),
    userId: text('user_id').notNull(),
    launchIndex: integer('launch_index').notNull(),
    imageId: text('image_id').notNull(),
    kernelId: text('kernel_id'),
    ramdiskId: text('ramdisk_id'),
    instanceType: text('instance_type').notNull(),
    cores: integer('cores').notNull(),
    memoryMiB: integer('memory_mib').notNull(),
    /** 0: as large as the image. */
    rootGiB: integer('root_gib').notNull(),
    architecture: text('architecture').notNull(),
    rootDeviceName: text('root_device_name').notNull(),
    /** Its root disk is the volume attached at its root device, and not a disk of its own. */
    bootsFromVolume: boolean('boots_from_volume').notNull().default(false),
    keyName: text('key_name'),
    /** One OpenSSH line, copied at launch: deleting the key pair does not change running guests. */
    publicKey: text('public_key'),
    /** Base64, as the client sent it. */
    userData: text('user_data'),
    disableApiTermination: boolean('disable_api_termination').notNull().default(false),
    shutdownBehavior: text('shutdown_behavior').$type<'stop' | 'terminate'>().notNull().default('stop'),
    /** Whether its metadata are told at all, and whether only to those who bring a session's token. */
    metadataEndpoint: text('metadata_endpoint').$type<'enabled' | 'disabled'>().notNull().default('enabled'),
    metadataTokens: text('metadata_tokens').$type<'optional' | 'required'>().notNull().default('optional'),
    state: text('state').$type<InstanceState>().notNull(),
    /** `Client.UserInitiatedShutdown`, `Server.InsufficientInstanceCapacity` …; null while there is nothing to say. */
    stateReasonCode: text('state_reason_code'),
    stateReasonMessage: text('state_reason_message'),
    stateChangedAt: instant('state_changed_at').notNull(),
    /** A transitional state past this is resolved by the sweeper. Null in lasting states. */
    stateDeadline: instant('state_deadline'),
    /** `nova`, or what the client asked for. */
    zone: text('zone').notNull(),
    /** The owner. Null until placed, and again after its host is left. */
    host: text('host'),
    /** Raised by every placement: who acts with an old one is refused. */
    fence: integer('fence').notNull().default(0),
    /** Placements tried so far, and the hosts that failed. */
    placements: integer('placements').notNull().default(0),
    failedHosts: jsonb('failed_hosts').$type<string[]>().notNull().default([]),
    /** It ran when its host was lost: shown as stopped until the host returns, then adopted or started again. */
    hostLost: boolean('host_lost').notNull().default(false),
    /** The host that it is on its way to, whose room is claimed already; null while it stays where it is. */
    migratingTo: text('migrating_to'),
    mac: text('mac').notNull().unique(),
    /** The network of its project that it lives on; null: the one that all share. */
    networkId: text('network_id').references(() => networks.id, { onDelete: 'set null' }),
    /** Null: the project's default subnet. */
    subnetId: text('subnet_id').references(() => subnets.id),
    /** Whether its own address is shown as its public one while it runs. */
    hasPublicAddress: boolean('has_public_address').notNull().default(true),
    /** The address that the client wished for: claimed with the launch, and kept until the instance ends. */
    wishedAddress: text('wished_address'),
    /** `kvm`, `qemu`, `lxc`, `sim`: of the host that runs it. */
    hypervisor: text('hypervisor'),
    launchedAt: instant('launched_at').notNull(),
    terminatedAt: instant('terminated_at'),
  },
  (table) => [
    index().on(table.projectId, table.id), index().on(table.host), index().on(table.migratingTo), index().on(table.state), index().on(table.reservationId),
    index().on(table.networkId),
    index().on(table.subnetId),
  ],
);

export const securityGroups = pgTable(
  'security_groups',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    name: text('name').notNull(),
    description: text('description').notNull(),
    /** Null: the project's default VPC. */
    vpcId: text('vpc_id').references(() => vpcs.id),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [
    // Two partial ones, since nulls are never equal; the old release writes groups of the default VPC only.
    uniqueIndex('security_groups_default_vpc_name').on(table.projectId, table.name).where(sql`${table.vpcId} is null`),
    uniqueIndex('security_groups_vpc_name').on(table.vpcId, table.name),
  ],
);

export const securityGroupRules = pgTable(
  'security_group_rules',
  {
    id: text('id').primaryKey(),
    groupId: text('group_id').notNull().references(() => securityGroups.id, { onDelete: 'cascade' }),
    direction: text('direction').$type<'ingress' | 'egress'>().notNull(),
    /** `tcp`, `udp`, `icmp`, `-1` for all, or a protocol number. */
    protocol: text('protocol').notNull(),
    fromPort: integer('from_port').notNull(),
    toPort: integer('to_port').notNull(),
    /** Exactly one of the two. */
    cidr: text('cidr'),
    sourceGroupId: text('source_group_id').references(() => securityGroups.id),
    description: text('description'),
  },
  (table) => [
    index().on(table.groupId),
    uniqueIndex('security_group_rules_cidr').on(table.groupId, table.direction, table.protocol, table.fromPort, table.toPort, table.cidr),
    uniqueIndex('security_group_rules_source').on(table.groupId, table.direction, table.protocol, table.fromPort, table.toPort, table.sourceGroupId),
  ],
);

export const instanceSecurityGroups = pgTable(
  'instance_security_groups',
  {
    instanceId: text('instance_id').notNull().references(() => instances.id, { onDelete: 'cascade' }),
    groupId: text('group_id').notNull().references(() => securityGroups.id),
  },
  (table) => [primaryKey({ columns: [table.instanceId, table.groupId] }), index().on(table.groupId)],
);

export const tags = pgTable(
  'tags',
  {
    resourceId: text('resource_id').notNull(),
    key: text('key').notNull(),
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    /** `instance`, `image`, `security-group`, `key-pair` … as AWS names them. */
    resourceType: text('resource_type').notNull(),
    value: text('value').notNull(),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.resourceId, table.key] }), index().on(table.resourceId)],
);
