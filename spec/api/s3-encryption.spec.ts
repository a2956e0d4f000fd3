// Encryption at rest: asked for by a put, or set on its bucket; whatever is done with an object after that, its files tell nothing.
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { listParts } from '../../src/db/multipart.ts';
import { findObject } from '../../src/db/objects.ts';
import { multipartParts, objects } from '../../src/db/schema/objects.ts';
import { isEncrypted, type ObjectStoreDriver } from '../../src/drivers/objectstore/driver.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { newSealer } from '../support/new-sealer.ts';
import { code, startS3, texts, type Ask, type Reply, type S3Fixture } from '../support/s3-server.ts';

const name = 'x-amz-server-side-encryption';
const aes = { [name]: 'AES256' };
const secret = 'nobody but its owner reads this ';
const fiveMiB = Buffer.from(secret.repeat(5 * 1024 * 1024 / secret.length));
const configuration = (algorithm: string, more = '') => '<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>'
  + `<SSEAlgorithm>${algorithm}</SSEAlgorithm>${more}</ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>`;
const hex = (content: string | Buffer) => createHash('md5').update(content).digest('hex');

let folder: string;
let store: ObjectStoreDriver;
let s3: S3Fixture;
let older: string | undefined;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3-encryption-'));
  store = await openFilesystemStore({ folder, sealer: newSealer() });
  s3 = await startS3({ store, olderHosts: async () => older });
});
afterAll(async () => {
  await s3.close();
  await rm(folder, { recursive: true, force: true });
});

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });
const said = (reply: Reply): string => String(reply.headers[name]);

async function bucket(algorithm?: string): Promise<string> {
  const made = `secrets-${(count += 1)}`;
  await ask('PUT', `/${made}`);
  if (algorithm !== undefined) expect((await ask('PUT', `/${made}?encryption`, { body: configuration(algorithm) })).status).toBe(200);
  return made;
}

/** What is on the disk of an object. */
async function fileOf(bucketName: string, key: string): Promise<Buffer> {
  const blobId = (await findObject(s3.database.db, bucketName, key))?.blobId ?? '';
  return readFile(join(folder, 'blobs', blobId.slice(0, 2), blobId));
}

/** The object is given back, says that it is encrypted, and its file does not hold the text. */
async function expectSealed(bucketName: string, key: string, content: string | Buffer): Promise<void> {
  const got = await ask('GET', `/${bucketName}/${key}`);
  expect([got.status, said(got), got.bytes.equals(Buffer.from(content))]).toEqual([200, 'AES256', true]);
  expect(said(await ask('HEAD', `/${bucketName}/${key}`))).toBe('AES256');
  const file = await fileOf(bucketName, key);
  expect(file.length).toBeGreaterThan(content.length);
  expect(file.includes('nobody')).toBe(false);
}

async function expectPlain(bucketName: string, key: string, content: string): Promise<void> {
  const got = await ask('GET', `/${bucketName}/${key}`);
  expect([got.status, said(got), got.body]).toEqual([200, 'undefined', content]);
  expect((await fileOf(bucketName, key)).toString()).toBe(content);
}

