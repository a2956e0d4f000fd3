// S3 over HTTP: buckets, objects, headers, conditions, errors and who may do what.
import { createHash } from 'node:crypto';
import { connect } from 'node:net';
import { crc32 } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobGarbage } from '../../src/db/schema/objects.ts';
import { images } from '../../src/db/schema/images.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Readable } from 'node:stream';
import { code, startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
let count = 0;
beforeAll(async () => {
  s3 = await startS3({ domain: 's3.example.org' });
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });
const md5 = (text: string | Buffer) => createHash('md5').update(text).digest();

async function bucket(as = 'one'): Promise<string> {
  const name = `bucket-${(count += 1)}`;
  expect((await ask('PUT', `/${name}`, { as })).status).toBe(200);
  return name;
}

describe('S1: buckets', () => {
  it('are created, found, listed and deleted', async () => {
    const name = await bucket();
    expect((await ask('HEAD', `/${name}`)).headers['x-amz-bucket-region']).toBe('nova');
    expect(texts((await ask('GET', '/')).body, 'Name')).toContain(name);
    expect((await ask('GET', `/${name}/?location`)).body).toContain('>nova</LocationConstraint>');
    expect((await ask('DELETE', `/${name}/`)).status).toBe(204);
    expect(code(await ask('GET', `/${name}`))).toBe('404 NoSuchBucket');
    expect(code(await ask('DELETE', `/${name}`))).toBe('404 NoSuchBucket');
  });

  it('tell the owner from others when created twice', async () => {
    const name = await bucket();
    expect(code(await ask('PUT', `/${name}`))).toBe('409 BucketAlreadyOwnedByYou');
    expect(code(await ask('PUT', `/${name}`, { as: 'two' }))).toBe('409 BucketAlreadyExists');
  });

  it.each(['ab', 'Upper', 'under_score', '-x-', 'a..b', '192.168.1.1', 'xn--abc', 'a'.repeat(64), '_novact2'])('refuse the name %s', async (name) => {
    expect(code(await ask('PUT', `/${name}`))).toBe('400 InvalidBucketName');
  });

  it('are not deleted while they hold an object, and are while only an upload is unfinished', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/a`, { body: 'x' });
    expect(code(await ask('DELETE', `/${name}`))).toBe('409 BucketNotEmpty');
    await ask('DELETE', `/${name}/a`);
    await ask('POST', `/${name}/b?uploads`);
    expect((await ask('DELETE', `/${name}`)).status).toBe(204);
  });

  it('take any location and refuse broken XML', async () => {
    const body = '<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
      + '<LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>';
    expect((await ask('PUT', '/somewhere', { body })).status).toBe(200);
    expect(code(await ask('PUT', '/elsewhere', { body: '<Create' }))).toBe('400 MalformedXML');
    expect(code(await ask('PUT', '/elsewhere', { body: '<Other/>' }))).toBe('400 MalformedXML');
  });
});

describe('S2: objects', () => {
  it('come back as they were put', async () => {
    const name = await bucket();
    const put = await ask('PUT', `/${name}/hello`, { body: 'hello',
      headers: { 'content-type': 'text/x-spec', 'x-amz-meta-Colour': 'blue', 'cache-control': 'no-cache', 'content-encoding': 'aws-chunked,gzip' } });
    expect(put).toMatchObject({ status: 200, body: '', headers: { etag: `"${md5('hello').toString('hex')}"` } });
    const got = await ask('GET', `/${name}/hello`);
    expect(got).toMatchObject({ status: 200, body: 'hello' });
    expect(got.headers).toMatchObject({ 'content-type': 'text/x-spec', 'x-amz-meta-colour': 'blue', 'cache-control': 'no-cache', 'content-encoding': 'gzip',
      'content-length': '5', 'accept-ranges': 'bytes' });
    expect(got.headers['x-amz-request-id']).toMatch(/^[0-9A-F]{16}$/);
    expect(Date.parse(got.headers['last-modified'] ?? '')).toBeGreaterThan(0);
    const head = await ask('HEAD', `/${name}/hello`);
    expect(head).toMatchObject({ status: 200, body: '', headers: { 'content-length': '5', etag: got.headers.etag } });
  });

  it('may be empty', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/empty`, { body: '' });
    const got = await ask('GET', `/${name}/empty`);
    expect(got).toMatchObject({ status: 200, body: '', headers: { 'content-length': '0', 'content-type': 'binary/octet-stream' } });
    expect((await ask('HEAD', `/${name}/empty`)).headers['content-length']).toBe('0');
  });

  it('hand a replaced and a deleted blob to the garbage', async () => {
    const name = await bucket();
    const before = (await s3.database.db.select().from(blobGarbage)).length;
    await ask('PUT', `/${name}/k`, { body: 'one' });
    await ask('PUT', `/${name}/k`, { body: 'two' });
    expect((await ask('DELETE', `/${name}/k`)).status).toBe(204);
    expect((await ask('DELETE', `/${name}/k`)).status).toBe(204);
    expect((await s3.database.db.select().from(blobGarbage)).length).toBe(before + 2);
    expect(code(await ask('GET', `/${name}/k`))).toBe('404 NoSuchKey');
    const head = await ask('HEAD', `/${name}/k`);
    expect(head).toMatchObject({ status: 404, body: '' });
  });

  const odd = ['../x', 'a//b', 'ü%2F', '/lead', 'trailing/', 'a+b c', '..', '.', 'q?#&=', 'tab\tcr\rlf\n', '\u0001', ' ', '💾/\uffff', 'k'.repeat(1024),
    '<&>"\''];
  it.each(odd)('keep the key %j to the letter', async (key) => {
    const name = await bucket();
    expect((await ask('PUT', `/${name}/${encodeURIComponent(key)}`, { body: key })).status).toBe(200);
    expect((await ask('GET', `/${name}/${encodeURIComponent(key)}`)).body).toBe(key);
    const listed = await ask('GET', `/${name}?encoding-type=url`);
    expect(texts(listed.body, 'Key').map((text) => decodeURIComponent(text))).toEqual([key]);
    const body = `<Delete><Object><Key>${key.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('\r', '&#13;')}</Key></Object></Delete>`;
    if (key !== '\u0001') {
      await ask('POST', `/${name}?delete`, { body });
      expect(code(await ask('GET', `/${name}/${encodeURIComponent(key)}`))).toBe('404 NoSuchKey');
    }
  });

  it('do not mistake one spelling for another', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/a/../b`, { body: 'dots' });
    await ask('PUT', `/${name}/b`, { body: 'plain' });
    expect(texts((await ask('GET', `/${name}`)).body, 'Key')).toEqual(['a/../b', 'b']);
  });

  it('refuse keys that are too long, hold NUL or are no UTF-8', async () => {
    const name = await bucket();
    expect(code(await ask('PUT', `/${name}/${'k'.repeat(1025)}`, { body: 'x' }))).toBe('400 KeyTooLongError');
    expect(code(await ask('PUT', `/${name}/${'%C3%BC'.repeat(513)}`, { body: 'x' }))).toBe('400 KeyTooLongError');
    expect(code(await ask('PUT', `/${name}/a%00b`, { body: 'x' }))).toBe('400 InvalidArgument');
    expect(code(await ask('PUT', `/${name}/a%FF`, { body: 'x' }))).toBe('400 InvalidURI');
    expect(code(await ask('PUT', `/${name}/a%zz`, { body: 'x' }))).toBe('400 InvalidURI');
  });

  it('refuse what would change their meaning and is not built', async () => {
    const name = await bucket();
    for (const header of ['x-amz-website-redirect-location', 'x-amz-server-side-encryption-customer-algorithm', 'x-amz-object-lock-mode']) {
      expect(code(await ask('PUT', `/${name}/k`, { body: 'x', headers: { [header]: 'v' } }))).toBe('501 NotImplemented');
    }
    expect(code(await ask('PUT', `/${name}/k`, { body: 'x', headers: { 'x-amz-storage-class': 'GLACIER' } }))).toBe('400 InvalidStorageClass');
    expect(code(await ask('PUT', `/${name}/k`, { body: 'x', headers: { 'x-amz-acl': 'nonsense' } }))).toBe('400 InvalidArgument');
    expect(code(await ask('PUT', `/${name}/k`, { body: 'x', headers: { 'x-amz-meta-big': 'v'.repeat(2049) } }))).toBe('400 MetadataTooLarge');
    expect(code(await ask('GET', `/${name}/k`))).toBe('404 NoSuchKey');
  });
});

describe('digests', () => {
  it('are checked, and a wrong one leaves the old object', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k`, { body: 'old' });
    const put = (headers: Record<string, string>) => ask('PUT', `/${name}/k`, { body: 'new', headers });
    expect(code(await put({ 'content-md5': md5('other').toString('base64') }))).toBe('400 BadDigest');
    expect(code(await put({ 'content-md5': 'nonsense' }))).toBe('400 InvalidDigest');
    expect(code(await put({ 'x-amz-content-sha256': '0'.repeat(64) }))).toBe('400 XAmzContentSHA256Mismatch');
    expect(code(await put({ 'x-amz-checksum-crc32': 'AAAAAA==' }))).toBe('400 BadDigest');
    expect(code(await put({ 'x-amz-checksum-sha256': 'short' }))).toBe('400 InvalidRequest');
    expect((await ask('GET', `/${name}/k`)).body).toBe('old');
    expect((await put({ 'content-md5': md5('new').toString('base64') })).status).toBe(200);
  });

  // Check values of "123456789": CRC catalogue, RFC 3174, FIPS 180.
  const check = {
    crc32: 'cbf43926', crc32c: 'e3069283', crc64nvme: 'ae8b14860a799888', sha1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
    sha256: '15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225',
  };
  it.each(Object.entries(check))('of the kind %s are verified and given back when asked for', async (algorithm, hex) => {
    const name = await bucket();
    const header = `x-amz-checksum-${algorithm}`;
    const value = Buffer.from(hex, 'hex').toString('base64');
    expect((await ask('PUT', `/${name}/k`, { body: '123456789', headers: { [header]: value } })).headers[header]).toBe(value);
    expect((await ask('GET', `/${name}/k`, { headers: { 'x-amz-checksum-mode': 'ENABLED' } })).headers[header]).toBe(value);
    expect((await ask('GET', `/${name}/k`)).headers[header]).toBeUndefined();
    expect(code(await ask('PUT', `/${name}/k`, { body: '123456780', headers: { [header]: value } }))).toBe('400 BadDigest');
  });

  it('may follow in a trailer', async () => {
    const name = await bucket();
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32('hello'));
    const put = (trailer: string) => ask('PUT', `/${name}/k`, {
      body: `5\r\nhello\r\n0\r\nx-amz-checksum-crc32:${trailer}\r\n\r\n`,
      headers: { 'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER', 'x-amz-decoded-content-length': '5', 'x-amz-trailer': 'x-amz-checksum-crc32',
        'content-encoding': 'aws-chunked' },
    });
    expect(code(await put('AAAAAA=='))).toBe('400 BadDigest');
    expect((await put(sum.toString('base64'))).status).toBe(200);
    const got = await ask('GET', `/${name}/k`);
    expect(got.body).toBe('hello');
    expect(got.headers['content-encoding']).toBeUndefined();
  });
});

