// Many clients at once: whatever the order, every blob is named by exactly one thing, and nothing is lost or half there.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { knownBlobs } from '../../src/db/blobs.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { blobGarbage, objects } from '../../src/db/schema/objects.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startS3, texts, type S3Fixture } from '../support/s3-server.ts';

const store = new MemoryStore({ clock: systemClock });
let s3: S3Fixture;
beforeAll(async () => {
  s3 = await startS3({ store });
  await s3.ask({ method: 'PUT', path: '/races' });
});
afterAll(() => s3.close());

async function expectNothingLost(): Promise<void> {
  const blobIds: string[] = [];
  for await (const blobId of store.list({ changedBefore: new Date(systemClock.now() + 60_000) })) blobIds.push(blobId);
  expect((await knownBlobs(s3.database.db, blobIds)).size).toBe(blobIds.length);
  const live = (await s3.database.db.select().from(objects)).map((row) => row.blobId);
  const garbage = new Set((await s3.database.db.select().from(blobGarbage)).map((row) => row.blobId));
  expect(live.filter((blobId) => garbage.has(blobId) || !blobIds.includes(blobId))).toEqual([]);
}

const times = (count: number) => Array.from({ length: count }, (_, index) => index);

describe('at the same time', () => {
  it('puts, copies and deletions of the same keys leave no orphan', async () => {
    const replies = await Promise.all(times(60).map((index) => {
      const path = `/races/k${index % 3}`;
      if (index % 5 === 4) return s3.ask({ method: 'DELETE', path });
      if (index % 5 === 3) return s3.ask({ method: 'PUT', path, headers: { 'x-amz-copy-source': `/races/k${(index + 1) % 3}` } });
      if (index % 5 === 2) {
        const keys = index % 2 === 0 ? ['k0', 'k1', 'k2'] : ['k2', 'k1', 'k0'];
        return s3.ask({ method: 'POST', path: '/races?delete', body: `<Delete>${keys.map((key) => `<Object><Key>${key}</Key></Object>`).join('')}</Delete>` });
      }
      return s3.ask({ method: 'PUT', path, body: `content ${index}` });
    }));
    expect(replies.filter((reply) => reply.status >= 500)).toEqual([]);
    await expectNothingLost();
  });

  it('one of many conditional puts wins', async () => {
    const replies = await Promise.all(times(10).map((index) => s3.ask({ method: 'PUT', path: '/races/once', body: `${index}`,
      headers: { 'if-none-match': '*' } })));
    expect(replies.map((reply) => reply.status).toSorted()).toEqual([200, ...times(9).map(() => 412)]);
    const winner = replies.findIndex((reply) => reply.status === 200);
    expect((await s3.ask({ method: 'GET', path: '/races/once' })).body).toBe(`${winner}`);
    await expectNothingLost();
  });

  it('a part uploaded, completed and aborted ends one way', async () => {
    for (const round of times(5)) {
      const path = `/races/m${round}`;
      const id = texts((await s3.ask({ method: 'POST', path: `${path}?uploads` })).body, 'UploadId')[0];
      const etag = (await s3.ask({ method: 'PUT', path: `${path}?partNumber=1&uploadId=${id}`, body: 'x' })).headers.etag ?? '';
      const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`;
      const replies = await Promise.all([
        s3.ask({ method: 'POST', path: `${path}?uploadId=${id}`, body }), s3.ask({ method: 'POST', path: `${path}?uploadId=${id}`, body }),
        s3.ask({ method: 'DELETE', path: `${path}?uploadId=${id}` }), s3.ask({ method: 'PUT', path: `${path}?partNumber=1&uploadId=${id}`, body: 'x' }),
      ]);
      expect(replies.filter((reply) => reply.status >= 500)).toEqual([]);
      await s3.ask({ method: 'DELETE', path: `${path}?uploadId=${id}` });
    }
    await expectNothingLost();
  });

  it('a bucket is deleted or gets its object, never both', async () => {
    for (const round of times(5)) {
      const path = `/vanishing-${round}`;
      await s3.ask({ method: 'PUT', path });
      const id = texts((await s3.ask({ method: 'POST', path: `${path}/m?uploads` })).body, 'UploadId')[0];
      await s3.ask({ method: 'PUT', path: `${path}/m?partNumber=1&uploadId=${id}`, body: 'x' });
      const [deleted, put, aborted] = await Promise.all([
        s3.ask({ method: 'DELETE', path }), s3.ask({ method: 'PUT', path: `${path}/k`, body: 'x' }),
          s3.ask({ method: 'DELETE', path: `${path}/m?uploadId=${id}` }),
      ]);
      expect([[204, 404], [409, 200]]).toContainEqual([deleted.status, put.status]);
      expect(aborted.status).toBeLessThan(500);
    }
    await expectNothingLost();
  });
});
