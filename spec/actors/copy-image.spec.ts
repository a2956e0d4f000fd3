// Copies of images against the generic proof, and what becomes of a copy when its source goes.
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { afterFailedCopy, copyImage } from '../../src/actors/objectstore/copy-image.ts';
import { deregisterImage, type ImageContext } from '../../src/actors/objectstore/register-image.ts';
import { sweepReleased } from '../../src/actors/objectstore/sweep-blobs.ts';
import { loadImage } from '../../src/db/image-work.ts';
import { deregisterImage as giveUp } from '../../src/db/images.ts';
import type { Operation } from '../../src/db/operations.ts';
import { images, operations, projects, snapshots, users } from '../../src/db/schema/all.ts';
import { createMemoryDisk } from '../../src/drivers/disk/memory.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { newId, newProjectId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';

let database: TestDatabase;
const [owner, copier] = [newProjectId(), newProjectId()];
beforeAll(async () => {
  database = await createTestDatabase();
  await database.db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
  const row = { description: '', managerId: 'u', createdAt: clock.date() };
  await database.db.insert(projects).values([owner, copier].map((id) => ({ ...row, id, name: id })));
});
afterAll(() => database.close());

const content = Buffer.from('what the image holds');
const devices = (snapshotId: string) => [{ device: '/dev/vda', snapshotId, sizeGiB: 1, type: 'gp2', deleteOnTermination: true }];

/** A copy that waits for the objectstore; of an image with content, or of one that is a snapshot. */
async function copying(kind: 'content' | 'snapshot'): Promise<ImageContext> {
  const { db } = database;
  const store = new MemoryStore({ clock });
  const { blobId } = await store.write(Readable.from([content]));
  const now = clock.date();
  const facts = kind === 'content' ? { format: 'raw' as const, sizeBytes: content.length, virtualSizeBytes: 512, sha256: 'abc', blobId } : {};
  const row = {
    description: '', location: 'b/k', type: 'machine' as const, architecture: 'x86_64', rootDeviceName: '/dev/vda', virtualizationType: 'hvm',
    createdAt: now, stateChangedAt: now,
  };
  const [sourceImageId, id, snapshotId] = [newId('ami'), newId('ami'), newId('snap')];
  if (kind === 'snapshot') {
    await db.insert(snapshots).values({
      id: snapshotId, projectId: copier, userId: 'u', volumeId: newId('vol'), sizeGiB: 1, state: 'completed', host: 'h', contentId: snapshotId, startedAt: now,
    });
  }
  await db.insert(images).values([
    { ...row, ...facts, id: sourceImageId, projectId: owner, name: 'source', state: 'available' },
    { ...row, id, projectId: copier, name: 'copy', state: 'pending', sourceImageId, ...(kind === 'snapshot' ? { devices: devices(snapshotId) } : {}) },
  ]);
  const image = await loadImage(db, id);
  if (image === undefined) throw new Error('no image');
  return {
    db, clock, store, disk: createMemoryDisk(() => undefined), image, input: { sourceImageId, snapshotIds: kind === 'snapshot' ? [snapshotId] : [] },
    limits: { virtualSizeBytesMax: 1e9, bootFileBytesMax: 1e6, inspectMs: 1_000 }, decrypt: () => Promise.reject(new Error('nothing is encrypted')),
  };
}

async function blobsOf({ store }: ImageContext): Promise<string[]> {
  const blobs: string[] = [];
  for await (const blobId of store.list({ changedBefore: new Date(clock.now() + 1e6) })) blobs.push(blobId);
  return blobs;
}

const world = (context: ImageContext): World<ImageContext> => ({
  context,
  async snapshot() {
    const { state, sha256, sizeBytes, format, blobId } = (await loadImage(database.db, context.image.id)) ?? {};
    return { state, sha256, sizeBytes, format, hasBlob: (await blobsOf(context)).includes(blobId ?? '') };
  },
  close: async () => undefined,
});

describe('image.copy of an image with content', () => checkFlow(copyImage, async () => world(await copying('content'))));
describe('image.copy of an image that is a snapshot', () => checkFlow(copyImage, async () => world(await copying('snapshot'))));

const sourceOf = (context: ImageContext): string => String(context.input['sourceImageId']);

async function deregister(context: ImageContext): Promise<void> {
  const id = sourceOf(context);
  const operation = { kind: 'image.deregister', resourceId: id, projectId: owner, userId: 'u', requestId: 'r', owner: 'objectstore', deadline: clock.date() };
  await giveUp(context.db, id, operation, clock.date());
  const source = await loadImage(context.db, id);
  if (source === undefined) throw new Error('no source');
  await runFlow(deregisterImage, { ...context, image: source }, memoryJournal());
}

describe('E23: a copy of an image', () => {
  it('keeps its content when the source is deregistered and its blob swept', async () => {
    const context = await copying('content');
    const sourceBlob = (await loadImage(context.db, sourceOf(context)))?.blobId ?? '';
    expect(await runFlow(copyImage, context, memoryJournal())).toMatchObject({ done: true });
    await deregister(context);
    const later = { ...clock, now: () => clock.now() + 3_600_000, date: () => new Date(clock.now() + 3_600_000) };
    await sweepReleased({ ...context, clock: later, log });
    const copy = await loadImage(context.db, context.image.id);
    expect(copy).toMatchObject({ state: 'available', format: 'raw', sizeBytes: content.length, sha256: 'abc' });
    expect(await blobsOf(context)).toEqual([copy?.blobId]);
    expect(copy?.blobId).not.toBe(sourceBlob);
    expect((await buffer(await context.store.read(copy?.blobId ?? ''))).equals(content)).toBe(true);
  });

  it('fails with the reason when the source goes first, and takes its snapshots with it', async () => {
    const context = await copying('snapshot');
    await deregister(context);
    const result = await runFlow(copyImage, context, memoryJournal());
    expect(result).toMatchObject({ done: false, error: `the source image ${sourceOf(context)} was deregistered meanwhile` });
    await afterFailedCopy(context, { requestId: 'r' } as Operation, result.done ? '' : result.error);
    expect(await loadImage(context.db, context.image.id)).toMatchObject({ state: 'failed', devices: [], stateReason: expect.stringContaining('deregistered') });
    const [snapshotId = ''] = context.input['snapshotIds'] as string[];
    expect(await context.db.select({ state: snapshots.state }).from(snapshots).where(eq(snapshots.id, snapshotId))).toEqual([{ state: 'deleting' }]);
    expect(await context.db.select({ owner: operations.owner }).from(operations).where(eq(operations.resourceId, snapshotId))).toEqual([{ owner: 'volume@h' }]);
  });

  it('comes to nothing when it is given up itself meanwhile', async () => {
    const context = await copying('content');
    await context.db.update(images).set({ state: 'deregistered' }).where(eq(images.id, context.image.id));
    expect(await runFlow(copyImage, context, memoryJournal())).toMatchObject({ done: false, error: 'the image was deregistered meanwhile' });
    expect(await blobsOf(context)).toHaveLength(1);
  });
});