describe('ranges and conditions', () => {
  let path: string;
  let etag: string;
  beforeAll(async () => {
    path = `/${await bucket()}/k`;
    etag = (await ask('PUT', path, { body: '0123456789' })).headers.etag ?? '';
  });

  it.each([
    ['bytes=2-4', 206, '234', 'bytes 2-4/10'], ['bytes=7-', 206, '789', 'bytes 7-9/10'], ['bytes=-3', 206, '789', 'bytes 7-9/10'],
    ['bytes=0-100', 206, '0123456789', 'bytes 0-9/10'], ['bytes=-100', 206, '0123456789', 'bytes 0-9/10'], ['bytes=4-2', 200, '0123456789', undefined],
    ['bytes=0-1,3-4', 200, '0123456789', undefined], ['nonsense', 200, '0123456789', undefined],
  ])('Range: %s', async (range, status, body, contentRange) => {
    const got = await ask('GET', path, { headers: { range } });
    expect(got).toMatchObject({ status, body });
    expect(got.headers['content-range']).toBe(contentRange);
    expect(got.headers['content-length']).toBe(String(body.length));
    expect((await ask('HEAD', path, { headers: { range } })).status).toBe(status);
  });

  it.each(['bytes=10-', 'bytes=-0'])('Range: %s cannot be satisfied', async (range) => {
    expect(code(await ask('GET', path, { headers: { range } }))).toBe('416 InvalidRange');
  });

  it('follow the entity tag and the time', async () => {
    const status = async (headers: Record<string, string>) => (await ask('GET', path, { headers })).status;
    const past = 'Mon, 01 Jan 2024 00:00:00 GMT';
    const future = new Date(systemClock.now() + 86_400_000).toUTCString();
    expect(await status({ 'if-match': etag })).toBe(200);
    expect(await status({ 'if-match': '"other"' })).toBe(412);
    expect(await status({ 'if-match': '"other", *' })).toBe(200);
    expect(await status({ 'if-none-match': etag })).toBe(304);
    expect(await status({ 'if-none-match': '"other"' })).toBe(200);
    expect(await status({ 'if-modified-since': past })).toBe(200);
    expect(await status({ 'if-modified-since': future })).toBe(304);
    expect(await status({ 'if-unmodified-since': past })).toBe(412);
    expect(await status({ 'if-unmodified-since': past, 'if-match': etag })).toBe(200);
    expect((await ask('GET', path, { headers: { 'if-none-match': etag } })).headers.etag).toBe(etag);
  });

  it('guard puts', async () => {
    expect(code(await ask('PUT', path, { body: 'x', headers: { 'if-none-match': '*' } }))).toBe('412 PreconditionFailed');
    expect(code(await ask('PUT', path, { body: 'x', headers: { 'if-match': '"other"' } }))).toBe('412 PreconditionFailed');
    expect(code(await ask('PUT', `${path}-new`, { body: 'x', headers: { 'if-match': etag } }))).toBe('404 NoSuchKey');
    expect((await ask('PUT', `${path}-new`, { body: 'x', headers: { 'if-none-match': '*' } })).status).toBe(200);
    expect((await ask('GET', path)).body).toBe('0123456789');
  });

  it('let a signed request choose response headers', async () => {
    const query = '?response-content-type=text/x&response-content-disposition=attachment%3B%20filename%3D%22a.txt%22';
    expect((await ask('GET', path + query)).headers).toMatchObject({ 'content-type': 'text/x', 'content-disposition': 'attachment; filename="a.txt"' });
    expect(code(await ask('GET', `${path}?response-expires=a%0D%0Ab`))).toBe('400 InvalidArgument');
  });
});

