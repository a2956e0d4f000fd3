// How a compute host brings an image that it has made: its side and the objectstore's, over HTTP.
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { receiveImage } from '../../src/actors/objectstore/receive-image.ts';
import { failImage, insertImage, loadImage } from '../../src/db/image-work.ts';
import { createFakeDisk } from '../../src/drivers/disk/fake.ts';
import { createHttpImageSource } from '../../src/drivers/image-source/http.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { newSealer } from '../support/new-sealer.ts';
import { qcow2Header } from '../support/qcow2-image.ts';
import { projectIds, startS3, type S3Fixture } from '../support/s3-server.ts';

let folder: string;
let s3: S3Fixture;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'store-image-'));
  const limits = { virtualSizeBytesMax: 1, bootFileBytesMax: 1, inspectMs: 1_000 };
  s3 = await startS3({
    store: await openFilesystemStore({ folder: join(folder, 'objects'), sealer: newSealer() }),
    receive: (db, store) => (imageId, content) => receiveImage({ db, clock, store, disk: createFakeDisk(), limits }, imageId, content),
  });
});
afterAll(async () => {
  await s3?.close();
  await rm(folder, { recursive: true, force: true });
});

const never = new AbortController().signal;
const source = () => createHttpImageSource({
  clock, stallMs: 30_000, url: (imageId) => `http://127.0.0.1:${s3.port}/_novact/images/${imageId}`,
  sign: async (_url, payload) => ({ 'x-spec-project': 'system', 'x-amz-content-sha256': payload?.sha256 ?? '' }),
});

async function pendingImage(type: 'machine' | 'kernel' = 'machine'): Promise<string> {
  const id = newId(type === 'machine' ? 'ami' : 'aki');
  await insertImage(s3.database.db, {
    id, projectId: projectIds['one'] ?? '', name: id, description: '', type, location: id, isPublic: false, kernelId: null, ramdiskId: null,
  }, clock.date());
  return id;
}
const imageOf = (id: string) => loadImage(s3.database.db, id);

async function fileOf(content: Buffer): Promise<{ path: string; sha256: string }> {
  const path = join(folder, newId('ami'));
  await writeFile(path, content);
  return { path, sha256: createHash('sha256').update(content).digest('hex') };
}
const disk = (sizeBytes: number) => Buffer.concat([qcow2Header({ sizeBytes }), Buffer.alloc(100_000, sizeBytes % 251)]);

async function blobs(): Promise<number> {
  const found: string[] = [];
  for await (const blobId of s3.store.list({ changedBefore: new Date(clock.now() + 60_000) })) found.push(blobId);
  return found.length;
}

describe('E24: an image that a compute host brings', () => {
  it('is kept with what it is, whatever the size of its disk, and waits to be said available', async () => {
    const id = await pendingImage();
    const { path, sha256 } = await fileOf(disk(2 ** 40));
    await source().store(id, path, never);
    const image = await imageOf(id);
    expect(image).toMatchObject({ state: 'pending', format: 'qcow2', virtualSizeBytes: 2 ** 40, sizeBytes: 100_000 + qcow2Header({}).length, sha256 });
    expect(await s3.store.size(image?.blobId ?? '')).toBe(image?.sizeBytes);
  });

  it('is kept once when it is brought again, and not replaced by another', async () => {
    const id = await pendingImage();
    const [first, other] = [await fileOf(disk(2 ** 20)), await fileOf(disk(2 ** 21))];
    await source().store(id, first.path, never);
    const before = [await imageOf(id), await blobs()];
    await source().store(id, first.path, never);
    await expect(source().store(id, other.path, never)).rejects.toMatchObject({ kind: 'notFound' });
    expect([await imageOf(id), await blobs()]).toEqual(before);
  });

  it('is not kept where none waits for it: no such image, a kernel, one that has failed', async () => {
    const { path } = await fileOf(disk(2 ** 20));
    const failed = await pendingImage();
    await failImage(s3.database.db, failed, 'given up', clock.date());
    const before = await blobs();
    for (const id of [newId('ami'), await pendingImage('kernel'), failed]) {
      await expect(source().store(id, path, never)).rejects.toMatchObject({ kind: 'notFound' });
    }
    expect(await blobs()).toBe(before);
  });

  it('is taken of novact alone, and only when it has the checksum that was signed', async () => {
    const id = await pendingImage();
    const { sha256 } = await fileOf(disk(2 ** 20));
    const before = await blobs();
    const put = (as: string, headers: Record<string, string>) =>
      s3.ask({ method: 'PUT', path: `/_novact/images/${id}`, as, headers, body: disk(2 ** 21) });
    for (const as of ['one', 'admin', 'none']) expect((await put(as, { 'x-amz-content-sha256': sha256 })).status).toBe(403);
    expect((await put('system', { 'x-amz-content-sha256': sha256 })).body).toContain('XAmzContentSHA256Mismatch');
    expect((await put('system', { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' })).body).toContain('InvalidArgument');
    expect(await imageOf(id)).toMatchObject({ state: 'pending', blobId: null });
    expect(await blobs()).toBe(before);
  });
});
