// What the objectstore does to an image's row while it registers it.
import { and, eq } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { images, objects } from './schema/all.ts';

export type Image = typeof images.$inferSelect;

export async function loadImage(db: Queryable, id: string): Promise<Image | undefined> {
  const [row] = await db.select().from(images).where(eq(images.id, id));
  return row;
}

export async function findObject(db: Queryable, at: { bucket: string; key: string }): Promise<{ blobId: string; sizeBytes: number } | undefined> {
  const [row] = await db.select({ blobId: objects.blobId, sizeBytes: objects.sizeBytes }).from(objects)
    .where(and(eq(objects.bucket, at.bucket), eq(objects.key, at.key)));
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

export async function failImage(db: Queryable, id: string, reason: string, now: Date): Promise<void> {
  await db.update(images).set({ state: 'failed', stateReasonCode: 'Client.InvalidImage', stateReason: reason, stateChangedAt: now })
    .where(and(eq(images.id, id), eq(images.state, 'pending')));
}
