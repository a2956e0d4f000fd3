// Signatures of other signers are believed; any byte of what they signed, changed, is not.
import * as fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { authenticateEc2, authenticateS3 } from '../../../src/auth/authenticate.ts';
import { canonicalPathOnce, canonicalPathTwice } from '../../../src/auth/canonical-v4.ts';
import { parseParameters, percentDecode } from '../../../src/auth/percent-encoding.ts';
import type { SignedRequest } from '../../../src/auth/request.ts';
import { ApiError } from '../../../src/lib/errors.ts';
import { signV4 } from '../../../src/auth/sign-v4.ts';
import { createAuthFixture, fixtureNow, requestOf, standingClock, type AuthFixture } from '../../support/auth-fixture.ts';
import { host, presignBySmithy, signByAws4, signBySmithy, signS3V2, signV2 } from '../../support/signers.ts';

let fixture: AuthFixture;

beforeAll(async () => {
  fixture = await createAuthFixture();
});

const ec2 = (request: SignedRequest, now = fixtureNow) => authenticateEc2(request, { auth: fixture.auth, clock: standingClock(now) });
const s3 = (request: SignedRequest, now = fixtureNow) => authenticateS3(request, { auth: fixture.auth, clock: standingClock(now) });

const form = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
const odd = "a b+c~'(1)*!&=%/ü€\u{1F600}";
const encoded = encodeURIComponent(odd).replaceAll(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
const lifeSeconds = 600;

describe('the query API', () => {
  const body = `Action=CreateTags&Tag.1.Value=${encoded}&Version=2016-11-15`;

  test('version 4 of two other signers is believed, with odd characters, in the header and presigned', async () => {
    for (const target of ['/', '/services/Cloud', '/services/Cloud/']) {
      expect((await ec2(await signBySmithy(fixture, 'ec2', { method: 'POST', target, headers: form, body }))).userName).toBe('ann');
      await ec2(signByAws4(fixture, 'ec2', { method: 'POST', target, headers: form, body }));
      await ec2(await presignBySmithy(fixture, 'ec2', { target: `${target}?Action=DescribeRegions` }, lifeSeconds));
      await ec2(signByAws4(fixture, 'ec2', { target: `${target}?${body}` }, 'query'));
    }
  });

  test.each(['GET', 'POST'] as const)('version 2 by %s is believed: both digests, each form of host, path and time', async (method) => {
    const parameters = { Action: 'CreateTags', 'Tag.1.Value': odd, 'Tag.10.Key': 'x', 'Tag.2.Key': '' };
    for (const digest of ['sha1', 'sha256'] as const) await ec2(signV2(fixture, parameters, { method, digest }));
    await ec2(signV2(fixture, parameters, { method, signedHost: '127.0.0.1' }));
    await ec2(signV2(fixture, parameters, { method, path: '/services/Cloud', signedPath: '/services/Cloud/' }));
    await ec2(signV2(fixture, parameters, { method, path: '/services/Cloud/', signedPath: '/services/Cloud' }));
    await ec2(signV2(fixture, parameters, { method, time: { Expires: '2026-11-22T14:08:00Z' } }));
    await ec2(signV2(fixture, parameters, { method, time: { Timestamp: '2026-11-22T14:07:54' } }));
    await ec2(signV2(fixture, parameters, { method, time: { Timestamp: '2026-11-22T15:07:54.123+01:00' } }));
    await expect(ec2(signV2(fixture, parameters, { method, signedHost: 'other' }))).rejects.toMatchObject({ code: 'AuthFailure' });
    await expect(ec2(signV2(fixture, parameters, { method, signedPath: '/services/Admin' }))).rejects.toMatchObject({ code: 'AuthFailure' });
  });

  test('the project after the colon is acted in, in every version', async () => {
    const key = { ...fixture, accessKeyId: `${fixture.accessKeyId}:ann` };
    expect((await ec2(signByAws4(key, 'ec2', { method: 'POST', target: '/', headers: form, body }))).projectName).toBe('ann');
    expect((await ec2(signV2(key, { Action: 'x' }))).projectName).toBe('ann');
    const other = { ...fixture, accessKeyId: `${fixture.accessKeyId}:other` };
    await expect(ec2(signV2(other, { Action: 'x' }))).rejects.toMatchObject({ code: 'AuthFailure', status: 401 });
  });
});

describe('S3', () => {
  const targets = ['/', '/b', '/b/', '/b?acl', '/b?list-type=2&prefix=a%20b%2B', `/b/${encoded}`, '/b/a//b', '/b/a/../c', '/b/k?partNumber=1&uploadId=x%2F%2B'];

  test.each(targets)('version 4 of %s is believed from three signers, in the header and presigned', async (target) => {
    const signed = [
      await signBySmithy(fixture, 's3', { target }), await presignBySmithy(fixture, 's3', { target }, lifeSeconds),
      signByAws4(fixture, 's3', { target }), signByAws4(fixture, 's3', { target }, 'query'),
    ];
    for (const request of signed) expect((await s3(request)).principal?.userName).toBe('ann');
    // URL resolves dotted segments, so what is sent is not what was meant; the other signers do not use it.
    const url = new URL(`http://${host}${target}`);
    const own = signV4({ method: 'GET', url, ...fixture, region: 'nova', service: 's3', date: new Date(fixtureNow) });
    expect((await s3(requestOf({ target: url.pathname + url.search, headers: own }))).payload.kind).toBe('hash');
  });

  test('the first scheme is believed: each form of date, x-amz- headers, sub-resources, a virtual host', async () => {
    const date = 'Sun, 22 Nov 2026 14:07:54';
    for (const zone of ['GMT', '-0000', '+0000']) {
      await s3(signS3V2(fixture, { target: '/b/k?acl', headers: { Date: `${date} ${zone}` } }, `GET\n\n\n${date} ${zone}\n`, '/b/k?acl'));
    }
    const headers = { 'x-amz-date': `${date} GMT`, 'X-Amz-Meta-B': ' two ', 'x-amz-acl': 'private', 'Content-Type': 'text/plain', 'Content-MD5': 'abc=' };
    const lines = `PUT\nabc=\ntext/plain\n\nx-amz-acl:private\nx-amz-date:${date} GMT\nx-amz-meta-b:two\n`;
    const put = { method: 'PUT', headers };
    const target = '/b/a%20b?unknown=1&uploadId=x%2F&partNumber=2';
    for (const uploadId of ['x/', 'x%2F']) await s3(signS3V2(fixture, { ...put, target }, lines, `/b/a%20b?partNumber=2&uploadId=${uploadId}`));
    await s3(signS3V2(fixture, { ...put, target: '/k', virtualHostBucket: 'b' }, lines, '/b/k'));
    const elsewhere = signS3V2(fixture, { ...put, target: '/k', virtualHostBucket: 'c' }, lines, '/b/k');
    await expect(s3(elsewhere)).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' });
  });
});

class Anonymous extends Error {}

interface Change {
  readonly part: 'method' | 'path' | 'query' | 'header' | 'body';
  /** Where, as a fraction of the length, and to which byte. */
  readonly at: number;
  readonly to: number;
}

/** One byte of one part of the request, changed; undefined where the request has no such byte, or where the change changes nothing that counts. */
function tampered(request: SignedRequest, change: Change, twice: boolean): SignedRequest | undefined {
  const changeText = (text: string): string => {
    const index = Math.floor(change.at * text.length);
    return text.slice(0, index) + String.fromCharCode(change.to) + text.slice(index + 1);
  };
  if (change.part === 'method') return differing(request, { ...request, method: changeText(request.method) });
  if (change.part === 'path') {
    const rawPath = changeText(request.rawPath);
    const canonical = twice ? canonicalPathTwice : canonicalPathOnce;
    const same = canonical(rawPath) === canonical(request.rawPath);
    return same || rawPath.includes('?') || request.rawPath === '/' ? undefined : { ...request, rawPath };
  }
  if (change.part === 'query') {
    const rawQuery = changeText(request.rawQuery);
    return rawQuery === '' || pairs(rawQuery) === pairs(request.rawQuery) ? undefined : { ...request, rawQuery };
  }
  if (change.part === 'body') {
    if (request.body === undefined || request.body.length === 0) return undefined;
    const body = Buffer.from(request.body);
    body[Math.floor(change.at * body.length)] = change.to;
    // Version 4 signs the bytes of a body, version 2 what they say: `%3d` says what `%3D` does.
    const said = (bytes: Buffer) => (request.headers['authorization'] === undefined ? pairs(bytes.toString('latin1')) : bytes.toString('latin1'));
    return said(body) === said(request.body) ? undefined : { ...request, body };
  }
  return tamperedHeader(request, change, changeText);
}

/** Of the headers that count: those listed as signed, and the Authorization header itself. */
function tamperedHeader(request: SignedRequest, change: Change, changeText: (text: string) => string): SignedRequest | undefined {
  const authorization = String(request.headers['authorization'] ?? request.rawQuery);
  const listed = percentDecode(/SignedHeaders=([^,&]*)/.exec(authorization)?.[1] ?? '').split(';');
  const counts = (name: string) => listed.includes(name.toLowerCase()) || name.toLowerCase() === 'authorization';
  const names = request.rawHeaders.filter((name, index) => index % 2 === 0 && counts(name));
  const name = names[change.to % names.length];
  const index = name === undefined ? -1 : request.rawHeaders.indexOf(name) + 1;
  const value = request.rawHeaders[index] ?? '';
  const changed = changeText(value);
  if (name === undefined || value === '' || plain(changed) === plain(value)) return undefined;
  return { ...request, headers: { ...request.headers, [name.toLowerCase()]: changed }, rawHeaders: request.rawHeaders.with(index, changed) };
}

const pairs = (raw: string): string => JSON.stringify(parseParameters(raw).toSorted((left, right) => (left.name < right.name ? -1 : 1)));

const plain = (text: string): string => text.trim().replaceAll(/[ \t]+/g, ' ').replaceAll(/, /g, ',');

const differing = (before: SignedRequest, after: SignedRequest): SignedRequest | undefined => (before.method === after.method ? undefined : after);

const changes = fc.record<Change>({
  part: fc.constantFrom('method', 'path', 'query', 'header', 'body'),
  at: fc.double({ min: 0, max: 0.999_999, noNaN: true }),
  to: fc.oneof(fc.integer({ min: 33, max: 126 }), fc.integer({ min: 128, max: 255 })),
});

const refused = async (work: Promise<unknown>): Promise<void> => {
  const outcome: unknown = await work.catch((error: unknown) => error);
  expect(outcome).toMatchObject({ name: 'ApiError' });
};

async function check(make: () => SignedRequest | Promise<SignedRequest>, isS3: boolean): Promise<void> {
  const original = await make();
  await (isS3 ? s3(original) : ec2(original));
  let tried = 0;
  await fc.assert(fc.asyncProperty(changes, async (change) => {
    const request = tampered(original, change, !isS3);
    if (request === undefined) return;
    // A changed query may no longer say that it is signed at all: then the request is anonymous, and that is no belief.
    const work = isS3 ? s3(request).then(({ principal }) => principal ?? Promise.reject(new Anonymous())) : ec2(request);
    const outcome: unknown = await work.catch((error: unknown) => error);
    if (!(outcome instanceof ApiError) && !(outcome instanceof Anonymous)) {
      const shown = `${request.method} ${request.rawPath}?${request.rawQuery} ${request.rawHeaders.join('|')}`;
      throw new Error(`${outcome instanceof Error ? 'failed' : 'believed'} after ${JSON.stringify(change)}: ${shown}`, { cause: outcome });
    }
    tried += 1;
  }), { numRuns: 600 });
  expect(tried).toBeGreaterThan(100);
}

describe('any byte changed', () => {
  const body = `Action=CreateTags&Tag.1.Value=${encoded}&Version=2016-11-15`;
  const target = `/b/${encoded}?partNumber=1&uploadId=x%2Fy`;
  const date = 'Sun, 22 Nov 2026 14:07:54 GMT';

  const path = '/services/Cloud';

  test('is refused in a version 4 request of the query API', () =>
    check(() => signBySmithy(fixture, 'ec2', { method: 'POST', target: path, headers: form, body }), false));
  test('is refused in a presigned request of the query API', () => check(() => signByAws4(fixture, 'ec2', { target: `${path}?${body}` }, 'query'), false));
  test('is refused in a version 2 form', () => check(() => signV2(fixture, { 'Tag.1.Value': odd }, { path }), false));
  test('is refused in a version 2 query', () => check(() => signV2(fixture, { 'Tag.1.Value': odd }, { method: 'GET', path }), false));
  test('is refused in a version 4 request of S3', () => check(() => signBySmithy(fixture, 's3', { target, headers: { 'x-amz-meta-a': 'b' } }), true));
  test('is refused in a presigned request of S3', () => check(() => presignBySmithy(fixture, 's3', { target }, lifeSeconds), true));
  test('is refused in the first scheme of S3', () => check(() =>
    signS3V2(fixture, { target, headers: { Date: date } }, `GET\n\n\n${date}\n`, `/b/${encoded}?partNumber=1&uploadId=x/y`), true));

  test('is refused in every place of a signature', async () => {
    const request = signV2(fixture, { Action: 'x' });
    const text = request.body?.toString() ?? '';
    const start = text.indexOf('Signature=', text.indexOf('Version=2')) + 'Signature='.length;
    for (let index = start; index < text.length; index += 1) {
      if (/%.?$/.test(text.slice(0, index)) || text[index] === '%') continue;
      const other = text[index] === 'A' ? 'B' : 'A';
      await refused(ec2({ ...request, body: Buffer.from(text.slice(0, index) + other + text.slice(index + 1)) }));
    }
  });
});
