// Registration of images against the generic proof, and over the objectstore's actor tree.
import { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { objectstoreActor } from '../../src/actors/objectstore/actor.ts';
import { deregisterImage, registerImage, type ImageContext } from '../../src/actors/objectstore/register-image.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { insertBucket } from '../../src/db/buckets.ts';
import { insertImage, loadImage } from '../../src/db/image-work.ts';
import { putObject } from '../../src/db/objects.ts';
import { insertOperation } from '../../src/db/operations.ts';
import { blobGarbage, operations, projects, users } from '../../src/db/schema/all.ts';
import type { DiskDriver } from '../../src/drivers/disk/driver.ts';
import { createMemoryDisk } from '../../src/drivers/disk/memory.ts';
import { isEncrypted as idIsEncrypted } from '../../src/drivers/objectstore/driver.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { newId, newProjectId } from '../../src/lib/ids.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';
import { eventually } from '../support/waiting.ts';

let database: TestDatabase;
const projectId = newProjectId();
beforeAll(async () => {
  database = await createTestDatabase();
  await database.db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
  await database.db.insert(projects).values({ id: projectId, name: 'joe', description: '', managerId: 'u', createdAt: clock.date() });
  await insertBucket(database.db, { name: 'bucket', projectId, acl: 'private', createdAt: clock.date() });
});
afterAll(() => database.close());

const content = 'not really a disk';
const inspecting = (fault?: DriverError): DiskDriver => ({
  ...createMemoryDisk(() => undefined),
  async inspect() {
    if (fault !== undefined) throw fault;
    return { format: 'raw', sizeBytes: content.length, virtualSizeBytes: content.length };
  },
});

/** The inspecting double needs no file, only a name for one. */
class NamedMemoryStore extends MemoryStore {
  override path(blobId: string): string {
    if (idIsEncrypted(blobId)) throw new Error('a tool would get what is encrypted');
    return `/blobs/${blobId}`;
  }
}

const limits = { virtualSizeBytesMax: 1e9, bootFileBytesMax: 1e6, inspectMs: 1_000 };

async function pending(options: { disk?: DiskDriver; type?: 'machine' | 'kernel'; isEncrypted?: boolean } = {}): Promise<ImageContext> {
  const { db } = database;
  const store = new NamedMemoryStore({ clock });
  const blob = await store.write(Readable.from([Buffer.from(content)]), { isEncrypted: options.isEncrypted ?? false });
  const id = newId('ami');
  await putObject(db, {
    bucket: 'bucket', key: id, blobId: blob.blobId, sizeBytes: blob.sizeBytes, etag: blob.md5, headers: {}, metadata: {}, checksums: {},
    projectId, acl: 'private',
    modifiedAt: clock.date(),
  });
  await insertImage(db, {
    id, projectId, name: id, description: '', type: options.type ?? 'machine', location: `bucket/${id}`, isPublic: false, kernelId: null, ramdiskId: null,
  }, clock.date());
  const image = await loadImage(db, id);
  if (image === undefined) throw new Error('no image');
  return { db, clock, store, disk: options.disk ?? inspecting(), image, input: { bucket: 'bucket', key: id }, limits,
    decrypt: () => Promise.reject(new Error('nothing is encrypted')) };
}

/** Blob ids are random: what counts is how many there are, and whether the image's is one of them. */
const world = (context: ImageContext): World<ImageContext> => ({
  context,
  async snapshot() {
    const image = await loadImage(database.db, context.image.id);
    const blobs: string[] = [];
    for await (const blobId of context.store.list({ changedBefore: new Date(clock.now() + 1e6) })) blobs.push(blobId);
    const garbage = (await database.db.select().from(blobGarbage)).filter((row) => blobs.includes(row.blobId));
    return { state: image?.state, sha256: image?.sha256, hasBlob: blobs.includes(image?.blobId ?? ''), garbage: garbage.length };
  },
  close: async () => undefined,
});

describe('image.register', () => checkFlow(registerImage, async () => world(await pending())));

describe('image.register of an encrypted object', () => checkFlow(registerImage, async () => world(await pending({ isEncrypted: true }))));

describe('image.deregister', () =>
  checkFlow(deregisterImage, async () => {
    const context = await pending();
    await runFlow(registerImage, context, memoryJournal());
    return world(context);
  }, { undoable: false }));

describe('the objectstore', () => {
  async function register(context: ImageContext) {
    const system = createActorSystem({ name: newId('op'), clock, log, onFatal: (error) => { throw error; } });
    await insertOperation(context.db, {
      kind: 'image.register', resourceId: context.image.id, projectId, userId: 'u', requestId: 'r', input: { ...context.input },
      owner: 'objectstore',
      deadline: new Date(clock.now() + 60_000),
    }, clock.date());
    system.spawn(objectstoreActor, 'objectstore', {
      ...context, log, system, owner: { name: 'objectstore', epoch: 1 }, sweepIntervalMs: 60_000,
      sweepReleased: { intervalMs: 60_000, run: async () => undefined }, expireObjects: { intervalMs: 60_000, run: async () => undefined },
      sweepOrphans: { intervalMs: 60_000, run: async () => undefined }, sweepImages: { intervalMs: 60_000, run: async () => undefined },
    });
    await eventually(async () => (await loadImage(context.db, context.image.id))?.state !== 'pending');
    await eventually(async () => {
      const rows = await context.db.select().from(operations).where(eq(operations.resourceId, context.image.id));
      return rows.every((row) => row.state === 'done' || row.state === 'failed');
    });
    await system.stop(1_000);
    return loadImage(context.db, context.image.id);
  }

  it('finds a waiting registration by itself, without a message', async () => {
    expect(await register(await pending())).toMatchObject({ state: 'available', format: 'raw', sizeBytes: content.length });
  });

  it('makes an image that is not encrypted of an object that is, and leaves nothing else', async () => {
    const context = await pending({ isEncrypted: true });
    const image = await register(context);
    expect(image).toMatchObject({ state: 'available', sizeBytes: content.length });
    const blobs: string[] = [];
    for await (const blobId of context.store.list({ changedBefore: new Date(clock.now() + 1e6) })) blobs.push(blobId);
    expect(blobs.filter((blobId) => !idIsEncrypted(blobId))).toEqual([image?.blobId]);
    expect(await text(await context.store.read(image?.blobId ?? ''))).toBe(content);
  });

  it('fails an image that is none, and leaves nothing of what was decrypted for it', async () => {
    const context = await pending({ isEncrypted: true, disk: inspecting(new DriverError('failed', 'it has a backing file')) });
    expect(await register(context)).toMatchObject({ state: 'failed', stateReason: 'it has a backing file', blobId: null });
    for await (const blobId of context.store.list({ changedBefore: new Date(clock.now() + 1e6) })) expect(idIsEncrypted(blobId)).toBe(true);
  });

  it('fails an image that is none, with the reason', async () => {
    const image = await register(await pending({ disk: inspecting(new DriverError('failed', 'it has a backing file')) }));
    expect(image).toMatchObject({ state: 'failed', stateReason: 'it has a backing file', blobId: null });
  });

  it('fails an image whose object is gone', async () => {
    const context = await pending();
    expect(await register({ ...context, input: { bucket: 'bucket', key: 'gone' } })).toMatchObject({ state: 'failed' });
  });

  it('refuses a kernel too large to be read into memory', async () => {
    const image = await register({ ...(await pending({ type: 'kernel' })), limits: { ...limits, bootFileBytesMax: 3 } });
    expect(image?.stateReason).toContain('too large for a kernel');
  });
});
