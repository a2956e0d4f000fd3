// Hosts, what they can carry, and the processes that act for them.
import { sql } from 'drizzle-orm';
import { bigint, boolean, doublePrecision, index, integer, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

/** A machine that runs guests. Claims are taken by the scheduler in one statement and given back with the instance. */
export const hosts = pgTable('hosts', {
  name: text('name').primaryKey(),
  /** Where it stands when hosts are drawn by lot: from 0 to 1. */
  lot: doublePrecision('lot').notNull().default(sql`random()`),
  zone: text('zone').notNull(),
  enabled: boolean('enabled').notNull().default(true),
  hypervisor: text('hypervisor').notNull(),
  cores: integer('cores').notNull(),
  memoryMiB: integer('memory_mib').notNull(),
  diskGiB: integer('disk_gib').notNull(),
  claimedCores: integer('claimed_cores').notNull().default(0),
  claimedMemoryMiB: integer('claimed_memory_mib').notNull().default(0),
  claimedDiskGiB: integer('claimed_disk_gib').notNull().default(0),
  /** The kernel's boot id: when it changes, the machine was restarted and its guests with it. */
  bootId: text('boot_id').notNull(),
  /** Where other hosts reach it (image transfers, migrations); null: this machine only. */
  address: text('address'),
  /** Not heard of since then, for longer than `serviceDownSeconds`; null while it is heard. Written by the host watcher, not by heartbeats. */
  downSince: instant('down_since'),
  /** Why it was disabled, in words: `drained by joe`. */
  disabledReason: text('disabled_reason'),
  updatedAt: instant('updated_at').notNull(),
}, (table) => [
  // What placements read: the first few of these, however many hosts there are.
  index('hosts_by_load').on(table.zone, table.claimedCores, table.claimedMemoryMiB, table.name).where(sql`${table.enabled} and ${table.downSince} is null`),
  index('hosts_by_lot').on(table.zone, table.lot).where(sql`${table.enabled} and ${table.downSince} is null`),
]);

/** A role on a host. Each start takes a new epoch; who writes with an old one is refused. */
export const services = pgTable(
  'services',
  {
    host: text('host').notNull(),
    role: text('role').notNull(),
    epoch: bigint('epoch', { mode: 'number' }).notNull(),
    /** The release that runs: old and new stand side by side while roles are restarted one by one. */
    version: text('version').notNull().default(''),
    startedAt: instant('started_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.host, table.role] })],
);

/** Facts about this cloud: its id, its schema's age. */
export const settings = pgTable('settings', {
  key: text('key').primaryKey(),
  value: text('value').notNull(),
});
export type SettingKey = 'cloudId' | 'founderKey' | 'systemKey' | 'tinyImage' | 'keyFingerprint' | 'rootAuthority' | 'endpointAuthority' | 'bundlingKey';

