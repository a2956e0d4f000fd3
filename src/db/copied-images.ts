// Copies of images: a row of one's own, copies of the snapshots that its devices name, and the work of the objectstore that gives it content of its own.
import { and, eq } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject, nameTaken, type ImageRow } from './images.ts';
import { insertOperation, type NewOperation } from './operations.ts';
import { imagesUsed, limitOf } from './quotas.ts';
import { images } from './schema/images.ts';
import { copySnapshotIn, type SnapshotCopy } from './snapshots.ts';
import { insertTags, type TagText } from './tags.ts';

export interface ImageCopy {
  /** With `sourceImageId`, and devices that name the copies of snapshots. */
  readonly row: ImageRow & { readonly sourceImageId: string };
  readonly tags: readonly TagText[];
  readonly snapshots: readonly SnapshotCopy[];
  readonly operation: NewOperation;
  /** Images that a project may have, unless it was given a limit of its own. */
  readonly quota: number;
}

export type ImageCopied =
  | { readonly outcome: 'inserted' | 'mismatch' | 'sourceGone' | 'snapshotGone' }
  /** The token was used before, with the same request: nothing is done again. */
  | { readonly outcome: 'repeated'; readonly imageId: string }
  | { readonly outcome: 'duplicate'; readonly usedBy: string }
  | { readonly outcome: 'overQuota'; readonly of: 'images' | 'snapshots'; readonly limit: number };

/** All of it, or nothing. */
export function copyImage(db: Db, copy: ImageCopy, now: Date): Promise<ImageCopied> {
  return db.transaction(async (tx): Promise<ImageCopied> => {
    const { row } = copy;
    await lockProject(tx, row.projectId);
    const earlier = await findByImageToken(tx, row);
    if (earlier !== undefined) return earlier;
    const taken = await nameTaken(tx, row);
    if (taken !== undefined) return { outcome: 'duplicate', usedBy: taken.id };
    const limit = await limitOf(tx, row.projectId, 'images', copy.quota);
    if ((await imagesUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', of: 'images', limit };
    // Who gives the source up waits for this, or comes first.
    const [source] = await tx.select({ state: images.state }).from(images).where(eq(images.id, row.sourceImageId)).for('share');
    if (source?.state !== 'available') return { outcome: 'sourceGone' };
    await copySnapshots(tx, copy.snapshots, now);
    await tx.insert(images).values(row);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'image', resourceIds: [row.id], tags: copy.tags });
    await insertOperation(tx, copy.operation, now);
    return { outcome: 'inserted' };
  }).catch((error: unknown) => {
    if (error instanceof NotCopied) return error.because;
    throw error;
  });
}

async function copySnapshots(tx: Tx, copies: readonly SnapshotCopy[], now: Date): Promise<void> {
  for (const copy of copies.toSorted((a, b) => (a.sourceId < b.sourceId ? -1 : 1))) {
    const made = await copySnapshotIn(tx, copy, now);
    if (made === 'gone') throw new NotCopied({ outcome: 'snapshotGone' });
    if ('refused' in made) throw new NotCopied({ outcome: 'overQuota', of: 'snapshots', limit: made.limit });
  }
}

class NotCopied extends Error {
  override readonly name = 'NotCopied';
  readonly because: ImageCopied;

  constructor(because: ImageCopied) {
    super(because.outcome);
    this.because = because;
  }
}

/** What was made with the client's token before, if anything was. */
export async function findByImageToken(
  db: Queryable, asked: Pick<ImageRow, 'projectId' | 'clientToken' | 'requestDigest'>,
): Promise<ImageCopied | undefined> {
  if (asked.clientToken === null) return undefined;
  const [earlier] = await db.select({ id: images.id, requestDigest: images.requestDigest }).from(images)
    .where(and(eq(images.projectId, asked.projectId), eq(images.clientToken, asked.clientToken)));
  if (earlier === undefined) return undefined;
  return earlier.requestDigest === asked.requestDigest ? { outcome: 'repeated', imageId: earlier.id } : { outcome: 'mismatch' };
}