describe('the wire', () => {
  it('says 100 Continue only to a client that may go on', async () => {
    const name = await bucket();
    const headers = { expect: '100-continue' };
    expect(await ask('PUT', `/${name}/k`, { body: 'x', headers })).toMatchObject({ status: 200, wasContinued: true });
    expect(await ask('PUT', `/${name}/k`, { body: 'x', headers: { expect: 'the best' } })).toMatchObject({ status: 200, wasContinued: false });
    for (const [path, as] of [[`/${name}/k`, 'liar'], [`/${name}/k`, 'two'], ['/absent-bucket/k', 'one']] as const) {
      const refused = await ask('PUT', path, { body: 'x', headers, as });
      expect(refused.wasContinued).toBe(false);
      expect(refused.status).toBeGreaterThanOrEqual(403);
      expect(refused.headers.connection).toBe('close');
    }
  });

  it('answers an error to a client that is still sending', async () => {
    expect(code(await ask('PUT', '/absent-bucket/k', { body: Buffer.alloc(20 * 1024 * 1024) }))).toBe('404 NoSuchBucket');
  });

  it('leaves the old object when an upload is torn', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k`, { body: 'old' });
    const before = (await s3.database.db.select().from(blobGarbage)).length;
    await new Promise<void>((resolve, reject) => {
      const socket = connect(s3.port, '127.0.0.1', () => {
        socket.write(`PUT /${name}/k HTTP/1.1\r\nHost: x\r\nx-spec-project: one\r\nContent-Length: 100\r\n\r\nhalf`, () => socket.destroy());
      });
      socket.on('error', reject).on('close', () => resolve());
    });
    expect((await ask('GET', `/${name}/k`)).body).toBe('old');
    expect((await s3.database.db.select().from(blobGarbage)).length).toBe(before);
  });

  it('wants a length', async () => {
    const name = await bucket();
    expect(code(await ask('PUT', `/${name}/k`, { headers: { 'transfer-encoding': 'chunked' } }))).toBe('411 MissingContentLength');
    expect(code(await ask('PUT', `/${name}/k`, { headers: { 'content-length': String(5 * 1024 ** 3 + 1),
      expect: '100-continue' } }))).toBe('400 EntityTooLarge');
  });

  it('understands virtual-host style and leaves IP addresses alone', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/a%20b`, { body: 'x' });
    for (const host of [`${name}.localhost:${s3.port}`, `${name}.s3.example.org`, `${name}.s3.localhost.`, `${name.toUpperCase()}.S3.example.org`]) {
      expect((await ask('GET', '/a%20b', { headers: { host } })).body).toBe('x');
    }
    for (const host of ['127.0.0.1', `127.0.0.1:${s3.port}`, '[::1]:80', 'localhost', 's3.example.org', 'another.example.net']) {
      expect((await ask('GET', `/${name}/a%20b`, { headers: { host } })).body).toBe('x');
    }
  });

  it('answers errors in XML with the request id', async () => {
    const reply = await ask('GET', '/absent-bucket/a&b');
    expect(reply.headers['content-type']).toBe('application/xml');
    expect(reply.body).toMatch(/^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error><Code>NoSuchBucket<\/Code>/);
    expect(texts(reply.body, 'RequestId')).toEqual([reply.headers['x-amz-request-id']]);
    expect(texts(reply.body, 'Resource')).toEqual(['/absent-bucket/a&b']);
  });
});

