// The queries of images: who sees which, and the changes that clients ask for. What the objectstore does to them is in image-work.ts.
import { and, asc, eq, gte, inArray, ne, or } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { insertOperation, type NewOperation } from './operations.ts';
import { imagesUsed, limitOf } from './quotas.ts';
import { imageLaunchPermissions, images } from './schema/images.ts';
import { projects } from './schema/identity.ts';
import { holdContent } from './snapshot-work.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';

export type ImageRow = typeof images.$inferSelect;

const registered = ne(images.state, 'deregistered');

/** Images that a project may launch: its own, public ones, and those it was permitted. Deregistered ones are nobody's. */
export async function visibleImages(db: Queryable, projectId: string): Promise<ImageRow[]> {
  const permitted = db.select({ id: imageLaunchPermissions.imageId }).from(imageLaunchPermissions).where(eq(imageLaunchPermissions.projectId, projectId));
  return db.select().from(images)
    .where(and(registered, or(eq(images.projectId, projectId), eq(images.isPublic, true), inArray(images.id, permitted)))).orderBy(asc(images.id));
}

/** Images by id, whoever's they are: for superusers. */
export function imagesById(db: Queryable, ids: readonly string[]): Promise<ImageRow[]> {
  return db.select().from(images).where(and(registered, inArray(images.id, [...ids])));
}

/** Those of the project's own images that were deregistered since then. */
export async function deregisteredSince(db: Queryable, which: { projectId: string; ids: readonly string[]; since: Date }): Promise<string[]> {
  const { projectId, ids, since } = which;
  const rows = await db.select({ id: images.id }).from(images)
    .where(and(eq(images.projectId, projectId), inArray(images.id, [...ids]), eq(images.state, 'deregistered'), gte(images.stateChangedAt, since)));
  return rows.map(({ id }) => id);
}

/** For operators: of all projects, or of one. */
export function registeredImages(db: Queryable, projectId?: string): Promise<ImageRow[]> {
  return db.select().from(images).where(and(registered, projectId === undefined ? undefined : eq(images.projectId, projectId))).orderBy(asc(images.id));
}

/** The image, if this project may launch it. */
export async function findVisibleImage(db: Queryable, projectId: string, id: string): Promise<ImageRow | undefined> {
  const [image] = await imagesById(db, [id]);
  if (image === undefined || image.projectId === projectId || image.isPublic) return image;
  return (await launchPermissionsOf(db, [id])).some((permission) => permission.projectId === projectId) ? image : undefined;
}

export function launchPermissionsOf(db: Queryable, imageIds: readonly string[]): Promise<{ imageId: string; projectId: string }[]> {
  if (imageIds.length === 0) return Promise.resolve([]);
  return db.select().from(imageLaunchPermissions).where(inArray(imageLaunchPermissions.imageId, [...imageIds])).orderBy(asc(imageLaunchPermissions.projectId));
}

export interface NewImage {
  readonly row: ImageRow;
  readonly tags: readonly TagText[];
  /** Null: nothing is fetched: it is there with its row. */
  readonly operation: NewOperation | null;
  /** Takes the id into a name that is taken, instead of refusing: the client named none. */
  readonly mayRename: boolean;
  /** Images that a project may have, unless it was given a limit of its own. */
  readonly quota: number;
}

export type ImageInsertion =
  | { readonly outcome: 'inserted' | 'snapshotGone' }
  | { readonly outcome: 'overQuota'; readonly limit: number }
  | { readonly outcome: 'duplicate'; readonly usedBy: string };

/** The image, and the operation that fetches its content. Names are unique among a project's images of one type. */
export function insertImage(db: Db, image: NewImage): Promise<ImageInsertion> {
  return db.transaction(async (tx): Promise<ImageInsertion> => {
    let row = image.row;
    await lockProject(tx, row.projectId);
    const taken = await nameTaken(tx, row);
    if (taken !== undefined && !image.mayRename) return { outcome: 'duplicate', usedBy: taken.id };
    const limit = await limitOf(tx, row.projectId, 'images', image.quota);
    if ((await imagesUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', limit };
    if (taken !== undefined) row = { ...row, name: `${row.name.slice(0, 100)} (${row.id})` };
    for (const { snapshotId } of row.devices) if ((await holdContent(tx, snapshotId)) === 'gone') return { outcome: 'snapshotGone' };
    await tx.insert(images).values(row);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'image', resourceIds: [row.id], tags: image.tags });
    if (image.operation !== null) await insertOperation(tx, image.operation, row.createdAt);
    return { outcome: 'inserted' };
  });
}

/** The image that has the name already; whoever asks holds the project's row. */
export async function nameTaken(tx: Tx, row: Pick<ImageRow, 'projectId' | 'name' | 'type'>): Promise<{ readonly id: string } | undefined> {
  const [taken] = await tx.select({ id: images.id }).from(images)
    .where(and(eq(images.projectId, row.projectId), eq(images.name, row.name), eq(images.type, row.type), ne(images.state, 'deregistered'),
      ne(images.state, 'failed')));
  return taken;
}

/** Whoever counts or names things of a project holds its row: two requests cannot both take the last place. */
export async function lockProject(tx: Tx, projectId: string): Promise<void> {
  await tx.select({ id: projects.id }).from(projects).where(eq(projects.id, projectId)).for('update');
}

/** The id of the operation that frees the content; undefined when somebody else has deregistered it before. */
export function deregisterImage(db: Db, id: string, operation: NewOperation, now: Date): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    const rows = await tx.update(images).set({ state: 'deregistered', stateChangedAt: now, clientToken: null }).where(and(eq(images.id, id), registered))
      .returning({ id: images.id });
    if (rows.length === 0) return undefined;
    await deleteTagsOf(tx, id);
    return insertOperation(tx, operation, now);
  });
}

export interface ImageChange {
  readonly description?: string;
  readonly isPublic?: boolean;
  readonly permit?: readonly string[];
  readonly forbid?: readonly string[];
  /** Takes back every permission. */
  readonly reset?: boolean;
}

export function changeImage(db: Db, id: string, change: ImageChange): Promise<void> {
  return db.transaction(async (tx) => {
    const { description, isPublic } = change;
    await tx.select({ id: images.id }).from(images).where(eq(images.id, id)).for('update');
    if (description !== undefined || isPublic !== undefined) {
      await tx.update(images).set({ ...(description === undefined ? {} : { description }), ...(isPublic === undefined ? {} : { isPublic }) })
        .where(eq(images.id, id));
    }
    const permissions = imageLaunchPermissions;
    if (change.reset === true) await tx.delete(permissions).where(eq(permissions.imageId, id));
    if ((change.forbid?.length ?? 0) > 0) await tx.delete(permissions)
      .where(and(eq(permissions.imageId, id), inArray(permissions.projectId, [...(change.forbid ?? [])])));
    const permitted = (change.permit ?? []).map((projectId) => ({ imageId: id, projectId }));
    if (permitted.length > 0) await tx.insert(permissions).values(permitted).onConflictDoNothing();
  });
}

/** Which of these are projects. */
export async function existingProjects(db: Queryable, ids: readonly string[]): Promise<Set<string>> {
  if (ids.length === 0) return new Set();
  return new Set((await db.select({ id: projects.id }).from(projects).where(inArray(projects.id, [...ids]))).map((row) => row.id));
}
