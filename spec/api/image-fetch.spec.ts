// The way of an image from the objectstore to a compute host: the driver that compute uses, against the S3 server, over a line that breaks.
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { images } from '../../src/db/schema/images.ts';
import { createHttpImageSource } from '../../src/drivers/image-source/http.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startS3, type S3Fixture } from '../support/s3-server.ts';

const content = randomBytes(300_000);
const sha256 = createHash('sha256').update(content).digest('hex');
const id = 'ami-0123456789abcdef0';
const wanted = { id, sizeBytes: content.length, sha256 };
let s3: S3Fixture;
let line: Server;
let folder: string;
/** What the line lets through of each answer to come, in bytes; all, when there is nothing here. */
let cuts: number[];
/** The `range` of each request. */
let ranges: (string | undefined)[];

beforeAll(async () => {
  s3 = await startS3();
  const { blobId } = await s3.store.write(Readable.from([content], { objectMode: false }));
  const now = systemClock.date();
  await s3.database.db.insert(images).values({
    id, projectId: '111111111111', name: 'i', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available', rootDeviceName: '/dev/vda',
    virtualizationType: 'hvm', sha256, blobId, createdAt: now, stateChangedAt: now,
  });
  line = createServer((asked, answer) => {
    ranges.push(asked.headers.range);
    let left = cuts.shift() ?? Infinity;
    request({ host: '127.0.0.1', port: s3.port, path: asked.url, headers: asked.headers }, (got) => {
      answer.writeHead(got.statusCode ?? 500, got.headers);
      got.on('data', (chunk: Buffer) => {
        if (left <= 0) return;
        const last = chunk.length >= left;
        answer.write(chunk.subarray(0, Math.min(chunk.length, left)), () => last && answer.destroy());
        left -= chunk.length;
      }).on('end', () => left > 0 && answer.end());
    }).end();
  });
  line.listen(0, '127.0.0.1');
  await once(line, 'listening');
});
afterAll(async () => {
  line.close();
  line.closeAllConnections();
  await s3.close();
});
beforeEach(async () => {
  [cuts, ranges] = [[], []];
  folder = await mkdtemp(join(tmpdir(), 'image-fetch-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const fetchAs = (project: string | undefined, image = wanted) => createHttpImageSource({
  clock: systemClock, stallMs: 60_000, url: (imageId) => `http://127.0.0.1:${(line.address() as AddressInfo).port}/_novact/images/${imageId}`,
  sign: async () => (project === undefined ? {} : { 'x-spec-project': project }),
}).fetch(image, join(folder, 'image'), new AbortController().signal);

describe('S11: an image that a compute host fetches', () => {
  it('goes on where the line broke, and is there only when it is whole', async () => {
    cuts = [100_000, 50_000];
    await fetchAs('system');
    // What had come and was not read when the line broke comes again.
    const [first = 0, second = 0, third = 0, ...more] = ranges.map((range) => Number(/^bytes=(\d+)-$/.exec(range ?? 'bytes=0-')?.[1]));
    expect([first, more]).toEqual([0, []]);
    expect(second).toBeLessThanOrEqual(100_000);
    expect(third).toBeGreaterThan(second);
    expect(third).toBeLessThanOrEqual(second + 50_000);
    expect((await readFile(join(folder, 'image'))).equals(content)).toBe(true);
    expect(await readdir(folder)).toEqual(['image']);
  });

  it('is held against its checksum, and leaves nothing when that is another', async () => {
    await expect(fetchAs('system', { ...wanted, sha256: 'ab'.repeat(32) })).rejects.toThrow('wrong checksum');
    expect(await readdir(folder)).toEqual([]);
  });

  it.each(['one', 'two', 'admin', 'liar', undefined])('is given to novact alone, not to %s', async (project) => {
    await expect(fetchAs(project)).rejects.toThrow('the objectstore answered 403');
    expect(await readdir(folder)).toEqual([]);
  }, 90_000);
});
