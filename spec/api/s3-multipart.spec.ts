// Multipart uploads: parts become one object, or nothing.
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobGarbage } from '../../src/db/schema/objects.ts';
import { code, startS3, texts, type S3Fixture } from '../support/s3-server.ts';

const fiveMiB = 5 * 1024 * 1024;
const [first, second] = [Buffer.alloc(fiveMiB, 'a'), Buffer.from('the end')];
const md5 = (content: Buffer) => createHash('md5').update(content).digest();
const hex = (content: Buffer) => md5(content).toString('hex');

let s3: S3Fixture;
beforeAll(async () => {
  s3 = await startS3();
  await s3.ask({ method: 'PUT', path: '/parts' });
});
afterAll(() => s3.close());


async function begin(key: string, headers: Record<string, string> = {}): Promise<string> {
  return texts((await s3.ask({ method: 'POST', path: `/parts/${key}?uploads`, headers })).body, 'UploadId')[0] ?? '';
}

const part = (key: string, id: string, number: number | string, body: Buffer) =>
  s3.ask({ method: 'PUT', path: `/parts/${key}?partNumber=${number}&uploadId=${id}`, body });

const partXml = ([number, etag]: readonly [number, string]) => `<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag></Part>`;

const complete = (key: string, id: string, parts: readonly [number, string][], headers: Record<string, string> = {}) => s3.ask({
  method: 'POST', path: `/parts/${key}?uploadId=${id}`, headers,
  body: `<CompleteMultipartUpload>${parts.map(partXml).join('')}</CompleteMultipartUpload>`,
});