describe('S6: copies', () => {
  it('keep bytes, tag and headers, or take new ones', async () => {
    const name = await bucket();
    const put = await ask('PUT', `/${name}/a%20b`, { body: 'bytes', headers: { 'content-type': 'text/x', 'x-amz-meta-a': '1' } });
    const copied = await ask('PUT', `/${name}/c`, { headers: { 'x-amz-copy-source': `/${name}/a%20b` } });
    expect(texts(copied.body, 'ETag')).toEqual([put.headers.etag]);
    await ask('DELETE', `/${name}/a%20b`);
    expect(await ask('GET', `/${name}/c`)).toMatchObject({ body: 'bytes', headers: { etag: put.headers.etag, 'content-type': 'text/x', 'x-amz-meta-a': '1' } });
    await ask('PUT', `/${name}/c`, { headers: { 'x-amz-copy-source': `${name}/c`, 'x-amz-metadata-directive': 'REPLACE', 'x-amz-meta-b': '2',
      'content-type': 'text/y' } });
    const replaced = await ask('GET', `/${name}/c`);
    expect(replaced).toMatchObject({ body: 'bytes', headers: { 'content-type': 'text/y', 'x-amz-meta-b': '2' } });
    expect(replaced.headers['x-amz-meta-a']).toBeUndefined();
  });

  it('fail as AWS says', async () => {
    const [mine, other] = [await bucket(), await bucket('two')];
    await ask('PUT', `/${mine}/k`, { body: 'x' });
    await ask('PUT', `/${other}/k`, { body: 'secret', as: 'two' });
    const copy = (source: string, headers: Record<string, string> = {}) => ask('PUT', `/${mine}/to`, { headers: { 'x-amz-copy-source': source, ...headers } });
    expect(code(await ask('PUT', `/${mine}/k`, { headers: { 'x-amz-copy-source': `/${mine}/k` } }))).toBe('400 InvalidRequest');
    expect(code(await copy(`/${other}/k`))).toBe('403 AccessDenied');
    expect(code(await copy(`/${mine}/absent`))).toBe('404 NoSuchKey');
    expect(code(await copy('/absent-bucket/k'))).toBe('404 NoSuchBucket');
    expect(code(await copy('nonsense'))).toBe('400 InvalidArgument');
    expect(code(await copy(`/${mine}/k`, { 'x-amz-copy-source-if-match': '"other"' }))).toBe('412 PreconditionFailed');
  });
});

