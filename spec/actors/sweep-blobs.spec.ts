// The sweeper of the object store: what it removes, and above all what it leaves.
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sweepBlobs, sweepReleased } from '../../src/actors/objectstore/sweep-blobs.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { images } from '../../src/db/schema/images.ts';
import { blobGarbage, multipartParts, multipartUploads } from '../../src/db/schema/objects.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { startS3, texts, type S3Fixture } from '../support/s3-server.ts';

const store = new MemoryStore({ clock: systemClock });
let s3: S3Fixture;
beforeAll(async () => {
  s3 = await startS3({ store });
  await s3.ask({ method: 'PUT', path: '/swept' });
});
afterAll(() => s3.close());

/** A sweep so many milliseconds from now. */
const depsIn = (delayMs: number) => {
  const clock: Clock = { ...systemClock, now: () => systemClock.now() + delayMs, date: () => new Date(systemClock.now() + delayMs) };
  return { db: s3.database.db, store, clock, log: silentLog };
};
const sweepIn = (delayMs: number) => sweepBlobs(depsIn(delayMs));

const minute = 60_000;
const day = 24 * 60 * minute;
const write = async (text: string) => (await store.write(Readable.from([Buffer.from(text)], { objectMode: false }))).blobId;
const isThere = (blobId: string) => store.size(blobId).then(() => true, () => false);

describe('the sweeper', () => {
  it('removes garbage after a minute, and what replaced it stays', async () => {
    await s3.ask({ method: 'PUT', path: '/swept/k', body: 'old' });
    await s3.ask({ method: 'PUT', path: '/swept/k', body: 'new' });
    const [garbage] = await s3.database.db.select().from(blobGarbage);
    expect(await sweepIn(minute / 2)).toMatchObject({ garbage: 0 });
    expect(await isThere(garbage?.blobId ?? '')).toBe(true);
    expect(await sweepIn(2 * minute)).toEqual({ garbage: 1, orphans: 0, temporaryFiles: 0, uploads: 0 });
    expect(await isThere(garbage?.blobId ?? '')).toBe(false);
    expect(await s3.database.db.select().from(blobGarbage)).toEqual([]);
    expect((await s3.ask({ method: 'GET', path: '/swept/k' })).body).toBe('new');
  });

  it('removes orphans after a day, and leaves what an object, a part or an image names', async () => {
    const [orphan, imageBlob] = [await write('orphan'), await write('image')];
    const now = systemClock.date();
    await s3.database.db.insert(images).values({
      id: 'ami-1', projectId: '111111111111', name: 'i', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available',
      rootDeviceName: '/dev/vda', virtualizationType: 'hvm', blobId: imageBlob, createdAt: now, stateChangedAt: now,
    });
    const begun = await s3.ask({ method: 'POST', path: '/swept/m?uploads' });
    await s3.ask({ method: 'PUT', path: `/swept/m?partNumber=1&uploadId=${texts(begun.body, 'UploadId')[0]}`, body: 'part' });
    expect(await sweepIn(day - minute)).toMatchObject({ orphans: 0 });
    await sweepReleased(depsIn(day + minute));
    expect(await isThere(orphan)).toBe(true);
    expect(await sweepIn(day + minute)).toMatchObject({ orphans: 1, uploads: 0 });
    const [part] = await s3.database.db.select().from(multipartParts);
    expect([await isThere(orphan), await isThere(imageBlob), await isThere(part?.blobId ?? '')]).toEqual([false, true, true]);
    expect((await s3.ask({ method: 'GET', path: '/swept/k' })).body).toBe('new');
  });

  it('leaves versions and what is copied of them, and takes what is deleted for good', async () => {
    await s3.ask({ method: 'PUT', path: '/kept' });
    await s3.ask({ method: 'PUT', path: '/kept?versioning', body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' });
    const first = (await s3.ask({ method: 'PUT', path: '/kept/k', body: 'one' })).headers['x-amz-version-id'];
    const second = (await s3.ask({ method: 'PUT', path: '/kept/k', body: 'two' })).headers['x-amz-version-id'];
    await s3.ask({ method: 'DELETE', path: '/kept/k' });
    await s3.ask({ method: 'PUT', path: '/kept/copy', headers: { 'x-amz-copy-source': `/kept/k?versionId=${first}` } });
    await s3.ask({ method: 'DELETE', path: `/kept/k?versionId=${first}` });
    await sweepIn(2 * day);
    const read = async (path: string) => (await s3.ask({ method: 'GET', path })).body;
    expect([await read('/kept/copy'), await read(`/kept/k?versionId=${second}`)]).toEqual(['one', 'two']);
    expect((await s3.ask({ method: 'GET', path: `/kept/k?versionId=${first}` })).status).toBe(404);
    expect(await s3.database.db.select().from(blobGarbage)).toEqual([]);
  });

  it('gives up uploads after a week', async () => {
    expect(await sweepIn(6 * day)).toMatchObject({ uploads: 0 });
    expect(await sweepIn(8 * day)).toMatchObject({ uploads: 1 });
    expect(await s3.database.db.select().from(multipartUploads)).toEqual([]);
    expect(await s3.database.db.select().from(blobGarbage)).toHaveLength(1);
    expect(await sweepIn(8 * day + 2 * minute)).toEqual({ garbage: 1, orphans: 0, temporaryFiles: 0, uploads: 0 });
  });
});