describe('S4: a multipart upload', () => {
  it('joins its parts in order, with headers and the tag of tags', async () => {
    const id = await begin('whole', { 'content-type': 'text/x', 'x-amz-meta-a': '1' });
    expect((await part('whole', id, 7, second)).headers.etag).toBe(`"${hex(second)}"`);
    await part('whole', id, 2, first);
    const listed = await s3.ask({ method: 'GET', path: `/parts/whole?uploadId=${id}&max-parts=1` });
    expect([texts(listed.body, 'PartNumber'), texts(listed.body, 'IsTruncated')]).toEqual([['2'], ['true']]);
    const rest = await s3.ask({ method: 'GET', path: `/parts/whole?uploadId=${id}&part-number-marker=2` });
    expect([texts(rest.body, 'PartNumber'), texts(rest.body, 'Size')]).toEqual([['7'], ['7']]);
    const before = (await s3.database.db.select().from(blobGarbage)).length;
    const done = await complete('whole', id, [[2, hex(first)], [7, hex(second)]]);
    const etag = `"${createHash('md5').update(Buffer.concat([md5(first), md5(second)])).digest('hex')}-2"`;
    expect(texts(done.body, 'ETag')).toEqual([etag]);
    const got = await s3.ask({ method: 'GET', path: '/parts/whole' });
    expect(got.headers).toMatchObject({ etag, 'content-type': 'text/x', 'x-amz-meta-a': '1' });
    expect(got.bytes.equals(Buffer.concat([first, second]))).toBe(true);
    expect((await s3.database.db.select().from(blobGarbage)).length).toBe(before + 2);
    // A client that lost the answer asks again.
    expect(texts((await complete('whole', id, [[2, hex(first)], [7, hex(second)]])).body, 'ETag')).toEqual([etag]);
  });

  it('may have one small part', async () => {
    const id = await begin('one');
    await part('one', id, 1, second);
    expect((await complete('one', id, [[1, hex(second)]])).status).toBe(200);
    expect((await s3.ask({ method: 'GET', path: '/parts/one' })).body).toBe('the end');
  });

  it('takes the last of two parts of one number', async () => {
    const id = await begin('twice');
    await part('twice', id, 1, Buffer.from('old'));
    await part('twice', id, 1, second);
    expect(code(await complete('twice', id, [[1, hex(Buffer.from('old'))]]))).toBe('400 InvalidPart');
    expect((await complete('twice', id, [[1, hex(second)]])).status).toBe(200);
  });

  it('refuses what AWS refuses', async () => {
    const id = await begin('bad');
    await part('bad', id, 1, second);
    await part('bad', id, 2, second);
    const tag = hex(second);
    expect(code(await complete('bad', id, [[1, tag], [2, tag]]))).toBe('400 EntityTooSmall');
    expect(code(await complete('bad', id, [[2, tag], [1, tag]]))).toBe('400 InvalidPartOrder');
    expect(code(await complete('bad', id, [[3, tag]]))).toBe('400 InvalidPart');
    // No tag of any part, nor an MD5 at all.
    for (const other of ['x', tag.slice(1), `${tag}-1`]) expect(code(await complete('bad', id, [[1, other]]))).toBe('400 InvalidPart');
    expect(code(await complete('bad', id, []))).toBe('400 MalformedXML');
    expect(code(await complete('other', id, [[1, tag]]))).toBe('404 NoSuchUpload');
    for (const number of ['0', '10001', 'x', '']) expect(code(await part('bad', id, number, second))).toBe('400 InvalidArgument');
    expect(code(await part('bad', 'absent', 1, second))).toBe('404 NoSuchUpload');
    expect(code(await s3.ask({ method: 'GET', path: '/parts/bad' }))).toBe('404 NoSuchKey');
  });

  it('is given up, and its parts become garbage', async () => {
    const id = await begin('gone');
    await part('gone', id, 1, second);
    const before = (await s3.database.db.select().from(blobGarbage)).length;
    expect((await s3.ask({ method: 'DELETE', path: `/parts/gone?uploadId=${id}` })).status).toBe(204);
    expect((await s3.database.db.select().from(blobGarbage)).length).toBe(before + 1);
    expect(code(await s3.ask({ method: 'DELETE', path: `/parts/gone?uploadId=${id}` }))).toBe('404 NoSuchUpload');
    expect(code(await part('gone', id, 2, second))).toBe('404 NoSuchUpload');
  });

  it('copies parts from objects, by range too', async () => {
    await s3.ask({ method: 'PUT', path: '/parts/source', body: '0123456789' });
    const id = await begin('copied');
    const copy = (headers: Record<string, string>) => s3.ask({ method: 'PUT', path: `/parts/copied?partNumber=1&uploadId=${id}`,
      headers: { 'x-amz-copy-source': '/parts/source', ...headers } });
    expect(code(await copy({ 'x-amz-copy-source-range': 'bytes=5-10' }))).toBe('400 InvalidArgument');
    const copied = await copy({ 'x-amz-copy-source-range': 'bytes=2-4' });
    expect((await complete('copied', id, [[1, (texts(copied.body, 'ETag')[0] ?? '').replaceAll('"', '')]])).status).toBe(200);
    expect((await s3.ask({ method: 'GET', path: '/parts/copied' })).body).toBe('234');
  });

  it('checks a checksum of the whole', async () => {
    const id = await begin('summed');
    await part('summed', id, 1, second);
    const sha256 = createHash('sha256').update(second).digest('base64');
    const headers = (value: string) => ({ 'x-amz-checksum-type': 'FULL_OBJECT', 'x-amz-checksum-sha256': value });
    expect(code(await complete('summed', id, [[1, hex(second)]], headers(createHash('sha256').digest('base64'))))).toBe('400 BadDigest');
    expect((await complete('summed', id, [[1, hex(second)]], headers(sha256))).status).toBe(200);
    expect((await s3.ask({ method: 'HEAD', path: '/parts/summed',
      headers: { 'x-amz-checksum-mode': 'ENABLED' } })).headers['x-amz-checksum-sha256']).toBe(sha256);
  });

  it('has a checksum of the checksums of its parts, which can be read and described one by one', async () => {
    const sha = (content: Buffer) => createHash('sha256').update(content).digest();
    const id = await begin('composed', { 'x-amz-checksum-algorithm': 'SHA256' });
    // Nobody says what a part's checksum is: it is made here.
    expect((await part('composed', id, 1, first)).headers['x-amz-checksum-sha256']).toBe(sha(first).toString('base64'));
    await part('composed', id, 3, second);
    const composite = `${sha(Buffer.concat([sha(first), sha(second)])).toString('base64')}-2`;
    const { body: completed } = await complete('composed', id, [[1, hex(first)], [3, hex(second)]]);
    expect([texts(completed, 'ChecksumSHA256'), texts(completed, 'ChecksumType')]).toEqual([[composite], ['COMPOSITE']]);
    const last = await s3.ask({ method: 'GET', path: '/parts/composed?partNumber=2' });
    expect(last).toMatchObject({ status: 206, body: 'the end', headers: {
      'x-amz-mp-parts-count': '2', 'content-range': `bytes ${fiveMiB}-${fiveMiB + 6}/${fiveMiB + 7}` } });
    expect(last.headers['x-amz-checksum-sha256']).toBeUndefined();
    const checked = await s3.ask({ method: 'GET', path: '/parts/composed?partNumber=2', headers: { 'x-amz-checksum-mode': 'ENABLED' } });
    expect(checked.headers).toMatchObject({ 'x-amz-checksum-sha256': sha(second).toString('base64'), 'x-amz-checksum-type': 'COMPOSITE' });
    expect(code(await s3.ask({ method: 'GET', path: '/parts/composed?partNumber=3' }))).toBe('416 InvalidPartNumber');
    const { body } = await s3.ask({ method: 'GET', path: '/parts/composed?attributes', headers: {
      'x-amz-object-attributes': 'Checksum,ObjectParts,ObjectSize', 'x-amz-max-parts': '1' } });
    expect([texts(body, 'PartsCount'), texts(body, 'PartNumber'), texts(body, 'IsTruncated'), texts(body, 'ChecksumType')])
      .toEqual([['2'], ['1'], ['true'], ['COMPOSITE']]);
    expect(texts(body, 'ChecksumSHA256')).toEqual([composite, sha(first).toString('base64')]);
  });

  it('is no business of other projects', async () => {
    const id = await begin('mine');
    for (const [method, path] of [['GET', `/parts/mine?uploadId=${id}`], ['DELETE', `/parts/mine?uploadId=${id}`],
      ['PUT', `/parts/mine?partNumber=1&uploadId=${id}`], ['POST', `/parts/mine?uploadId=${id}`]] as const) {
      expect(code(await s3.ask({ method, path, as: 'two' }))).toBe('403 AccessDenied');
    }
  });
});