describe('encryption at rest', () => {
  it('is of what asks for it, and of nothing else', async () => {
    const to = await bucket();
    const put = await ask('PUT', `/${to}/sealed`, { body: secret, headers: aes });
    expect([put.status, said(put), put.headers.etag]).toEqual([200, 'AES256', `"${hex(secret)}"`]);
    expect(said(await ask('PUT', `/${to}/open`, { body: secret }))).toBe('undefined');
    await expectSealed(to, 'sealed', secret);
    await expectPlain(to, 'open', secret);
    expect((await ask('PUT', `/${to}/empty`, { body: '', headers: aes })).status).toBe(200);
    expect((await ask('GET', `/${to}/empty`)).body).toBe('');
    const large = Buffer.concat([fiveMiB, Buffer.from('the end')]);
    await ask('PUT', `/${to}/large`, { body: large, headers: { ...aes, 'content-md5': createHash('md5').update(large).digest('base64') } });
    await expectSealed(to, 'large', large);
    expect(code(await ask('PUT', `/${to}/sealed`, { body: 'x', headers: { ...aes, 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==' } }))).toBe('400 BadDigest');
    await expectSealed(to, 'sealed', secret);
  });

  it('gives ranges, small and large, and knows its conditions', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}/k`, { body: fiveMiB, headers: aes });
    for (const [first, last] of [[0, 0], [17, 18], [100, 70_000], [65_537, 3_000_000], [fiveMiB.length - 3, fiveMiB.length - 1]] as const) {
      const got = await ask('GET', `/${to}/k`, { headers: { range: `bytes=${first}-${last}` } });
      expect([got.status, said(got), got.bytes.equals(fiveMiB.subarray(first, last + 1))]).toEqual([206, 'AES256', true]);
    }
    expect((await ask('GET', `/${to}/k`, { headers: { 'if-none-match': `"${hex(fiveMiB)}"` } })).status).toBe(304);
    expect(code(await ask('PUT', `/${to}/k`, { body: 'x', headers: { ...aes, 'if-none-match': '*' } }))).toBe('412 PreconditionFailed');
    expect((await ask('PUT', `/${to}/k`, { body: secret, headers: { ...aes, 'if-match': `"${hex(fiveMiB)}"` } })).status).toBe(200);
    await expectSealed(to, 'k', secret);
  });

  it('refuses by name what is not built, and what is no encryption', async () => {
    const to = await bucket();
    const customer = `${name}-customer-algorithm`;
    for (const [headers, answer, word] of [
      [{ [name]: 'aws:kms' }, '501 NotImplemented', 'aws:kms'], [{ [name]: 'aws:kms:dsse' }, '501 NotImplemented', 'aws:kms:dsse'],
      [{ [customer]: 'AES256' }, '501 NotImplemented', customer], [{ ...aes, [customer]: 'AES256' }, '400 InvalidArgument', 'incompatible'],
      [{ [`x-amz-copy-source-server-side-encryption-customer-key`]: 'a2V5' }, '501 NotImplemented', 'copy-source'],
      [{ [name]: 'aes256' }, '400 InvalidArgument', 'not supported'], [{ [name]: 'ROT13' }, '400 InvalidArgument', 'not supported'],
      [{ ...aes, [`${name}-aws-kms-key-id`]: 'key' }, '400 InvalidArgument', 'requires HTTP header'],
    ] as const) {
      for (const [method, path, more] of [
        ['PUT', `/${to}/k`, {}], ['POST', `/${to}/k?uploads`, {}], ['PUT', `/${to}/k`, { 'x-amz-copy-source': `${to}/absent` }],
      ] as const) {
        const reply = await ask(method, path, { body: 'x', headers: { ...more, ...headers } });
        expect([code(reply), texts(reply.body, 'Message')[0]]).toEqual([answer, expect.stringContaining(word)]);
      }
    }
    expect(code(await ask('GET', `/${to}/k`))).toBe('404 NoSuchKey');
  });

  it('is nothing that a reader or a part may ask for', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}/k`, { body: secret, headers: aes });
    const id = texts((await ask('POST', `/${to}/parts?uploads`)).body, 'UploadId')[0] ?? '';
    for (const [headers, answer] of [[aes, '400 InvalidArgument'], [{ [`${name}-customer-algorithm`]: 'AES256' }, '400 InvalidRequest']] as const) {
      expect(code(await ask('GET', `/${to}/k`, { headers }))).toBe(answer);
      expect((await ask('HEAD', `/${to}/k`, { headers })).status).toBe(400);
      expect(code(await ask('PUT', `/${to}/parts?partNumber=1&uploadId=${id}`, { body: 'x', headers }))).toBe(answer);
    }
  });

  it('may be demanded by a policy, which is heard before anything is said of what was asked', async () => {
    const to = await bucket();
    const Condition = { StringNotEquals: { 's3:x-amz-server-side-encryption': 'AES256' } };
    const denied = { Effect: 'Deny', Principal: '*', Action: 's3:PutObject', Resource: `arn:aws:s3:::${to}/*`, Condition };
    await ask('PUT', `/${to}?policy`, { body: JSON.stringify({ Version: '2012-10-17', Statement: [denied] }) });
    for (const headers of [{}, { [name]: 'AES192' }, { [name]: 'aws:kms' }]) {
      expect(code(await ask('PUT', `/${to}/k`, { body: 'x', headers }))).toBe('403 AccessDenied');
    }
    expect(code(await ask('PUT', `/${to}/k`, { body: secret, headers: aes }))).toBe('200');
    await expectSealed(to, 'k', secret);
  });

  it('goes with a copy that asks for it, and ends with one that does not', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}/open`, { body: secret, headers: { 'x-amz-meta-a': '1' } });
    await ask('PUT', `/${to}/sealed`, { body: secret, headers: aes });
    for (const from of ['open', 'sealed']) {
      const sealed = await ask('PUT', `/${to}/${from}-sealed`, { headers: { ...aes, 'x-amz-copy-source': `/${to}/${from}` } });
      expect([sealed.status, said(sealed), texts(sealed.body, 'ETag')]).toEqual([200, 'AES256', [`"${hex(secret)}"`]]);
      await expectSealed(to, `${from}-sealed`, secret);
      expect(said(await ask('PUT', `/${to}/${from}-open`, { headers: { 'x-amz-copy-source': `/${to}/${from}` } }))).toBe('undefined');
      await expectPlain(to, `${from}-open`, secret);
    }
    // Onto itself nothing else need change.
    expect(code(await ask('PUT', `/${to}/open`, { headers: { 'x-amz-copy-source': `/${to}/open` } }))).toBe('400 InvalidRequest');
    expect((await ask('PUT', `/${to}/open`, { headers: { ...aes, 'x-amz-copy-source': `/${to}/open` } })).status).toBe(200);
    await expectSealed(to, 'open', secret);
    expect((await ask('HEAD', `/${to}/open`)).headers['x-amz-meta-a']).toBe('1');
    await ask('DELETE', `/${to}/sealed`);
    await expectSealed(to, 'sealed-sealed', secret);
  });

  it('is of the parts of an upload, of what they are copied from, and of the whole', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}/source`, { body: fiveMiB });
    for (const [key, headers] of [['sealed', aes], ['open', {}]] as const) {
      const begun = await ask('POST', `/${to}/${key}?uploads`, { headers });
      const id = texts(begun.body, 'UploadId')[0] ?? '';
      const one = await ask('PUT', `/${to}/${key}?partNumber=1&uploadId=${id}`, { headers: { 'x-amz-copy-source': `/${to}/source` } });
      const two = await ask('PUT', `/${to}/${key}?partNumber=2&uploadId=${id}`, { body: secret });
      const part = (number: number, etag: string) => `<Part><PartNumber>${number}</PartNumber><ETag>"${etag}"</ETag></Part>`;
      const stored = await listParts(s3.database.db, id, { after: 0, limit: 10 });
      expect(stored.map(({ blobId }) => isEncrypted(blobId))).toEqual([key === 'sealed', key === 'sealed']);
      const body = `<CompleteMultipartUpload>${part(1, hex(fiveMiB))}${part(2, hex(secret))}</CompleteMultipartUpload>`;
      const done = await ask('POST', `/${to}/${key}?uploadId=${id}`, { body });
      const again = await ask('POST', `/${to}/${key}?uploadId=${id}`, { body });
      const wanted = key === 'sealed' ? 'AES256' : 'undefined';
      expect([begun, one, two, done, again].map((reply) => `${reply.status} ${said(reply)}`)).toEqual(Array.from({ length: 5 }, () => `200 ${wanted}`));
      const got = await ask('GET', `/${to}/${key}`);
      expect([said(got), got.bytes.equals(Buffer.concat([fiveMiB, Buffer.from(secret)]))]).toEqual([wanted, true]);
      expect((await ask('GET', `/${to}/${key}?partNumber=2`)).body).toBe(secret);
      expect((await fileOf(to, key)).includes('nobody')).toBe(key === 'open');
    }
  });

  it('is of the one part of an upload, though a release has written it that knows of no encryption', async () => {
    const to = await bucket();
    const id = texts((await ask('POST', `/${to}/k?uploads`, { headers: aes })).body, 'UploadId')[0] ?? '';
    const { etag } = (await ask('PUT', `/${to}/k?partNumber=1&uploadId=${id}`, { body: secret })).headers;
    const { blobId } = await store.write(Readable.from([Buffer.from(secret)]));
    await s3.database.db.update(multipartParts).set({ blobId }).where(eq(multipartParts.uploadId, id));
    const body = `<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>${etag}</ETag></Part></CompleteMultipartUpload>`;
    expect(said(await ask('POST', `/${to}/k?uploadId=${id}`, { body }))).toBe('AES256');
    await expectSealed(to, 'k', secret);
  });

  it('is of a form that asks for it', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}?acl`, { headers: { 'x-amz-acl': 'public-read-write' } });
    const form = (fields: Record<string, string>) => {
      const parts = Object.entries({ key: 'k', ...fields })
        .map(([field, value]) => `--line\r\nContent-Disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`);
      const body = `${parts.join('')}--line\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n${secret}\r\n--line--\r\n`;
      return ask('POST', `/${to}`, { body, as: 'none', headers: { 'content-type': 'multipart/form-data; boundary=line' } });
    };
    expect(code(await form({ [name]: 'aws:kms' }))).toBe('501 NotImplemented');
    const put = await form({ ...aes, acl: 'public-read' });
    expect([put.status, said(put)]).toEqual([204, 'AES256']);
    await expectSealed(to, 'k', secret);
  });

  it('stays with a version that is not current any more, and with tags and ACLs that change', async () => {
    const to = await bucket();
    await ask('PUT', `/${to}?versioning`, { body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>' });
    const old = String((await ask('PUT', `/${to}/k`, { body: secret, headers: aes })).headers['x-amz-version-id']);
    await ask('PUT', `/${to}/k?tagging`, { body: '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>' });
    await ask('PUT', `/${to}/k?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    await ask('PUT', `/${to}/k`, { body: 'open' });
    const got = await ask('GET', `/${to}/k?versionId=${old}`, { as: 'none' });
    expect([got.body, said(got)]).toEqual([secret, 'AES256']);
    expect(said(await ask('GET', `/${to}/k`))).toBe('undefined');
    await ask('PUT', `/${to}/k`, { headers: { ...aes, 'x-amz-copy-source': `/${to}/k?versionId=${old}` } });
    await expectSealed(to, 'k', secret);
  });

  it('waits for the last host that could not read it', async () => {
    const [to, set] = [await bucket(), await bucket('AES256')];
    older = 'one (0.2.0)';
    try {
      for (const reply of [
        await ask('PUT', `/${to}/k`, { body: 'x', headers: aes }), await ask('PUT', `/${set}/k`, { body: 'x' }),
        await ask('POST', `/${to}/k?uploads`, { headers: aes }), await ask('PUT', `/${to}?encryption`, { body: configuration('AES256') }),
      ]) expect([code(reply), reply.body.includes('one (0.2.0)')]).toEqual(['503 ServiceUnavailable', true]);
      expect((await ask('PUT', `/${to}/k`, { body: 'x' })).status).toBe(200);
    } finally {
      older = undefined;
    }
    expect((await ask('PUT', `/${set}/k`, { body: 'x' })).status).toBe(200);
  });
});

