// Buckets and bytes that a project may have at most: of many requests at once none passes the limit, and what was refused leaves nothing.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { bytesUsed } from '../../src/db/project-bytes.ts';
import { clearLimit, setLimit } from '../../src/db/quotas.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { projectBytes } from '../../src/db/schema/objects.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { code, projectIds, startS3, texts, type Ask, type Reply, type S3Fixture } from '../support/s3-server.ts';

const one = projectIds['one'] ?? '';
const store = new MemoryStore({ clock: systemClock });
let s3: S3Fixture;
let bucket: string;
let buckets = 0;
beforeAll(async () => {
  s3 = await startS3({ store, quotas: { buckets: 20, bytes: 10_000 } });
});
beforeEach(async () => {
  bucket = `quotas-${(buckets += 1)}`;
  await s3.ask({ method: 'PUT', path: `/${bucket}` });
});
afterAll(() => s3.close());

const put = (key: string, sizeBytes: number, more: Partial<Ask> = {}) =>
  s3.ask({ method: 'PUT', path: `/${bucket}/${key}`, body: Buffer.alloc(sizeBytes), ...more });

async function blobsKept(): Promise<number> {
  const ids: string[] = [];
  for await (const id of store.list({ changedBefore: new Date(systemClock.now() + 60_000) })) ids.push(id);
  return ids.length;
}

async function empty(): Promise<void> {
  const keys = texts((await s3.ask({ method: 'GET', path: `/${bucket}` })).body, 'Key');
  for (const key of keys) await s3.ask({ method: 'DELETE', path: `/${bucket}/${key}` });
  expect(await bytesUsed(s3.database.db, one)).toBe(0);
}

/** How often each code is the answer to fifty at once. */
async function fifty(ask: (number: number) => Promise<Reply>): Promise<Record<string, number>> {
  const codes = await Promise.all(Array.from({ length: 50 }, async (_, number) => code(await ask(number))));
  return Object.fromEntries([...new Set(codes)].toSorted().map((each) => [each, codes.filter((other) => other === each).length]));
}

it('G3: of fifty buckets made at once as many are made as the project may have', async () => {
  const left = 20 - buckets;
  expect(await fifty((number) => s3.ask({ method: 'PUT', path: `/many-${number}` }))).toEqual({ 200: left, '400 TooManyBuckets': 50 - left });
  expect(code(await s3.ask({ method: 'PUT', path: `/${bucket}` }))).toBe('409 BucketAlreadyOwnedByYou');
  await setLimit(s3.database.db, one, 'buckets', 25);
  expect(await fifty((number) => s3.ask({ method: 'PUT', path: `/more-${number}` }))).toEqual({ 200: 5, '400 TooManyBuckets': 45 });
  await setLimit(s3.database.db, one, 'buckets', 1_000);
});

it('G3, S12: of fifty puts at once as many are stored as there is room for, the others leave nothing, and what is deleted gives its room back', async () => {
  const before = await blobsKept();
  expect(await fifty((number) => put(`k${number}`, 600))).toEqual({ 200: 16, '403 QuotaExceeded': 34 });
  expect([await bytesUsed(s3.database.db, one), (await blobsKept()) - before]).toEqual([9_600, 16]);
  expect(texts((await s3.ask({ method: 'GET', path: `/${bucket}` })).body, 'Key')).toHaveLength(16);
  const [kept = ''] = texts((await s3.ask({ method: 'GET', path: `/${bucket}` })).body, 'Key');
  expect([code(await put('more', 401)), code(await put(kept, 1_000)), code(await put(kept, 1))]).toEqual(['403 QuotaExceeded', '200', '200']);
  expect(code(await put('more', 999))).toBe('200');
  expect(code(await s3.ask({ method: 'PUT', path: `/${bucket}/copy`, headers: { 'x-amz-copy-source': `/${bucket}/more` } }))).toBe('403 QuotaExceeded');
  await empty();
  expect(await fifty((number) => put(`k${number}`, 600))).toEqual({ 200: 16, '403 QuotaExceeded': 34 });
  await empty();
}, 120_000);

it('G3: a project\'s own limit holds from its next request on, and without one nothing is counted', async () => {
  await setLimit(s3.database.db, one, 'bytes', 100);
  expect([code(await put('small', 100)), code(await put('one-more', 1)), code(await put('none', 0))]).toEqual(['200', '403 QuotaExceeded', '200']);
  await setLimit(s3.database.db, one, 'bytes', Number.MAX_SAFE_INTEGER);
  await s3.database.db.delete(projectBytes);
  expect(await fifty((number) => put(`k${number}`, 1_000))).toEqual({ 200: 50 });
  expect(await s3.database.db.select().from(projectBytes)).toEqual([]);
  await clearLimit(s3.database.db, one, 'bytes');
  expect(code(await put('after', 1))).toBe('403 QuotaExceeded');
  await empty();
});

it('G3: versions and parts of uploads count too, and a completed upload no more than its parts', async () => {
  const enabled = '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>';
  await s3.ask({ method: 'PUT', path: `/${bucket}?versioning`, body: enabled });
  expect([code(await put('k', 4_000)), code(await put('k', 4_000)), code(await put('k', 4_000))]).toEqual(['200', '200', '403 QuotaExceeded']);
  const [uploadId] = texts((await s3.ask({ method: 'POST', path: `/${bucket}/parts?uploads` })).body, 'UploadId');
  const part = (number: number, sizeBytes: number) =>
    s3.ask({ method: 'PUT', path: `/${bucket}/parts?partNumber=${number}&uploadId=${uploadId}`, body: Buffer.alloc(sizeBytes) });
  const kept = await part(1, 2_000);
  expect([code(kept), code(await part(2, 1))]).toEqual(['200', '403 QuotaExceeded']);
  const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${kept.headers.etag}</ETag></Part></CompleteMultipartUpload>`;
  expect(code(await s3.ask({ method: 'POST', path: `/${bucket}/parts?uploadId=${uploadId}`, body }))).toBe('200');
  expect(await bytesUsed(s3.database.db, one)).toBe(10_000);
});
