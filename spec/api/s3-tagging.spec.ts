// Tags of buckets, objects and their versions.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { code, startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
beforeAll(async () => {
  s3 = await startS3();
  await ask('PUT', '/tagged');
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });
const tagging = (tags: Record<string, string>): string =>
  `<Tagging><TagSet>${Object.entries(tags).map(([key, value]) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`).join('')}</TagSet></Tagging>`;
const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, 'v']));

describe('tags', () => {
  it('of a bucket are set, read and removed', async () => {
    expect(code(await ask('GET', '/tagged?tagging'))).toBe('404 NoSuchTagSet');
    expect((await ask('PUT', '/tagged?tagging', { body: tagging({ Hello: 'World', ä: '' }) })).status).toBe(204);
    const read = (await ask('GET', '/tagged?tagging')).body;
    expect([texts(read, 'Key'), texts(read, 'Value')]).toEqual([['Hello', 'ä'], ['World', '']]);
    expect((await ask('DELETE', '/tagged?tagging')).status).toBe(204);
    expect(code(await ask('GET', '/tagged?tagging'))).toBe('404 NoSuchTagSet');
  });

  it('of an object come with it, are replaced, and are counted', async () => {
    await ask('PUT', '/tagged/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1&b%20c=%C3%A4' } });
    const read = (await ask('GET', '/tagged/k?tagging')).body;
    expect([texts(read, 'Key'), texts(read, 'Value')]).toEqual([['a', 'b c'], ['1', 'ä']]);
    expect((await ask('HEAD', '/tagged/k')).headers['x-amz-tagging-count']).toBe('2');
    expect((await ask('PUT', '/tagged/k?tagging', { body: tagging({ z: '9' }) })).status).toBe(200);
    expect(texts((await ask('GET', '/tagged/k?tagging')).body, 'Key')).toEqual(['z']);
    expect((await ask('DELETE', '/tagged/k?tagging')).status).toBe(204);
    expect((await ask('GET', '/tagged/k?tagging')).body).toContain('<TagSet></TagSet>');
    expect((await ask('GET', '/tagged/k')).headers['x-amz-tagging-count']).toBeUndefined();
    await ask('PUT', '/tagged/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1' } });
    await ask('PUT', '/tagged/k', { body: 'y' });
    expect((await ask('GET', '/tagged/k?tagging')).body).toContain('<TagSet></TagSet>');
  });

  it('go with copies, or are replaced by them, and with uploads in parts', async () => {
    await ask('PUT', '/tagged/from', { body: 'x', headers: { 'x-amz-tagging': 'a=1' } });
    await ask('PUT', '/tagged/kept', { headers: { 'x-amz-copy-source': '/tagged/from' } });
    await ask('PUT', '/tagged/new', { headers: { 'x-amz-copy-source': '/tagged/from', 'x-amz-tagging-directive': 'REPLACE', 'x-amz-tagging': 'b=2' } });
    const id = texts((await ask('POST', '/tagged/parts?uploads', { headers: { 'x-amz-tagging': 'c=3' } })).body, 'UploadId')[0];
    const etag = (await ask('PUT', `/tagged/parts?partNumber=1&uploadId=${id}`, { body: 'x' })).headers.etag;
    await ask('POST', `/tagged/parts?uploadId=${id}`,
      { body: `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>` });
    const keys = await Promise.all(['kept', 'new', 'parts'].map(async (key) => texts((await ask('GET', `/tagged/${key}?tagging`)).body, 'Key')));
    expect(keys).toEqual([['a'], ['b'], ['c']]);
  });

  it('have limits', async () => {
    const put = async (tags: Record<string, string>, path = '/tagged/k') => code(await ask('PUT', `${path}?tagging`, { body: tagging(tags) }));
    expect(await put(many(10))).toBe('200');
    expect(await put(many(11))).toBe('400 BadRequest');
    expect(await put(many(50), '/tagged')).toBe('204');
    expect(await put(many(51), '/tagged')).toBe('400 InvalidTag');
    expect(await put({ ['k'.repeat(128)]: 'v'.repeat(256) })).toBe('200');
    expect(await put({ ['k'.repeat(129)]: 'v' })).toBe('400 InvalidTag');
    expect(await put({ k: 'v'.repeat(257) })).toBe('400 InvalidTag');
    expect(await put({ 'aws:x': 'v' })).toBe('400 InvalidTag');
    expect(code(await ask('PUT', '/tagged/k?tagging', { body: '<Tagging/>' }))).toBe('400 MalformedXML');
    expect(code(await ask('PUT', '/tagged/k', { body: 'x', headers: { 'x-amz-tagging': 'a=1&a=2' } }))).toBe('400 InvalidTag');
    expect(code(await ask('PUT', '/tagged/absent?tagging', { body: tagging({}) }))).toBe('404 NoSuchKey');
    expect(code(await ask('GET', '/tagged/k?tagging', { as: 'two' }))).toBe('403 AccessDenied');
  });
});
