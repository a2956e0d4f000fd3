// What a project may have at most, and what it has. Each limit is the cloud's default unless the project was given one of its own. Whoever counts
// holds what is counted in (the project's row, or the group's), so that of many requests at once none passes the limit.
import { and, eq, ne, notInArray, sql, type SQL } from 'drizzle-orm';
import type { PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { bytesUsed } from './project-bytes.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { keyPairs, projectQuotas } from './schema/identity.ts';
import { images } from './schema/images.ts';
import { instances, securityGroupRules, securityGroups } from './schema/instances.ts';
import { buckets } from './schema/objects.ts';
import { snapshots, volumes } from './schema/volumes.ts';

/** `rules`: of one group in one direction; all others: of the project. */
export const quotaNames = ['instances', 'cores', 'memoryMiB', 'volumes', 'gigabytes', 'snapshots', 'addresses', 'groups', 'rules', 'keys', 'images', 'buckets',
  'bytes'] as const;

export type QuotaName = (typeof quotaNames)[number];

export type Quotas = Readonly<Record<QuotaName, number>>;

/** Of something with a name that is unique in its project. */
export type Insertion = { readonly outcome: 'inserted' | 'duplicate' } | { readonly outcome: 'overQuota'; readonly limit: number };

/** The project's own limit, or the default. */
export async function limitOf(db: Queryable, projectId: string, name: QuotaName, usual: number): Promise<number> {
  const [own] = await db.select({ limit: projectQuotas.limit }).from(projectQuotas)
    .where(and(eq(projectQuotas.projectId, projectId), eq(projectQuotas.name, name)));
  return own?.limit ?? usual;
}

/** Those that the project was given. */
export async function ownLimits(db: Queryable, projectId: string): Promise<Partial<Quotas>> {
  const rows = await db.select({ name: projectQuotas.name, limit: projectQuotas.limit }).from(projectQuotas).where(eq(projectQuotas.projectId, projectId));
  return Object.fromEntries(rows.map(({ name, limit }) => [name, limit]));
}

/** What there is already stays, also above the limit. */
export async function setLimit(db: Queryable, projectId: string, name: QuotaName, limit: number): Promise<void> {
  const target = [projectQuotas.projectId, projectQuotas.name];
  await db.insert(projectQuotas).values({ projectId, name, limit }).onConflictDoUpdate({ target, set: { limit } });
}

/** The default holds again. False: it did before. */
export async function clearLimit(db: Queryable, projectId: string, name: QuotaName): Promise<boolean> {
  const which = and(eq(projectQuotas.projectId, projectId), eq(projectQuotas.name, name));
  return (await db.delete(projectQuotas).where(which).returning({ name: projectQuotas.name })).length > 0;
}

export async function instancesUsed(db: Queryable, projectId: string): Promise<Pick<Quotas, 'instances' | 'cores' | 'memoryMiB'>> {
  const living = and(eq(instances.projectId, projectId), ne(instances.state, 'terminated'));
  const [row] = await db.select({ instances: count, cores: sumOf(instances.cores), memoryMiB: sumOf(instances.memoryMiB) }).from(instances).where(living);
  return row ?? { instances: 0, cores: 0, memoryMiB: 0 };
}

export async function volumesUsed(db: Queryable, projectId: string): Promise<Pick<Quotas, 'volumes' | 'gigabytes'>> {
  const present = and(eq(volumes.projectId, projectId), ne(volumes.state, 'deleted'));
  const [row] = await db.select({ volumes: count, gigabytes: sumOf(volumes.sizeGiB) }).from(volumes).where(present);
  return row ?? { volumes: 0, gigabytes: 0 };
}

export const snapshotsUsed = (db: Queryable, projectId: string): Promise<number> =>
  countOf(db, snapshots, and(eq(snapshots.projectId, projectId), ne(snapshots.state, 'deleted')));
export const addressesUsed = (db: Queryable, projectId: string): Promise<number> => countOf(db, floatingAddresses, eq(floatingAddresses.projectId, projectId));
export const groupsUsed = (db: Queryable, projectId: string): Promise<number> => countOf(db, securityGroups, eq(securityGroups.projectId, projectId));
export const keysUsed = (db: Queryable, projectId: string): Promise<number> => countOf(db, keyPairs, eq(keyPairs.projectId, projectId));

export const imagesUsed = (db: Queryable, projectId: string): Promise<number> =>
  countOf(db, images, and(eq(images.projectId, projectId), notInArray(images.state, ['deregistered', 'failed'])));
export const bucketsUsed = (db: Queryable, projectId: string): Promise<number> => countOf(db, buckets, eq(buckets.projectId, projectId));

/** Of `rules`, the fullest group's. */
export async function usageOf(db: Queryable, projectId: string): Promise<Quotas> {
  const perGroup = db.select({ of: sql<number>`count(*)::int`.as('of') }).from(securityGroupRules)
    .innerJoin(securityGroups, eq(securityGroups.id, securityGroupRules.groupId)).where(eq(securityGroups.projectId, projectId))
    .groupBy(securityGroupRules.groupId, securityGroupRules.direction).as('per_group');
  const [fullest] = await db.select({ rules: sql<number>`coalesce(max(${perGroup.of}), 0)::int` }).from(perGroup);
  return {
    ...(await instancesUsed(db, projectId)), ...(await volumesUsed(db, projectId)), snapshots: await snapshotsUsed(db, projectId),
    addresses: await addressesUsed(db, projectId), groups: await groupsUsed(db, projectId), rules: fullest?.rules ?? 0, keys: await keysUsed(db, projectId),
    images: await imagesUsed(db, projectId), buckets: await bucketsUsed(db, projectId), bytes: await bytesUsed(db, projectId),
  };
}

const count = sql<number>`count(*)::int`;

/** As double precision: a sum of integers may be larger than one. */
const sumOf = (column: typeof instances.cores | typeof instances.memoryMiB | typeof volumes.sizeGiB): SQL<number> =>
  sql<number>`coalesce(sum(${column}), 0)::double precision`;

async function countOf(db: Queryable, table: PgTable, which: SQL | undefined): Promise<number> {
  const [row] = await db.select({ count }).from(table).where(which);
  return row?.count ?? 0;
}
