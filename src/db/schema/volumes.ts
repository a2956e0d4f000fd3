// Volumes, what they are attached to, and their snapshots; and the hosts that keep them.
import { sql } from 'drizzle-orm';
import { bigint, boolean, index, integer, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import type { WireConnection } from '../../messages/volume.ts';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

/** AWS's states; `deleted` is shown to nobody: it tells the volume host what is to be gone. */
export type VolumeState = 'creating' | 'available' | 'in-use' | 'deleting' | 'deleted' | 'error';

export type AttachmentState = 'attaching' | 'attached' | 'detaching';

export type SnapshotState = 'pending' | 'completed' | 'error' | 'deleting' | 'deleted';

/** A machine that keeps volumes. Room is claimed by the scheduler in one statement and given back with the volume. */
export const volumeHosts = pgTable(
  'volume_hosts',
  {
    name: text('name').primaryKey(),
    zone: text('zone').notNull(),
    enabled: boolean('enabled').notNull().default(true),
    disabledReason: text('disabled_reason'),
    /** The driver's name: `local`, `iscsi` … */
    driver: text('driver').notNull(),
    /** Can guests of other hosts use its volumes? */
    isRemote: boolean('is_remote').notNull(),
    /** May a guest move to another host while it runs and has a volume of this host? */
    movesLive: boolean('moves_live').notNull().default(false),
    sizeGiB: integer('size_gib').notNull(),
    claimedGiB: integer('claimed_gib').notNull().default(0),
    updatedAt: instant('updated_at').notNull(),
  },
  (table) => [index('volume_hosts_by_load').on(table.zone, table.claimedGiB, table.name).where(sql`${table.enabled}`)],
);

export const volumes = pgTable(
  'volumes',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    userId: text('user_id').notNull(),
    /** Unique in the project: the second CreateVolume with it gets the first one's answer. */
    clientToken: text('client_token'),
    /** A digest of the request's parameters: the same token with others is IdempotentParameterMismatch. */
    requestDigest: text('request_digest').notNull().default(''),
    sizeGiB: integer('size_gib').notNull(),
    /** As the client asked for it; all types are served alike. */
    type: text('type').notNull(),
    iops: integer('iops'),
    throughput: integer('throughput'),
    /** What it was made from; the snapshot may be gone. */
    snapshotId: text('snapshot_id'),
    /** The content of that snapshot at the volume host. */
    contentId: text('content_id'),
    zone: text('zone').notNull(),
    /** The owner. Null until placed. */
    host: text('host'),
    /** Raised by every placement: who acts with an old one is refused. */
    fence: integer('fence').notNull().default(0),
    placements: integer('placements').notNull().default(0),
    failedHosts: jsonb('failed_hosts').$type<string[]>().notNull().default([]),
    state: text('state').$type<VolumeState>().notNull(),
    /** Why it is in error, or what last failed; null while there is nothing to say. */
    stateReason: text('state_reason'),
    stateChangedAt: instant('state_changed_at').notNull(),
    /** A transitional state past this is resolved by the sweeper. Null in lasting states. */
    stateDeadline: instant('state_deadline'),
    autoEnableIo: boolean('auto_enable_io').notNull().default(false),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [
    uniqueIndex('volumes_client_token').on(table.projectId, table.clientToken), index().on(table.projectId, table.id), index().on(table.host),
    index('volumes_overdue').on(table.stateDeadline).where(sql`${table.stateDeadline} is not null`),
  ],
);

export type Volume = typeof volumes.$inferSelect;

/** At most one for each volume: its key is the volume. */
export const volumeAttachments = pgTable(
  'volume_attachments',
  {
    volumeId: text('volume_id').primaryKey().references(() => volumes.id, { onDelete: 'cascade' }),
    /** Names this attachment at the drivers: another attachment of the same volume has another export and another secret. */
    id: text('id').notNull().unique(),
    instanceId: text('instance_id').notNull(),
    /** As clients name it: `/dev/sdf`. */
    device: text('device').notNull(),
    /** As the guest's definition names it: `vdb`. */
    target: text('target').notNull(),
    state: text('state').$type<AttachmentState>().notNull(),
    /** No guest has it (any more): nothing is to be exported for it. */
    released: boolean('released').notNull().default(false),
    /** How its guest's host reaches it, as last exported; null until it was. */
    connection: jsonb('connection').$type<WireConnection>(),
    deleteOnTermination: boolean('delete_on_termination').notNull().default(false),
    attachedAt: instant('attached_at').notNull(),
  },
  (table) => [
    uniqueIndex('volume_attachments_device').on(table.instanceId, table.device), uniqueIndex('volume_attachments_target').on(table.instanceId, table.target),
  ],
);

export type ModificationState = 'modifying' | 'optimizing' | 'completed' | 'failed';

/** The last change of a volume's size or type. */
export const volumeModifications = pgTable('volume_modifications', {
  volumeId: text('volume_id').primaryKey().references(() => volumes.id, { onDelete: 'cascade' }),
  state: text('state').$type<ModificationState>().notNull(),
  reason: text('reason'),
  originalSizeGiB: integer('original_size_gib').notNull(),
  targetSizeGiB: integer('target_size_gib').notNull(),
  originalType: text('original_type').notNull(),
  targetType: text('target_type').notNull(),
  startedAt: instant('started_at').notNull(),
  endedAt: instant('ended_at'),
});

export const snapshots = pgTable(
  'snapshots',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    userId: text('user_id').notNull(),
    /** The volume may be gone. */
    volumeId: text('volume_id').notNull(),
    sizeGiB: integer('size_gib').notNull(),
    description: text('description').notNull().default(''),
    state: text('state').$type<SnapshotState>().notNull(),
    stateReason: text('state_reason'),
    stateDeadline: instant('state_deadline'),
    isPublic: boolean('is_public').notNull().default(false),
    /** Who keeps it: the host of its volume. */
    host: text('host').notNull(),
    /** Its content at the driver: a copy of a snapshot has the same, which goes with the last of them. */
    contentId: text('content_id').notNull(),
    /** Bytes that it holds, where the driver knows. */
    sizeBytes: bigint('size_bytes', { mode: 'number' }),
    startedAt: instant('started_at').notNull(),
    completedAt: instant('completed_at'),
  },
  (table) => [index().on(table.projectId, table.id), index().on(table.contentId), index().on(table.host), index().on(table.volumeId)],
);

/** Projects other than the owner that may make volumes of a private snapshot. */
export const snapshotPermissions = pgTable(
  'snapshot_permissions',
  {
    snapshotId: text('snapshot_id').notNull().references(() => snapshots.id, { onDelete: 'cascade' }),
    projectId: text('project_id').notNull(),
  },
  (table) => [primaryKey({ columns: [table.snapshotId, table.projectId] }), index().on(table.projectId)],
);
