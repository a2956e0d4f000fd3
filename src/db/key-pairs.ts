// The queries of key pairs. Names are unique in a project, by an index: two callers cannot both create one.
import { and, asc, eq } from 'drizzle-orm';
import type { Db, Queryable } from './db.ts';
import { lockProject } from './images.ts';
import { keysUsed, limitOf, type Insertion } from './quotas.ts';
import { keyPairs } from './schema/identity.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';

export type KeyPair = typeof keyPairs.$inferSelect;

export function keyPairsOf(db: Queryable, projectId: string): Promise<KeyPair[]> {
  return db.select().from(keyPairs).where(eq(keyPairs.projectId, projectId)).orderBy(asc(keyPairs.name));
}

export async function findKeyPair(db: Queryable, projectId: string, name: string): Promise<KeyPair | undefined> {
  const [row] = await db.select().from(keyPairs).where(and(eq(keyPairs.projectId, projectId), eq(keyPairs.name, name)));
  return row;
}

/** `quota`: key pairs that a project may have, unless it was given a limit of its own. */
export function insertKeyPair(db: Db, row: KeyPair, { tags, quota }: { readonly tags: readonly TagText[]; readonly quota: number }): Promise<Insertion> {
  return db.transaction(async (tx): Promise<Insertion> => {
    await lockProject(tx, row.projectId);
    if ((await findKeyPair(tx, row.projectId, row.name)) !== undefined) return { outcome: 'duplicate' };
    const limit = await limitOf(tx, row.projectId, 'keys', quota);
    if ((await keysUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', limit };
    await tx.insert(keyPairs).values(row);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'key-pair', resourceIds: [row.id], tags });
    return { outcome: 'inserted' };
  });
}

/** The id of what was deleted, if there was such a key pair. */
export function deleteKeyPair(db: Db, projectId: string, by: { id: string } | { name: string }): Promise<string | undefined> {
  return db.transaction(async (tx) => {
    const which = 'id' in by ? eq(keyPairs.id, by.id) : eq(keyPairs.name, by.name);
    const [gone] = await tx.delete(keyPairs).where(and(eq(keyPairs.projectId, projectId), which)).returning({ id: keyPairs.id });
    if (gone !== undefined) await deleteTagsOf(tx, gone.id);
    return gone?.id;
  });
}
