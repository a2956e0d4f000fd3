// Tags, and which resources a project can hang them on. A tag belongs to a project: two projects may tag one public image apart.
import { and, asc, eq, inArray, ne, notInArray, or, sql } from 'drizzle-orm';
import { derivedId } from '../lib/ids.ts';
import type { Queryable, Tx } from './db.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { keyPairs } from './schema/identity.ts';
import { images } from './schema/images.ts';
import { importTasks } from './schema/imports.ts';
import { instances, securityGroupRules, securityGroups, tags } from './schema/instances.ts';
import { snapshots, volumes } from './schema/volumes.ts';
import { dhcpOptions, internetGateways, networkAcls, routeTables, subnets, vpcs } from './schema/vpcs.ts';

export type TagRow = typeof tags.$inferSelect;

/** A tag in AWS's shape. */
export interface TagText {
  readonly Key: string;
  readonly Value: string;
}

/** The project's tags of these resources, by resource and sorted by key. Resources without tags are not in it. */
export async function tagsOf(db: Queryable, projectId: string, resourceIds: readonly string[]): Promise<ReadonlyMap<string, readonly TagText[]>> {
  if (resourceIds.length === 0) return new Map();
  const rows = await db.select().from(tags).where(and(eq(tags.projectId, projectId), inArray(tags.resourceId, [...resourceIds]))).orderBy(asc(tags.key));
  const byResource = new Map<string, TagText[]>();
  for (const { resourceId, key, value } of rows) {
    const list = byResource.get(resourceId);
    if (list === undefined) byResource.set(resourceId, [{ Key: key, Value: value }]);
    else list.push({ Key: key, Value: value });
  }
  return byResource;
}

/** All tags of the project. */
export function tagRowsOf(db: Queryable, projectId: string): Promise<TagRow[]> {
  return db.select().from(tags).where(eq(tags.projectId, projectId));
}

/** Tags for resources of one type that were made in this transaction. A tag of the same key is written over. */
export async function insertTags(
  tx: Queryable,
  insert: { projectId: string; resourceType: string; resourceIds: readonly string[]; tags: readonly TagText[] },
): Promise<void> {
  const { projectId, resourceType } = insert;
  const rows = insert.resourceIds.flatMap((resourceId) => insert.tags.map((tag) => ({ projectId, resourceType, resourceId, key: tag.Key, value: tag.Value })));
  for (let start = 0; start < rows.length; start += rowsPerStatement) {
    await tx.insert(tags).values(rows.slice(start, start + rowsPerStatement))
      .onConflictDoUpdate({ target: [tags.projectId, tags.resourceId, tags.key], set: { value: sql`excluded.value` } });
  }
}

/** PostgreSQL takes at most 65535 parameters in a statement. */
const rowsPerStatement = 5000;

/** Writers of one resource's tags take turns until their transactions end, so that their sum cannot pass the limit. */
export async function lockTagsOf(tx: Tx, projectId: string, resourceIds: readonly string[]): Promise<void> {
  // Sorted, so that two of them cannot wait for each other.
  for (const id of resourceIds.toSorted()) await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`tags:${projectId}:${id}`}, 0))`);
}

/** How many tags the most tagged of these resources has. */
export async function largestTagCount(tx: Queryable, projectId: string, resourceIds: readonly string[]): Promise<number> {
  const counts = await tx.select({ count: sql<number>`count(*)::int` }).from(tags)
    .where(and(eq(tags.projectId, projectId), inArray(tags.resourceId, [...resourceIds]))).groupBy(tags.resourceId);
  return Math.max(0, ...counts.map(({ count }) => count));
}

/** Removes tags by key, and by value where one is given; all of them when no key is named. */
export async function removeTags(
  db: Queryable,
  remove: { projectId: string; resourceIds: readonly string[]; tags: readonly { Key: string; Value: string | undefined }[] },
): Promise<void> {
  const chosen = remove.tags.map((tag) => and(eq(tags.key, tag.Key), tag.Value === undefined ? undefined : eq(tags.value, tag.Value)));
  await db.delete(tags).where(
    and(eq(tags.projectId, remove.projectId), inArray(tags.resourceId, [...remove.resourceIds]), chosen.length === 0 ? undefined : or(...chosen)),
  );
}

/** Every project's tags of resources that are no more. */
export async function deleteTagsOf(tx: Queryable, ...resourceIds: readonly string[]): Promise<void> {
  if (resourceIds.length > 0) await tx.delete(tags).where(inArray(tags.resourceId, [...resourceIds]));
}

/** Of these ids, those that the project can see as resources: its own, and public images. An interface is there as long as its instance lives. */
export async function visibleResources(db: Queryable, projectId: string, ids: readonly string[]): Promise<ReadonlySet<string>> {
  if (ids.length === 0) return new Set();
  const wanted = [...ids];
  const found = await Promise.all([
    db.select({ id: instances.id }).from(instances).where(and(eq(instances.projectId, projectId), inArray(instances.id, wanted))),
    db.select({ id: images.id }).from(images)
      .where(and(inArray(images.id, wanted), ne(images.state, 'deregistered'), or(eq(images.projectId, projectId), eq(images.isPublic, true)))),
    db.select({ id: securityGroups.id }).from(securityGroups).where(and(eq(securityGroups.projectId, projectId), inArray(securityGroups.id, wanted))),
    db.select({ id: securityGroupRules.id }).from(securityGroupRules).innerJoin(securityGroups, eq(securityGroups.id, securityGroupRules.groupId))
      .where(and(eq(securityGroups.projectId, projectId), inArray(securityGroupRules.id, wanted))),
    db.select({ id: sql<string>`${floatingAddresses.allocationId}` }).from(floatingAddresses)
      .where(and(eq(floatingAddresses.projectId, projectId), inArray(floatingAddresses.allocationId, wanted))),
    db.select({ id: volumes.id }).from(volumes)
      .where(and(eq(volumes.projectId, projectId), inArray(volumes.id, wanted), ne(volumes.state, 'deleted'))),
    db.select({ id: snapshots.id }).from(snapshots).where(and(
      inArray(snapshots.id, wanted), notInArray(snapshots.state, ['deleting', 'deleted']), or(eq(snapshots.projectId, projectId), eq(snapshots.isPublic, true)),
    )),
    db.select({ id: keyPairs.id }).from(keyPairs).where(and(eq(keyPairs.projectId, projectId), inArray(keyPairs.id, wanted))),
    ...[vpcs, subnets, internetGateways, routeTables, networkAcls, dhcpOptions, importTasks].map((table) =>
      db.select({ id: table.id }).from(table).where(and(eq(table.projectId, projectId), inArray(table.id, wanted)))),
  ]);
  const owners = await db.select({ id: instances.id }).from(instances)
    .where(and(eq(instances.projectId, projectId), inArray(instances.id, wanted.map((id) => derivedId('i', id))), ne(instances.state, 'terminated')));
  return new Set([...found.flat().map((row) => row.id), ...owners.map((row) => derivedId('eni', row.id))]);
}
