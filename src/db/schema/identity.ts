// Users, projects, their roles and access keys: the truth of the auth manager's database driver.
import { bigint, boolean, index, integer, pgTable, primaryKey, text, uniqueIndex } from 'drizzle-orm/pg-core';
import { instant } from './columns.ts';

export const users = pgTable('users', {
  id: text('id').primaryKey(),
  name: text('name').notNull().unique(),
  isAdmin: boolean('is_admin').notNull().default(false),
  enabled: boolean('enabled').notNull().default(true),
  createdAt: instant('created_at').notNull(),
});

export const projects = pgTable('projects', {
  /** Twelve digits, as an AWS account id. */
  id: text('id').primaryKey(),
  name: text('name').notNull().unique(),
  description: text('description').notNull(),
  managerId: text('manager_id').notNull().references(() => users.id),
  createdAt: instant('created_at').notNull(),
});

export const projectMembers = pgTable(
  'project_members',
  {
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    userId: text('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.userId] }), index().on(table.userId)],
);

export const globalRoles = pgTable(
  'global_roles',
  {
    userId: text('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
    role: text('role').notNull(),
  },
  (table) => [primaryKey({ columns: [table.userId, table.role] })],
);

export const projectRoles = pgTable(
  'project_roles',
  {
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    userId: text('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
    role: text('role').notNull(),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.userId, table.role] })],
);

export const accessKeys = pgTable(
  'access_keys',
  {
    id: text('id').primaryKey(),
    userId: text('user_id').notNull().references(() => users.id, { onDelete: 'cascade' }),
    /** The project that the key means when the client names none. */
    projectId: text('project_id').references(() => projects.id, { onDelete: 'set null' }),
    /** AES-256-GCM under a key that is not in the database. */
    sealedSecret: text('sealed_secret').notNull(),
    enabled: boolean('enabled').notNull().default(true),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [index().on(table.userId)],
);

/** Limits that a project was given in place of the cloud's defaults. */
export const projectQuotas = pgTable(
  'project_quotas',
  {
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    /** `instances`, `cores` … */
    name: text('name').notNull(),
    limit: bigint('limit', { mode: 'number' }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.projectId, table.name] })],
);

/** Wrong signatures and passwords of late, so that all processes of the api count together. A row that is over means nothing. */
export const lockouts = pgTable('lockouts', {
  /** `key:AKIA…` or `password:AIDA…` */
  subject: text('subject').primaryKey(),
  failures: integer('failures').notNull(),
  /** The first of them. */
  since: instant('since').notNull(),
  lockedUntil: instant('locked_until'),
});

export const keyPairs = pgTable(
  'key_pairs',
  {
    id: text('id').primaryKey(),
    projectId: text('project_id').notNull().references(() => projects.id, { onDelete: 'cascade' }),
    userId: text('user_id').notNull(),
    name: text('name').notNull(),
    type: text('type').$type<'rsa' | 'ed25519'>().notNull(),
    fingerprint: text('fingerprint').notNull(),
    /** One OpenSSH line. */
    publicKey: text('public_key').notNull(),
    createdAt: instant('created_at').notNull(),
  },
  (table) => [uniqueIndex('key_pairs_project_name').on(table.projectId, table.name)],
);
