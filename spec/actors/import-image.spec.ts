// Imports of images against the generic proof, over files and the drivers' own checks of headers; and how they fail, are cancelled, and are forgotten.
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { objectstoreActor } from '../../src/actors/objectstore/actor.ts';
import { afterFailedImport, importImage } from '../../src/actors/objectstore/import-image.ts';
import type { ImageContext } from '../../src/actors/objectstore/register-image.ts';
import type { ActorSystem } from '../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { insertBucket } from '../../src/db/buckets.ts';
import { cancelImport, loadImport, noteImport, sweepImports, type ImportSource } from '../../src/db/imports.ts';
import { insertImage, loadImage, type Image } from '../../src/db/image-work.ts';
import { putObject } from '../../src/db/objects.ts';
import { insertOperation, type Operation } from '../../src/db/operations.ts';
import { images, importTasks, operations, projects, users } from '../../src/db/schema/all.ts';
import type { DiskDriver } from '../../src/drivers/disk/driver.ts';
import { createFakeDisk } from '../../src/drivers/disk/fake.ts';
import { isEncrypted, type ObjectStoreDriver } from '../../src/drivers/objectstore/driver.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { DriverError } from '../../src/lib/errors.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { newId, newProjectId } from '../../src/lib/ids.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';
import { vdiHeader, vhdImage, vmdkHeader } from '../support/foreign-images.ts';
import { newSealer } from '../support/new-sealer.ts';
import { qcow2Header } from '../support/qcow2-image.ts';

