// What the objectstore does to an image's row while it registers it.
import { and, eq, isNull } from 'drizzle-orm';
import type { Db, Queryable } from './db.ts';
import { discardBlobs } from './blobs.ts';
import { images } from './schema/all.ts';

export type Image = typeof images.$inferSelect;

export async function loadImage(db: Queryable, id: string): Promise<Image | undefined> {
  const [row] = await db.select().from(images).where(eq(images.id, id));
  return row;
}

export interface ImageFacts {
  readonly format: 'raw' | 'qcow2';
  readonly sizeBytes: number;
  readonly virtualSizeBytes: number;
  readonly sha256: string;
  readonly blobId: string;
}

/** False: the image is not pending any more. Saying it again with the same facts is true again. */
export async function publishImage(db: Queryable, id: string, facts: ImageFacts, now: Date): Promise<boolean> {
  const rows = await db.update(images).set({ ...facts, state: 'available', stateReason: null, stateReasonCode: null, stateChangedAt: now })
    .where(and(eq(images.id, id), eq(images.state, 'pending'))).returning({ id: images.id });
  if (rows.length > 0) return true;
  return (await loadImage(db, id))?.blobId === facts.blobId;
}

/** Content for an image that waits for it; it stays pending. False: it does not wait, or has some. */
export async function keepContent(db: Queryable, id: string, facts: ImageFacts): Promise<boolean> {
  const rows = await db.update(images).set({ ...facts })
    .where(and(eq(images.id, id), eq(images.state, 'pending'), isNull(images.blobId))).returning({ id: images.id });
  return rows.length > 0;
}

/** How far the making of an image has come, while it is pending. */
export type ImageStage = 'decrypting' | 'untarring';

const stageTexts: Readonly<Record<ImageStage, string>> = {
  decrypting: 'The parts of the bundle are verified and decrypted.',
  untarring: 'The image is unpacked from the bundle and verified.',
};

export async function markImage(db: Queryable, id: string, stage: ImageStage | null): Promise<void> {
  await db.update(images).set({ stateReasonCode: stage, stateReason: stage === null ? null : stageTexts[stage] })
    .where(and(eq(images.id, id), eq(images.state, 'pending')));
}

/** Undoes `publishImage`. */
export async function withdrawImage(db: Queryable, id: string, now: Date): Promise<void> {
  await db.update(images)
    .set({ state: 'pending', format: null, sizeBytes: null, virtualSizeBytes: null, sha256: null, blobId: null, stateChangedAt: now })
    .where(and(eq(images.id, id), eq(images.state, 'available')));
}

export async function failImage(db: Queryable, id: string, reason: string, now: Date): Promise<void> {
  await db.update(images).set({ state: 'failed', stateReasonCode: 'Client.InvalidImage', stateReason: reason, stateChangedAt: now })
    .where(and(eq(images.id, id), eq(images.state, 'pending')));
}

/** Lets go of an image's blob; the sweeper removes it. */
export function releaseBlob(db: Db, id: string, now: Date): Promise<void> {
  return db.transaction(async (tx) => {
    const [row] = await tx.select({ blobId: images.blobId }).from(images).where(eq(images.id, id)).for('update');
    if (row === undefined || row.blobId === null) return;
    await tx.update(images).set({ blobId: null }).where(eq(images.id, id));
    await discardBlobs(tx, [row.blobId], now);
  });
}

export interface NewImage {
  readonly id: string;
  readonly projectId: string;
  readonly name: string;
  readonly description: string;
  readonly type: Image['type'];
  readonly location: string;
  readonly isPublic: boolean;
  readonly kernelId: string | null;
  readonly ramdiskId: string | null;
}

/** A pending image of novact's own making. */
export async function insertImage(db: Queryable, image: NewImage, now: Date): Promise<void> {
  await db.insert(images).values({
    ...image, architecture: 'x86_64', state: 'pending', rootDeviceName: '/dev/vda', virtualizationType: 'hvm', createdAt: now, stateChangedAt: now,
  });
}

/** Takes an image out of the offer when a newer one has its name; its content stays while it is launched from. */
export async function replaceImage(db: Db, id: string, now: Date): Promise<void> {
  await db.update(images).set({ state: 'deregistered', stateChangedAt: now }).where(eq(images.id, id));
  await releaseBlob(db, id, now);
}
