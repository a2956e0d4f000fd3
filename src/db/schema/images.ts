// Machine, kernel and ramdisk images. Content is a blob of the objectstore's own, independent of the object it came from.
import { bigint, boolean, index, jsonb, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';
import { projects } from './identity.ts';

/** A disk that instances of an image are launched with, beside its own content. */
export interface ImageDevice {
  /** `/dev/sdf`; the root device's of an image that is a snapshot. */
  readonly device: string;
  /** Absent: an empty volume. */
  readonly snapshotId?: string;
  readonly sizeGiB: number;
  readonly type: string;
  readonly deleteOnTermination: boolean;
}

export type ImageState = 'pending' | 'available' | 'failed' | 'deregistered';

export const images = pgTable(
  'images',
  {
    /** `ami-…`, `aki-…`, `ari-…`. */
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id),
    name: text('name').notNull(),
    description: text('description').notNull().default(''),
    /** `bucket/key`, as registered. */
    location: text('location').notNull(),
    type: text('type').$type<'machine' | 'kernel' | 'ramdisk'>().notNull(),
    architecture: text('architecture').notNull(),
    state: text('state').$type<ImageState>().notNull(),
    stateReasonCode: text('state_reason_code'),
    stateReason: text('state_reason'),
    isPublic: boolean('is_public').notNull().default(false),
    kernelId: text('kernel_id'),
    ramdiskId: text('ramdisk_id'),
    rootDeviceName: text('root_device_name').notNull(),
    virtualizationType: text('virtualization_type').notNull(),
    format: text('format').$type<'raw' | 'qcow2'>(),
    sizeBytes: bigint('size_bytes', { mode: 'number' }),
    virtualSizeBytes: bigint('virtual_size_bytes', { mode: 'number' }),
    sha256: text('sha256'),
    blobId: text('blob_id'),
    /** Volumes of its instances. With the root device among them, instances boot from that volume, and the image has no content of its own. */
    devices: jsonb('devices').$type<ImageDevice[]>().notNull().default([]),
    /** What it is a copy of, which may be gone. */
    sourceImageId: text('source_image_id'),
    /** Chosen by the client: repeating the request with it makes nothing again. */
    clientToken: text('client_token'),
    /** Of the request's parameters: the same token with others is an error. */
    requestDigest: text('request_digest').notNull().default(''),
    createdAt: instant('created_at').notNull(),
    stateChangedAt: instant('state_changed_at').notNull(),
  },
  (table) => [index().on(table.projectId), index().on(table.state), uniqueIndex('images_client_token').on(table.projectId, table.clientToken)],
);

/** Projects other than the owner that may launch a private image. */
export const imageLaunchPermissions = pgTable(
  'image_launch_permissions',
  {
    imageId: text('image_id').notNull().references(() => images.id, { onDelete: 'cascade' }),
    projectId: text('project_id').notNull(),
  },
  (table) => [primaryKey({ columns: [table.imageId, table.projectId] }), index().on(table.projectId)],
);