let database: TestDatabase;
let folder: string;
let store: ObjectStoreDriver;
const projectId = newProjectId();
beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'imports-'));
  store = await openFilesystemStore({ folder, sealer: newSealer() });
  await database.db.insert(users).values({ id: 'u', name: 'joe', createdAt: clock.date() });
  await database.db.insert(projects).values({ id: projectId, name: 'joe', description: '', managerId: 'u', createdAt: clock.date() });
  await insertBucket(database.db, { name: 'bucket', projectId, acl: 'private', createdAt: clock.date() });
});
afterAll(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

interface Wish {
  readonly format?: string;
  readonly type?: Image['type'];
  readonly source?: ImportSource;
  readonly disk?: DiskDriver;
  readonly virtualSizeBytesMax?: number;
  /** At rest. */
  readonly isEncrypted?: boolean;
}

async function wished(content: Buffer, wish: Wish = {}): Promise<ImageContext> {
  const { db } = database;
  const id = newId('ami');
  const taskId = newId('import-ami');
  const { blobId, sizeBytes, md5 } = await store.write(Readable.from([content]), { isEncrypted: wish.isEncrypted ?? false });
  await putObject(db, {
    bucket: 'bucket', key: id, blobId, sizeBytes, etag: md5, headers: {}, metadata: {}, checksums: {}, projectId, acl: 'private', modifiedAt: clock.date(),
  });
  await insertImage(db, {
    id, projectId, name: id, description: '', type: wish.type ?? 'machine', location: `bucket/${id}`, isPublic: false, kernelId: null, ramdiskId: null,
  }, clock.date());
  const source = wish.source ?? { kind: 'object', bucket: 'bucket', key: id };
  await db.insert(importTasks).values({
    id: taskId, projectId, userId: 'u', imageId: id, description: '', source, architecture: 'x86_64', state: 'active', stage: 'waiting',
    createdAt: clock.date(), changedAt: clock.date(),
  });
  const image = await loadImage(db, id);
  if (image === undefined) throw new Error('no image');
  return {
    db, clock, store, disk: wish.disk ?? createFakeDisk(), image, input: { taskId, source, format: wish.format ?? null },
    limits: { virtualSizeBytesMax: wish.virtualSizeBytesMax ?? 2 ** 30, bootFileBytesMax: 1e6, inspectMs: 1_000 },
    decrypt: () => Promise.reject(new Error('nothing is encrypted')),
  };
}

async function blobs(): Promise<number> {
  let count = 0;
  for await (const _ of store.list({ changedBefore: new Date(clock.now() + 1e6) })) count += 1;
  return count;
}

/** Works until it is told to end, which may have been before. */
const untilAborted = (signal: AbortSignal) => new Promise<never>((_resolve, reject) => {
  const end = () => reject(signal.reason as Error);
  if (signal.aborted) end();
  else signal.addEventListener('abort', end, { once: true });
});

const taskOf = (context: ImageContext) => loadImport(context.db, String(context.input['taskId']));
const temporaryFiles = () => readdir(join(folder, 'tmp'));

async function outcome(context: ImageContext) {
  const before = await blobs();
  const result = await runFlow(importImage, context, memoryJournal());
  if (!result.done) await afterFailedImport(context, {} as Operation, result.error);
  const { state, reason, stage, format, virtualSizeBytes } = (await taskOf(context)) ?? {};
  const image = await loadImage(context.db, context.image.id);
  return {
    task: { state, reason, stage, format, virtualSizeBytes }, more: (await blobs()) - before, left: await temporaryFiles(),
    image: { state: image?.state, stateReason: image?.stateReason, format: image?.format, virtualSizeBytes: image?.virtualSizeBytes, blobId: image?.blobId },
  };
}

const world = (context: ImageContext): World<ImageContext> => ({
  context,
  async snapshot() {
    const { state, sha256, sizeBytes, format, blobId } = (await loadImage(database.db, context.image.id)) ?? {};
    const hasBlob = blobId === null || blobId === undefined ? false : await store.size(blobId).then(() => true, () => false);
    return { image: { state, sha256, sizeBytes, format }, hasBlob, task: (await taskOf(context))?.state, left: await temporaryFiles() };
  },
  close: async () => undefined,
});

describe('image.import of a disk that is converted', () => checkFlow(importImage, async () => world(await wished(vmdkHeader(), { format: 'vmdk' }))));
describe('image.import of a disk that is taken as it is', () => checkFlow(importImage, async () => world(await wished(qcow2Header()))));

describe('image.import of an encrypted object', () =>
  checkFlow(importImage, async () => world(await wished(vmdkHeader(), { format: 'vmdk', isEncrypted: true }))));

describe('E23: an import', () => {
  it.each([['qcow2', qcow2Header()], ['vmdk', vmdkHeader()]])('makes of an encrypted object of %s an image that is not', async (format, content) => {
    const found = await outcome(await wished(content, { isEncrypted: true }));
    expect(found).toMatchObject({ task: { state: 'completed', reason: null, format }, more: 1, left: [], image: { state: 'available', format: 'qcow2' } });
    expect(isEncrypted(found.image.blobId ?? '')).toBe(false);
  });

  it.each([
    ['raw', Buffer.alloc(2 ** 20), 'raw'], ['qcow2', qcow2Header(), 'qcow2'], ['vmdk', vmdkHeader(), 'qcow2'], ['vdi', vdiHeader(), 'qcow2'],
    ['vhd', vhdImage(), 'qcow2'],
  ])('makes an image of %s, known by its content or by its name, and leaves one blob', async (format, content, kept) => {
    for (const said of [format, undefined]) {
      const found = await outcome(await wished(content, said === undefined ? {} : { format: said }));
      expect(found).toMatchObject({
        task: { state: 'completed', reason: null, format, virtualSizeBytes: 2 ** 20 }, more: 1, left: [],
        image: { state: 'available', format: kept, virtualSizeBytes: 2 ** 20 },
      });
    }
  });

  it('takes a kernel as it is, whatever it is packed with', async () => {
    const found = await outcome(await wished(Buffer.from('1f8b0800', 'hex'), { type: 'kernel' }));
    expect(found).toMatchObject({ task: { state: 'completed' }, image: { state: 'available', format: 'raw' }, more: 1 });
  });

  it('takes a file of the objectstore\'s host, and no link, folder or missing one', async () => {
    const path = join(folder, 'disk.vmdk');
    await writeFile(path, vmdkHeader());
    await symlink(path, join(folder, 'link'));
    const from = async (file: string) => outcome(await wished(Buffer.alloc(512), { source: { kind: 'file', path: file } }));
    expect(await from(path)).toMatchObject({ task: { state: 'completed', format: 'vmdk' }, image: { state: 'available' }, more: 1, left: [] });
    const refused = [[join(folder, 'link'), 'not a regular file'], [folder, 'not a regular file'], [join(folder, 'absent'), 'ENOENT']] as const;
    for (const [file, reason] of refused) {
      expect(await from(file)).toMatchObject({ task: { state: 'deleted', reason: expect.stringContaining(reason) as string }, more: 0, left: [] });
    }
  });

  it.each([
    ['a disk that is another kind', vdiHeader(), { format: 'vmdk' }, 'it is vdi, and not vmdk as was said'],
    ['one that stands on another file', qcow2Header({ backingFile: '/etc/shadow' }), {}, 'backing file'],
    ['one that names files of the host', vmdkHeader({ hasSize: false }), { format: 'vmdk' }, 'in other files'],
    ['one that is too large', vmdkHeader({ sizeBytes: 2 ** 40 }), {}, 'more than the 1073741824 allowed'],
    ['a file that is too large', Buffer.alloc(70 * 2 ** 20), { virtualSizeBytesMax: 512 }, 'the file has'],
    ['an object that is gone', Buffer.alloc(512), { source: { kind: 'object', bucket: 'bucket', key: 'gone' } as const }, 'does not exist any more'],
  ])('fails with the reason, and leaves nothing: %s', async (_, content, wish, reason) => {
    const found = await outcome(await wished(content, wish));
    const because = expect.stringContaining(reason) as string;
    expect(found).toMatchObject({
      task: { state: 'deleted', reason: because }, image: { state: 'failed', stateReason: because, blobId: null }, more: 0, left: [],
    });
  });

  it('fails when the tool does, and leaves nothing of what that has written', async () => {
    const disk: DiskDriver = {
      ...createFakeDisk(),
      async convert({ to }) {
        await writeFile(to, 'half');
        throw new DriverError('failed', 'qemu-img convert: it ran out of its limits');
      },
    };
    const found = await outcome(await wished(vmdkHeader(), { disk }));
    expect(found).toMatchObject({ task: { state: 'deleted', reason: 'qemu-img convert: it ran out of its limits' }, more: 0, left: [] });
  });

  it('says how far it has come, and ends in the midst of a stage when it is cancelled', async () => {
    const seen: unknown[] = [];
    let context: ImageContext | undefined;
    const disk: DiskDriver = {
      ...createFakeDisk(),
      async convert(_conversion, { signal, onProgress }) {
        if (context === undefined) throw new Error('no context');
        onProgress(0.5);
        await expect.poll(async () => (await loadImport(database.db, String(context?.input['taskId'])))?.bytesDone, { timeout: 40_000 }).toBe(2 ** 19);
        seen.push(await taskOf(context));
        expect(await cancelImport(database.db, { id: String(context.input['taskId']), reason: 'changed my mind' }, clock.date())).toBe('active');
        return untilAborted(signal);
      },
    };
    context = await wished(vmdkHeader(), { disk });
    const found = await outcome(context);
    expect(seen).toMatchObject([{ state: 'active', stage: 'converting', bytesDone: 2 ** 19, bytesTotal: 2 ** 20, format: 'vmdk', virtualSizeBytes: 2 ** 20 }]);
    expect(found).toMatchObject({ task: { state: 'deleted', reason: 'changed my mind' }, image: { state: 'deregistered', blobId: null }, more: 0, left: [] });
    expect(await cancelImport(database.db, { id: String(context.input['taskId']), reason: 'again' }, clock.date())).toBe('deleted');
  });

  it('that a process leaves in the midst of a conversion is finished by the next one, and nothing of the first is left', async () => {
    let converts = 0;
    const disk: DiskDriver = {
      ...createFakeDisk(),
      async convert(conversion, watch) {
        converts += 1;
        if (converts > 1) return createFakeDisk().convert(conversion, watch);
        await writeFile(conversion.to, 'half');
        return untilAborted(watch.signal);
      },
    };
    const context = await wished(vmdkHeader(), { disk });
    const before = await blobs();
    await insertOperation(context.db, {
      kind: 'image.import', resourceId: context.image.id, projectId, userId: 'u', requestId: 'r', input: { ...context.input }, owner: 'objectstore',
      deadline: new Date(clock.now() + 3_600_000),
    }, clock.date());
    const starts: ActorSystem[] = [];
    const start = (epoch: number): void => {
      const system = createActorSystem({ name: newId('op'), clock, log: silentLog, onFatal: (error) => { throw error; } });
      const never = { intervalMs: 3_600_000, run: async () => undefined };
      system.spawn(objectstoreActor, 'objectstore', {
        ...context, log: silentLog, system, owner: { name: 'objectstore', epoch }, sweepIntervalMs: 100, sweepReleased: never, expireObjects: never,
        sweepOrphans: never, sweepImages: never,
      });
      starts.push(system);
    };
    start(1);
    await expect.poll(() => converts, { timeout: 40_000 }).toBe(1);
    await expect.poll(() => temporaryFiles(), { timeout: 40_000 }).toHaveLength(1);
    await starts[0]?.stop(5_000);
    expect(await taskOf(context)).toMatchObject({ state: 'active', stage: 'converting' });
    start(2);
    await expect.poll(async () => (await taskOf(context))?.state, { timeout: 40_000 }).toBe('completed');
    await starts[1]?.stop(5_000);
    expect(await loadImage(context.db, context.image.id)).toMatchObject({ state: 'available', format: 'qcow2', virtualSizeBytes: 2 ** 20 });
    expect([converts, (await blobs()) - before, await temporaryFiles()]).toEqual([2, 1, []]);
  });

  it('is not begun when it was cancelled before, and cannot be cancelled when it is done', async () => {
    const cancelled = await wished(vmdkHeader());
    await cancelImport(database.db, { id: String(cancelled.input['taskId']), reason: 'no' }, clock.date());
    expect(await outcome(cancelled)).toMatchObject({ task: { state: 'deleted', reason: 'no' }, image: { state: 'deregistered' }, more: 0 });
    const done = await wished(vmdkHeader());
    await outcome(done);
    expect(await cancelImport(database.db, { id: String(done.input['taskId']), reason: 'late' }, clock.date())).toBe('completed');
    expect(await loadImage(database.db, done.image.id)).toMatchObject({ state: 'available' });
  });

  it('of an image that is given up meanwhile is not published, nor left', async () => {
    const context = await wished(vmdkHeader());
    await database.db.update(images).set({ state: 'deregistered' }).where(eq(images.id, context.image.id));
    expect(await outcome(context)).toMatchObject({ task: { state: 'deleted' }, image: { state: 'deregistered', blobId: null }, more: 0, left: [] });
  });

  it('ends when nobody works on it any more, and is forgotten seven days after its end', async () => {
    const { db } = database;
    const [worked, abandoned] = [await wished(vmdkHeader()), await wished(vmdkHeader())];
    const idOf = (context: ImageContext) => String(context.input['taskId']);
    await insertOperation(db, {
      kind: 'image.import', resourceId: worked.image.id, projectId, userId: 'u', requestId: 'r', owner: 'objectstore',
      deadline: new Date(clock.now() + 3_600_000),
    }, clock.date());
    const at = (ms: number) => new Date(clock.now() + ms);
    expect(await sweepImports(db, at(5 * 60_000))).toEqual([]);
    expect(await sweepImports(db, at(11 * 60_000))).toContain(idOf(abandoned));
    expect(await taskOf(abandoned)).toMatchObject({ state: 'deleted', reason: 'not done within its time' });
    expect(await taskOf(worked)).toMatchObject({ state: 'active' });
    expect(await noteImport(db, idOf(abandoned), { stage: 'checking', bytesDone: 1, bytesTotal: 2 }, clock.date())).toBe(false);
    await sweepImports(db, at(6 * 24 * 3_600_000));
    expect(await taskOf(abandoned)).toBeDefined();
    await sweepImports(db, at(8 * 24 * 3_600_000));
    expect(await taskOf(abandoned)).toBeUndefined();
    await db.delete(operations).where(eq(operations.resourceId, worked.image.id));
  });
});
