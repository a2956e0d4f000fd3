// What browsers need: rules for other origins, and forms.
import { createHmac } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Authority } from '../../src/auth/authenticate.ts';
import { deriveSigningKey, SigningKeys } from '../../src/auth/signing-keys.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newSealer } from '../support/new-sealer.ts';
import { code, principalOf, startS3, texts, type Ask, type Reply, type S3Fixture } from '../support/s3-server.ts';

const secret = 'a secret of forms';
const user = { id: 'u-1', name: 'specs', isAdmin: false, enabled: true };
let wrong = 0;
const authority: Authority = {
  signingKeys: new SigningKeys(),
  findCredential: (accessKeyId) =>
    Promise.resolve(accessKeyId === 'AKIAFORM' ? { accessKeyId, secret, user, requestedProject: undefined, keyProjectId: undefined } : undefined),
  principalOf: () => Promise.resolve(principalOf('one')),
  isLocked: () => Promise.resolve(false),
  noteWrongSignature: async () => void (wrong += 1),
};
let s3: S3Fixture;
let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3-forms-'));
  // Of files, which are opened while the first bytes are there already.
  s3 = await startS3({ authority, store: await openFilesystemStore({ folder, sealer: newSealer() }) });
  await ask('PUT', '/browsed');
});
afterAll(async () => {
  await s3.close();
  await rm(folder, { recursive: true, force: true });
});

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });

describe('CORS', () => {
  const rules = '<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>'
    + '<AllowedOrigin>https://*.example.org</AllowedOrigin>'
    + '<AllowedHeader>x-amz-*</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>';
  const flight = (origin: string, method: string, headers?: string) => ask('OPTIONS', '/browsed/k', {
    as: 'none', headers: { origin, 'access-control-request-method': method, ...(headers === undefined ? {} : { 'access-control-request-headers': headers }) },
  });

  it('lets no other origin in before there are rules', async () => {
    expect(code(await ask('GET', '/browsed?cors'))).toBe('404 NoSuchCORSConfiguration');
    expect(code(await flight('https://a.example.org', 'GET'))).toBe('403 AccessForbidden');
    expect(code(await ask('OPTIONS', '/browsed/k', { as: 'none' }))).toBe('400 BadRequest');
  });

  it('answers preflights by the first rule that fits, and marks every answer, refusals too', async () => {
    expect((await ask('PUT', '/browsed?cors', { body: rules })).status).toBe(200);
    const { body } = await ask('GET', '/browsed?cors');
    expect([texts(body, 'AllowedMethod'), texts(body, 'MaxAgeSeconds')]).toEqual([['GET', 'PUT'], ['60']]);
    expect(await flight('https://a.example.org', 'PUT', 'X-Amz-Date, x-amz-acl')).toMatchObject({ status: 200, headers: {
      'access-control-allow-origin': 'https://a.example.org',
      'access-control-allow-methods': 'GET, PUT', 'access-control-allow-headers': 'x-amz-date, x-amz-acl',
      'access-control-expose-headers': 'ETag', 'access-control-max-age': '60' } });
    expect(code(await flight('https://example.com', 'PUT'))).toBe('403 AccessForbidden');
    // A signed address is signed for what the browser will send, not for its preflight.
    const signed = { as: 'none', headers: { origin: 'https://a.example.org', 'access-control-request-method': 'PUT' } };
    expect((await ask('OPTIONS', '/browsed/k?X-Amz-Signature=1', signed)).status).toBe(200);
    expect(code(await ask('PUT', '/browsed/k?X-Amz-Signature=1', signed))).toBe('403 SignatureDoesNotMatch');
    expect(code(await flight('https://a.example.org', 'DELETE'))).toBe('403 AccessForbidden');
    expect(code(await flight('https://a.example.org', 'GET', 'content-type'))).toBe('403 AccessForbidden');
    for (const as of ['one', 'none']) {
      const { headers } = await ask('GET', '/browsed/absent', { as, headers: { origin: 'https://b.example.org' } });
      expect(headers['access-control-allow-origin']).toBe('https://b.example.org');
    }
    expect((await ask('GET', '/browsed', { headers: { origin: 'https://example.com' } })).headers['access-control-allow-origin']).toBeUndefined();
    expect((await ask('DELETE', '/browsed?cors')).status).toBe(204);
    expect(code(await flight('https://a.example.org', 'GET'))).toBe('403 AccessForbidden');
  });

  it.each([
    ['no rule', '', '400 MalformedXML'], ['two wildcards', '<AllowedMethod>GET</AllowedMethod><AllowedOrigin>*.*</AllowedOrigin>', '400 InvalidRequest'],
    ['an unknown method', '<AllowedMethod>FLY</AllowedMethod><AllowedOrigin>*</AllowedOrigin>', '400 InvalidRequest'],
    ['no origin', '<AllowedMethod>GET</AllowedMethod>', '400 MalformedXML'],
  ])('refuses %s', async (_what, rule, answer) => {
    const body = `<CORSConfiguration>${rule === '' ? '' : `<CORSRule>${rule}</CORSRule>`}</CORSConfiguration>`;
    expect(code(await ask('PUT', '/browsed?cors', { body }))).toBe(answer);
  });
});

