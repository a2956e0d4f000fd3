// Which blobs are in use and which are garbage. A blob id is written to the garbage in the transaction that lets go of it, so
// that neither a crash nor a rollback can lose content that something still names.
import { asc, inArray, eq, lte, sql } from 'drizzle-orm';
import { unionAll, type PgColumn, type PgTable } from 'drizzle-orm/pg-core';
import type { Queryable } from './db.ts';
import { images } from './schema/images.ts';
import { blobGarbage, multipartParts, objects, objectVersions } from './schema/objects.ts';

/** Parameters of one statement: PostgreSQL allows 65 535. */
const batchMax = 5_000;

export async function discardBlobs(tx: Queryable, blobIds: readonly string[], now: Date): Promise<void> {
  for (let first = 0; first < blobIds.length; first += batchMax) {
    const batch = blobIds.slice(first, first + batchMax).map((blobId) => ({ blobId, since: now }));
    await tx.insert(blobGarbage).values(batch).onConflictDoNothing();
  }
}

/** Garbage that nobody can be reading any more, oldest first. */
export async function oldGarbage(db: Queryable, before: Date, limit: number): Promise<string[]> {
  const rows = await db.select({ blobId: blobGarbage.blobId }).from(blobGarbage)
    .where(lte(blobGarbage.since, before)).orderBy(asc(blobGarbage.since)).limit(limit);
  return rows.map((row) => row.blobId);
}

export async function forgetGarbage(db: Queryable, blobIds: readonly string[]): Promise<void> {
  if (blobIds.length > 0) await db.delete(blobGarbage).where(inArray(blobGarbage.blobId, [...blobIds]));
}

/** Those of the given blobs that an object, a version, a part or an image names, or that are garbage already: not orphans. */
export async function knownBlobs(db: Queryable, blobIds: readonly string[]): Promise<Set<string>> {
  if (blobIds.length === 0) return new Set();
  const ids = [...blobIds];
  const named = <T extends { blobId: PgColumn } & PgTable>(table: T) =>
    db.select({ blobId: sql<string>`${table.blobId}` }).from(table as PgTable).where(inArray(table.blobId, ids));
  // In one statement, which sees one moment: a blob that goes from an object to its versions meanwhile is seen in one of them.
  const found = await unionAll(named(objects), named(objectVersions), named(multipartParts), named(images), named(blobGarbage));
  return new Set(found.map((row) => row.blobId));
}

export interface ImageBlob {
  readonly blobId: string;
  readonly sha256: string;
}

/** The content of an available image, for compute hosts. */
export async function findImageBlob(db: Queryable, imageId: string): Promise<ImageBlob | undefined> {
  const [row] = await db.select({ state: images.state, blobId: images.blobId, sha256: images.sha256 }).from(images).where(eq(images.id, imageId));
  if (row === undefined || row.state !== 'available' || row.blobId === null || row.sha256 === null) return undefined;
  return { blobId: row.blobId, sha256: row.sha256 };
}