describe('S6: deleting many', () => {
  it('reports each key', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/a`, { body: 'x' });
    const body = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Object><Key>a</Key></Object>'
      + '<Object><Key>absent</Key></Object><Object><Key>v</Key><VersionId>7</VersionId></Object></Delete>';
    const reply = await ask('POST', `/${name}?delete`, { body, headers: { 'content-md5': md5(body).toString('base64') } });
    expect(texts(reply.body, 'Key')).toEqual(['a', 'absent', 'v']);
    expect(texts(reply.body, 'Code')).toEqual(['NoSuchVersion']);
    expect(texts((await ask('GET', `/${name}`)).body, 'Key')).toEqual([]);
    expect((await ask('POST', `/${name}?delete`,
      { body: '<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object></Delete>' })).body).not.toContain('<Deleted>');
  });

  it('refuses too many keys, broken XML and wrong digests', async () => {
    const name = await bucket();
    const many = `<Delete>${'<Object><Key>a</Key></Object>'.repeat(1001)}</Delete>`;
    expect(code(await ask('POST', `/${name}?delete`, { body: many }))).toBe('400 MalformedXML');
    expect(code(await ask('POST', `/${name}?delete`, { body: '<Delete/>' }))).toBe('400 MalformedXML');
    expect(code(await ask('POST', `/${name}?delete`,
      { body: '<!DOCTYPE a [<!ENTITY b "c">]><Delete><Object><Key>&b;</Key></Object></Delete>' }))).toBe('400 MalformedXML');
    expect(code(await ask('POST', `/${name}?delete`, { body: 'x'.repeat(3 * 1024 * 1024) }))).toBe('400 MaxMessageLengthExceeded');
    expect(code(await ask('POST', `/${name}?delete`, { body: '<Delete><Object><Key>a</Key></Object></Delete>',
      headers: { 'content-md5': md5('other').toString('base64') } }))).toBe('400 BadDigest');
  });
});

describe('images for compute hosts', () => {
  it('are given to novact alone, by range', async () => {
    const { blobId } = await s3.store.write(Readable.from([Buffer.from('0123456789')], { objectMode: false }));
    const now = systemClock.date();
    await s3.database.db.insert(images).values({
      id: 'ami-0123456789abcdef0', projectId: '111111111111', name: 'i', location: 'b/k', type: 'machine', architecture: 'x86_64', state: 'available',
      rootDeviceName: '/dev/vda', virtualizationType: 'hvm', sha256: 'ab'.repeat(32), blobId, createdAt: now, stateChangedAt: now,
    });
    const path = '/_novact/images/ami-0123456789abcdef0';
    const got = await ask('GET', path, { as: 'system', headers: { range: 'bytes=3-5' } });
    expect(got).toMatchObject({ status: 206, body: '345', headers: { etag: `"${'ab'.repeat(32)}"`, 'content-range': 'bytes 3-5/10' } });
    expect((await ask('HEAD', path, { as: 'system' })).headers['content-length']).toBe('10');
    for (const as of ['one', 'admin', 'none']) expect((await ask('GET', path, { as })).status).toBe(403);
    expect(code(await ask('GET', '/_novact/images/ami-0badbadb', { as: 'system' }))).toBe('404 NoSuchKey');
    expect((await ask('DELETE', path, { as: 'system' })).status).toBe(405);
  });
});