type Conditions = readonly (readonly unknown[] | Record<string, string>)[];
const expiration = () => new Date(systemClock.now() + 60_000).toISOString();
const encode = (conditions: Conditions, until = expiration()) => Buffer.from(JSON.stringify({ expiration: until, conditions })).toString('base64');
const standard: Conditions = [{ bucket: 'browsed' }, ['starts-with', '$key', 'up/'], ['content-length-range', 2, 20]];

function signedV2(policy: string): Record<string, string> {
  return { policy, AWSAccessKeyId: 'AKIAFORM', signature: createHmac('sha1', secret).update(policy).digest('base64') };
}

function post(fields: Record<string, string>, file = 'content', filename = 'C:\\a file.txt'): Promise<Reply> {
  const part = (name: string, value: string, more = '') => `--B0\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n${value}\r\n`;
  const before = Object.entries(fields).map(([name, value]) => part(name, value)).join('');
  const body = `${before}${part('file', file, `; filename="${filename}"\r\nContent-Type: text/x`)}--B0--\r\n`;
  return ask('POST', '/browsed', { as: 'none', body, headers: { 'content-type': 'multipart/form-data; boundary=B0' } });
}

describe('a form', () => {
  it('signed in version 2 puts its file, whatever is in it', async () => {
    const file = 'two\r\n--B\r\nlines\0';
    const reply = await post({ key: 'up/k', ...signedV2(encode(standard)) }, file);
    expect([reply.status, reply.headers.etag === undefined]).toEqual([204, false]);
    expect((await ask('GET', '/browsed/up/k')).body).toBe(file);
  });

  it('signed in version 4 puts it under its own name, with what its fields say', async () => {
    const scope = { date: '20261130', region: 'nova', service: 's3' };
    const policy = encode([...standard, ['starts-with', '$Content-Type', 'text/'], ['starts-with', '$x-amz-meta-a', ''], ['starts-with', '$tagging', ''],
      ['eq', '$success_action_status', '201'], ['starts-with', '$x-amz-credential', ''],
      ['starts-with', '$x-amz-algorithm', ''], ['starts-with', '$x-amz-date', '']]);
    const reply = await post({
      key: 'up/${filename}', 'Content-Type': 'text/y', 'x-amz-meta-a': '1', success_action_status: '201', 'x-amz-algorithm': 'AWS4-HMAC-SHA256', policy,
      tagging: '<Tagging><TagSet><Tag><Key>t</Key><Value>v</Value></Tag></TagSet></Tagging>', 'x-amz-date': '20261130T000000Z',
      'x-amz-credential': `AKIAFORM/${scope.date}/${scope.region}/${scope.service}/aws4_request`,
      'x-amz-signature': createHmac('sha256', deriveSigningKey(secret, scope)).update(policy).digest('hex'),
    });
    expect([reply.status, texts(reply.body, 'Key'), texts(reply.body, 'Bucket')]).toEqual([201, ['up/a file.txt'], ['browsed']]);
    expect(reply.body).toContain('<PostResponse>');
    expect(await ask('GET', '/browsed/up/a%20file.txt')).toMatchObject({
      body: 'content', headers: { 'content-type': 'text/y', 'x-amz-meta-a': '1', 'x-amz-tagging-count': '1' } });
  });

  it('sends the browser on', async () => {
    const policy = encode([...standard, ['starts-with', '$success_action_redirect', 'http://']]);
    const reply = await post({ key: 'up/k', success_action_redirect: 'http://example.org/?a=1', ...signedV2(policy) });
    expect([reply.status, reply.headers.location]).toEqual([303,
      expect.stringMatching(/^http:\/\/example\.org\/\?a=1&bucket=browsed&key=up%2Fk&etag=%22[0-9a-f]{32}%22$/)]);
  });

  it.each<[string, Record<string, string>, string]>([
    ['a wrong signature', { key: 'up/k', ...signedV2(encode(standard)), signature: 'AAAA' }, '403 SignatureDoesNotMatch'],
    ['an unknown key', { key: 'up/k', ...signedV2(encode(standard)), AWSAccessKeyId: 'AKIAOTHER' }, '403 InvalidAccessKeyId'],
    ['no signature', { key: 'up/k', policy: encode(standard), AWSAccessKeyId: 'AKIAFORM' }, '400 InvalidArgument'],
    ['another prefix', { key: 'other/k', ...signedV2(encode(standard)) }, '403 AccessDenied'],
    ['another bucket', { key: 'up/k', ...signedV2(encode([{ bucket: 'x' }, ['starts-with', '$key', '']])) }, '403 AccessDenied'],
    ['a field of which the policy is silent', { key: 'up/k', 'x-amz-meta-a': '1', ...signedV2(encode(standard)) }, '403 AccessDenied'],
    ['an expired policy', { key: 'up/k', ...signedV2(encode(standard, '2020-01-01T00:00:00Z')) }, '403 AccessDenied'],
    ['no date', { key: 'up/k', ...signedV2(encode(standard, 'soon')) }, '400 InvalidPolicyDocument'],
    ['a small limit', { key: 'up/k', ...signedV2(encode([...standard, ['content-length-range', 0, 3]])) }, '400 EntityTooLarge'],
    ['a large minimum', { key: 'up/k', ...signedV2(encode([...standard, ['content-length-range', 15, 20]])) }, '400 EntityTooSmall'],
    ['half a range', { key: 'up/k', ...signedV2(encode([...standard, ['content-length-range', 1]])) }, '400 InvalidPolicyDocument'],
    ['no key', { ...signedV2(encode(standard)) }, '400 InvalidArgument'],
    ['nobody\'s leave', { key: 'up/k' }, '403 AccessDenied'],
  ])('with %s is refused', async (_what, fields, answer) => {
    expect(code(await post(fields))).toBe(answer);
    expect(await readdir(join(folder, 'tmp'))).toEqual([]);
  });

  it('that is signed wrongly is counted against its key', async () => {
    const before = wrong;
    await post({ key: 'up/k', ...signedV2(encode(standard)), signature: 'AAAA' });
    expect(wrong).toBe(before + 1);
  });

  it.each([['too large', 400, [...standard, ['content-length-range', 0, 1000]]], ['not allowed', 403, [{ bucket: 'x' }]]] as const)(
    'whose large file is %s is answered, and leaves nothing', async (_what, status, conditions) => {
      const reply = await post({ key: 'up/k', ...signedV2(encode(conditions)) }, 'x'.repeat(3_000_000));
      expect(reply.status).toBe(status);
      expect(await readdir(join(folder, 'tmp'))).toEqual([]);
    });

  it('needs neither policy nor signature where all may write', async () => {
    await ask('PUT', '/browsed?acl', { headers: { 'x-amz-acl': 'public-read-write' } });
    expect((await post({ key: 'free' })).status).toBe(204);
    expect(code(await post({}))).toBe('400 InvalidArgument');
    await ask('PUT', '/browsed?acl', { headers: { 'x-amz-acl': 'private' } });
  });
});
