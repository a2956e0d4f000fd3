// One project reaches nothing of another's: every operation that is built, by a stranger and by nobody. The list is the product's own, so that
// an operation that is added is tried.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtOperations, routeOf, subResources, type OperationSample } from '../../src/api/s3/routes.ts';
import { bucketSettings, buckets, multipartParts, multipartUploads, objects, objectVersions } from '../../src/db/schema/objects.ts';
import { startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
let uploadId = '';
const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });

beforeAll(async () => {
  s3 = await startS3();
  await ask('PUT', '/secret');
  await ask('PUT', '/secret?versioning', { body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' });
  await ask('PUT', '/secret?tagging', { body: '<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>' });
  for (const body of ['old', 'new']) await ask('PUT', '/secret/key', { body, headers: { 'x-amz-tagging': 'k=v' } });
  uploadId = texts((await ask('POST', '/secret/key?uploads')).body, 'UploadId')[0] ?? '';
  await ask('PUT', `/secret/key?partNumber=1&uploadId=${uploadId}`, { body: 'part' });
  await ask('PUT', '/mine', { as: 'two' });
  await ask('PUT', '/mine/key', { as: 'two', body: 'mine' });
});
afterAll(() => s3.close());

/** Those that are nobody's secret: the buckets of whoever asks, a name that is taken, and what rules for browsers say to all. */
const open: readonly string[] = ['ListBuckets', 'CreateBucket', 'Preflight'];
const guarded = builtOperations().filter(({ name }) => !open.includes(name));

const bodies: Readonly<Record<string, string>> = {
  PutObjectTagging: '<Tagging><TagSet></TagSet></Tagging>',
  PostObject: '--B\r\nContent-Disposition: form-data; name="key"\r\n\r\nkey\r\n'
    + '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--B--\r\n',
};
const headersOf = ({ name, headers }: OperationSample) => ({
  ...headers, ...(name === 'PostObject' ? { 'content-type': 'multipart/form-data; boundary=B' } : {}),
  ...('x-amz-copy-source' in headers ? { 'x-amz-copy-source': 'mine/key' } : {}),
  ...(name === 'GetObjectAttributes' ? { 'x-amz-object-attributes': 'ETag' } : {}),
});
const target = ({ of, query }: OperationSample, bucket = 'secret') =>
  `/${bucket}${of === 'object' ? '/key' : ''}?${query === 'uploadId' ? `partNumber=1&uploadId=${uploadId}` : query}`;

/** All that the database knows of buckets. */
const everything = () => Promise.all([buckets, bucketSettings, objects, objectVersions, multipartUploads, multipartParts]
  .map((table) => s3.database.db.select().from(table)));

describe('S5: a project', () => {
  it.each(guarded.map((sample) => [sample.name, sample] as const))('cannot %s what is another\'s, and neither can nobody', async (name, sample) => {
    const before = await everything();
    for (const as of ['two', 'none']) {
      const reply = await ask(sample.method, target(sample), { as, headers: headersOf(sample), body: bodies[name] ?? '' });
      expect([reply.status, reply.body.includes('old') || reply.body.includes('<Value>')]).toEqual([403, false]);
    }
    expect(await everything()).toEqual(before);
  });

  it('cannot copy what is another\'s to itself, go on with its upload elsewhere, or learn which keys are there', async () => {
    const before = await everything();
    const source = { 'x-amz-copy-source': 'secret/key' };
    expect((await ask('PUT', '/mine/copy', { as: 'two', headers: source })).status).toBe(403);
    const own = texts((await ask('POST', '/mine/up?uploads', { as: 'two' })).body, 'UploadId')[0];
    expect((await ask('PUT', `/mine/up?partNumber=1&uploadId=${own}`, { as: 'two', headers: source })).status).toBe(403);
    await ask('DELETE', `/mine/up?uploadId=${own}`, { as: 'two' });
    for (const method of ['GET', 'PUT', 'POST', 'DELETE']) {
      expect((await ask(method, `/mine/key?partNumber=1&uploadId=${uploadId}`, { as: 'two', body: '' })).status, method).not.toBe(200);
    }
    for (const method of ['GET', 'HEAD']) {
      const [there, absent] = [await ask(method, '/secret/key', { as: 'two' }), await ask(method, '/secret/no', { as: 'two' })];
      expect([there.status, texts(there.body, 'Code')]).toEqual([absent.status, texts(absent.body, 'Code')]);
    }
    expect(await everything()).toEqual(before);
  });
});

describe('the table of operations', () => {
  it.each(builtOperations().map((sample) => [sample.name, sample] as const))('has a request that means %s', (name, { method, of, query, headers }) => {
    const [bucket, key] = [of === 'service' ? '' : 'b', of === 'object' ? 'k' : ''];
    expect(routeOf({ method, bucket, key, query: new Map([query.split('=') as [string, string]].filter(([first]) => first !== '')), headers }).name).toBe(name);
  });

  const built = new Set(builtOperations().map(({ method, of, query }) => `${method} ${of} ${query}`));
  it.each([...subResources])('answers NotImplemented to what is not built of ?%s, and changes nothing', async (sub) => {
    const before = await everything();
    for (const [of, path] of [['bucket', '/secret'], ['object', '/secret/key']] as const) {
      for (const method of ['PUT', 'POST', 'DELETE'].filter((name) => !built.has(`${name} ${of} ${sub}`))) {
        const reply = await ask(method, `${path}?${sub}`, { body: '<X/>' });
        // Removing what is never set is no error at AWS either.
        if (reply.status !== 204) expect([reply.status, texts(reply.body, 'Code')]).toEqual([501, ['NotImplemented']]);
      }
    }
    expect(await everything()).toEqual(before);
  });
});