describe('the encryption of a bucket', () => {
  it('is none, then set, then none again', async () => {
    const to = await bucket();
    const missing = '404 ServerSideEncryptionConfigurationNotFoundError';
    expect(code(await ask('GET', `/${to}?encryption`))).toBe(missing);
    expect((await ask('PUT', `/${to}?encryption`, { body: configuration('AES256') })).status).toBe(200);
    expect(texts((await ask('GET', `/${to}?encryption`)).body, 'SSEAlgorithm')).toEqual(['AES256']);
    const put = await ask('PUT', `/${to}/k`, { body: secret });
    expect(said(put)).toBe('AES256');
    await expectSealed(to, 'k', secret);
    const begun = await ask('POST', `/${to}/parts?uploads`);
    expect(said(begun)).toBe('AES256');
    await ask('PUT', `/${to}/copy`, { headers: { 'x-amz-copy-source': `/${to}/k` } });
    await expectSealed(to, 'copy', secret);
    expect((await ask('DELETE', `/${to}?encryption`)).status).toBe(204);
    expect((await ask('DELETE', `/${to}?encryption`)).status).toBe(204);
    expect(code(await ask('GET', `/${to}?encryption`))).toBe(missing);
    await ask('PUT', `/${to}/open`, { body: secret });
    await expectPlain(to, 'open', secret);
    await expectSealed(to, 'k', secret);
  });

  it('is AES256 and nothing else, and its owner\'s to set', async () => {
    const to = await bucket();
    const put = async (body: string, as = 'one') => code(await ask('PUT', `/${to}?encryption`, { body, as }));
    expect(await put(configuration('aws:kms'))).toBe('501 NotImplemented');
    expect(await put(configuration('AES128'))).toBe('400 MalformedXML');
    expect(await put('<ServerSideEncryptionConfiguration/>')).toBe('400 MalformedXML');
    expect(await put('nonsense')).toBe('400 MalformedXML');
    expect(await put(configuration('AES256', '<KMSMasterKeyID>key</KMSMasterKeyID>'))).toBe('400 InvalidArgument');
    expect(await put(configuration('AES256'), 'two')).toBe('403 AccessDenied');
    expect(code(await ask('GET', `/${to}?encryption`, { as: 'two' }))).toBe('403 AccessDenied');
    expect(code(await ask('DELETE', `/${to}?encryption`, { as: 'two' }))).toBe('403 AccessDenied');
    expect(code(await ask('GET', '/secrets-absent?encryption'))).toBe('404 NoSuchBucket');
    expect(code(await ask('GET', `/${to}?encryption`))).toBe('404 ServerSideEncryptionConfigurationNotFoundError');
  });

  it('puts no key into the database', async () => {
    const to = await bucket('AES256');
    await ask('PUT', `/${to}/k`, { body: secret });
    const head = (await fileOf(to, 'k')).subarray(0, 128).toString().trim().split(' ')[1] ?? '';
    expect(head).toMatch(/^v1\.[\w-]{90,}$/);
    const [row] = await s3.database.db.select().from(objects).where(eq(objects.bucket, to));
    expect(row?.key).toBe('k');
    expect(JSON.stringify(row)).not.toContain(head);
  });
});
