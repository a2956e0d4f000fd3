// What is wrong with a request, and AWS's code and status for it, in the words of EC2, STS and S3.
import { beforeAll, describe, expect, test } from 'vitest';
import { authenticateEc2, authenticateS3, type SignedRequest } from '../../../src/auth/authenticate.ts';
import { ApiError } from '../../../src/lib/errors.ts';
import { createAuthFixture, fixtureNow, requestOf, standingClock, type AuthFixture } from '../../support/auth-fixture.ts';
import { amzDate, presignBySmithy, signByAws4, signS3V2, signV2 } from '../../support/signers.ts';

let fixture: AuthFixture;

beforeAll(async () => {
  fixture = await createAuthFixture();
});

const minute = 60_000;
const form = { method: 'POST', target: '/', body: 'Action=DescribeRegions', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } };

async function answer(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(() => 'believed', (reason: unknown) => reason);
  return error instanceof ApiError ? `${error.status} ${error.code}: ${error.message}` : String(error);
}

const ec2 = (request: SignedRequest, now = fixtureNow, dialect?: 'ec2' | 'sts') =>
  answer(authenticateEc2(request, { ...fixture.deps, clock: standingClock(now) }, dialect));
const s3 = (request: SignedRequest, now = fixtureNow) => answer(authenticateS3(request, { ...fixture.deps, clock: standingClock(now) }));

/** The request with a header replaced. */
const withHeader = (request: SignedRequest, name: string, change: (value: string) => string): SignedRequest => {
  const rawHeaders = request.rawHeaders.map((text, index) => (request.rawHeaders[index - 1]?.toLowerCase() === name && index % 2 === 1 ? change(text) : text));
  return { ...request, rawHeaders, headers: { ...request.headers, [name]: change(String(request.headers[name])) } };
};

const wrongSecret = () => ({ ...fixture, secretAccessKey: 'wrong' });
const unknownKey = () => ({ ...fixture, accessKeyId: 'AKIAUNKNOWN' });
const foreign = () => ({ ...fixture, accessKeyId: `${fixture.accessKeyId}:other` });
const failure = '401 AuthFailure: AWS was not able to validate the provided access credentials';

describe('EC2', () => {
  test('an unknown key, a wrong secret and a foreign project are one answer, in both versions', async () => {
    for (const key of [wrongSecret(), unknownKey(), foreign()]) {
      expect([await ec2(signByAws4(key, 'ec2', form)), await ec2(signV2(key, { Action: 'x' }))]).toEqual([failure, failure]);
    }
  });

  test('no signature at all', async () => {
    expect(await ec2(requestOf({ target: '/?Action=DescribeRegions' }))).toBe('400 MissingParameter: The request must contain the parameter AWSAccessKeyId');
    expect(await ec2(requestOf({ target: '/' }), fixtureNow, 'sts')).toBe('403 MissingAuthenticationToken: Request is missing Authentication Token');
  });

  test('a stale time or one of the future, in the header, the query and the form', async () => {
    for (const now of [fixtureNow + 15 * minute + 1, fixtureNow - 15 * minute - 1]) {
      expect(await ec2(signByAws4(fixture, 'ec2', form), now)).toMatch(/^400 RequestExpired: /);
      expect(await ec2(signV2(fixture, { Action: 'x' }), now)).toBe('400 RequestExpired: Request has expired. Timestamp date is 2026-11-22T14:07:54Z.');
    }
    for (const now of [fixtureNow + 15 * minute, fixtureNow - 15 * minute]) {
      expect([await ec2(signByAws4(fixture, 'ec2', form), now), await ec2(signV2(fixture, { Action: 'x' }), now)]).toEqual(['believed', 'believed']);
    }
    expect(await ec2(signV2(fixture, { Action: 'x' }, { time: { Expires: '2026-11-22T14:07:53Z' } }))).toMatch(/^400 RequestExpired: /);
    const presigned = await presignBySmithy(fixture, 'ec2', { target: '/?Action=DescribeRegions' }, 60);
    expect(await ec2(presigned, fixtureNow + minute)).toBe('believed');
    expect(await ec2(presigned, fixtureNow + minute + 1)).toBe('400 RequestExpired: Request has expired.');
  });

  test('a version 2 request that lacks a parameter, gives it twice, or gives nonsense', async () => {
    const signed = signV2(fixture, { Action: 'x' }, { method: 'GET' });
    const change = (from: RegExp, to: string) => ec2({ ...signed, rawQuery: signed.rawQuery.replace(from, to) });
    expect(await change(/&Signature=[^&]*/, '')).toBe('400 MissingParameter: The request must contain the parameter Signature');
    expect(await change(/AWSAccessKeyId=[^&]*&/, '')).toBe('400 MissingParameter: The request must contain the parameter AWSAccessKeyId');
    expect(await change(/&Timestamp=[^&]*/, '')).toBe('400 MissingParameter: The request must contain the parameter Timestamp or Expires');
    expect(await change(/&SignatureMethod=[^&]*/, '')).toBe('400 MissingParameter: The request must contain the parameter SignatureMethod');
    expect(await change(/&SignatureVersion=[^&]*/, '')).toBe('400 MissingParameter: The request must contain the parameter SignatureVersion');
    for (const version of ['0', '1', '3']) expect(await change(/SignatureVersion=2/, `SignatureVersion=${version}`)).toMatch(/^400 InvalidParameterValue/);
    for (const method of ['HmacMD5', 'toString', '__proto__']) expect(await change(/HmacSHA256/, method)).toMatch(/^400 InvalidParameterValue/);
    for (const time of ['yesterday', '2026-02-30T00:00:00Z', '2026-11-22T24:00:00Z', '1e9']) {
      expect(await change(/Timestamp=[^&]*/, `Timestamp=${time}`)).toMatch(/^400 InvalidParameterValue/);
    }
    expect(await change(/$/, `&AWSAccessKeyId=${fixture.accessKeyId}`)).toMatch(/^400 InvalidParameterCombination/);
    expect(await change(/$/, '&Expires=2026-11-22T14:08:00Z')).toMatch(/^400 InvalidParameterCombination: The parameter Timestamp cannot be used/);
  });

  test('a malformed Authorization header', async () => {
    const signed = signByAws4(fixture, 'ec2', form);
    for (const change of [
      (text: string) => text.replace(/Signature=.*/, ''), (text: string) => text.replace('/aws4_request', ''),
      (text: string) => text.replace('SignedHeaders', 'Headers'),
      (text: string) => text.replace('AWS4-HMAC-SHA256', 'AWS4-HMAC-SHA1'), () => 'Basic YTpi', () => 'AWS4-HMAC-SHA256', () => 'AWS a:b', () => '',
      (text: string) => text.replace('host;', ''), (text: string) => text.replace('/20261122/', '/20261121/'),
    ]) expect(await ec2(withHeader(signed, 'authorization', change))).toMatch(/^400 IncompleteSignature: /);
    expect(await ec2(withHeader(signed, 'x-amz-date', () => '22.11.2026'))).toMatch(/^400 IncompleteSignature: /);
  });

  test('a session token, of which there are none', async () => {
    expect(await ec2(signByAws4(fixture, 'ec2', { ...form, headers: { ...form.headers, 'X-Amz-Security-Token': 'token' } }))).toBe(failure);
  });

  test('a body other than the one signed, though its digest is claimed', async () => {
    const signed = signByAws4(fixture, 'ec2', form);
    expect(await ec2({ ...signed, body: Buffer.from('Action=TerminateInstances') })).toBe(failure);
    const unsigned = signByAws4(fixture, 'ec2', { ...form, headers: { ...form.headers, 'X-Amz-Content-Sha256': 'UNSIGNED-PAYLOAD' } });
    expect(await ec2(unsigned)).toBe(failure);
  });

  test('STS has words of its own', async () => {
    expect(await ec2(signByAws4(unknownKey(), 'sts', form))).toBe('403 InvalidClientTokenId: The security token included in the request is invalid.');
    expect(await ec2(signByAws4(wrongSecret(), 'sts', form))).toMatch(/^403 SignatureDoesNotMatch: /);
    expect(await ec2(signByAws4(fixture, 'sts', form), fixtureNow + 60 * minute)).toMatch(/^403 SignatureDoesNotMatch: /);
    expect(await ec2(signV2(unknownKey(), { Action: 'GetCallerIdentity' }), fixtureNow, 'sts')).toMatch(/^403 InvalidClientTokenId/);
  });
});

describe('S3', () => {
  const get = { target: '/b/k' };
  const date = 'Sun, 22 Nov 2026 14:07:54 GMT';
  const old = (key: { accessKeyId: string; secretAccessKey: string }) => signS3V2(key, { ...get, headers: { Date: date } }, `GET\n\n\n${date}\n`, '/b/k');

  test('an unknown key, a wrong secret, a foreign project', async () => {
    for (const sign of [(key: typeof fixture) => signByAws4(key, 's3', get), old]) {
      expect(await s3(sign(unknownKey()))).toBe('403 InvalidAccessKeyId: The AWS Access Key Id you provided does not exist in our records.');
      expect(await s3(sign(wrongSecret()))).toMatch(/^403 SignatureDoesNotMatch: /);
      expect(await s3(sign({ ...fixture, accessKeyId: `${fixture.accessKeyId}:other` }))).toBe('403 AccessDenied: Access Denied');
    }
  });

  test('a time outside the window, and a presigned request past its life or before its time', async () => {
    for (const request of [signByAws4(fixture, 's3', get), old(fixture)]) {
      for (const now of [fixtureNow + 16 * minute, fixtureNow - 16 * minute]) expect(await s3(request, now)).toMatch(/^403 RequestTimeTooSkewed: /);
    }
    const presigned = await presignBySmithy(fixture, 's3', get, 3600);
    expect(await s3(presigned, fixtureNow + 59 * minute)).toBe('believed');
    expect(await s3(presigned, fixtureNow + 61 * minute)).toBe('403 AccessDenied: Request has expired');
    expect(await s3(presigned, fixtureNow - 16 * minute)).toBe('403 AccessDenied: Request is not valid yet');
    const query = `AWSAccessKeyId=${fixture.accessKeyId}&Expires=${fixtureNow / 1000 - 1}&Signature=x`;
    expect(await s3(requestOf({ target: `/b/k?${query}` }))).toBe('403 AccessDenied: Request has expired');
  });

  test('a presigned request with a life over a week, none, or nonsense', async () => {
    const presigned = await presignBySmithy(fixture, 's3', get, 3600);
    for (const life of ['604801', '-1', 'x', '']) {
      const rawQuery = presigned.rawQuery.replace(/X-Amz-Expires=3600/, `X-Amz-Expires=${life}`);
      expect(await s3({ ...presigned, rawQuery })).toMatch(/^400 AuthorizationQueryParametersError/);
    }
    for (const name of ['Expires', 'Algorithm', 'Credential', 'Date', 'SignedHeaders', 'Signature']) {
      const rawQuery = presigned.rawQuery.replace(new RegExp(`&?X-Amz-${name}=[^&]*`), '');
      expect(await s3({ ...presigned, rawQuery })).toMatch(/^400 AuthorizationQueryParametersError/);
    }
  });

  test('two ways of signing at once, and ways that are not ours', async () => {
    const signed = signByAws4(fixture, 's3', get);
    expect(await s3({ ...signed, rawQuery: 'Signature=x&AWSAccessKeyId=y&Expires=1' })).toMatch(/^400 InvalidArgument: Only one auth mechanism/);
    for (const text of ['Basic YTpi', 'Bearer x', 'AWS nonsense', 'AWS :x', '']) {
      expect(await s3(requestOf({ ...get, headers: { Authorization: text, Date: date } }))).toMatch(/^400 InvalidArgument/);
    }
    expect(await s3(withHeader(signed, 'authorization', (text) => text.replace('Credential', 'credentials')))).toMatch(/^400 AuthorizationHeaderMalformed/);
  });

  test('no date, no digest, a digest that is none', async () => {
    for (const dated of [{}, { Date: 'today' }, { Date: 'Sun, 31 Feb 2026 14:07:54 GMT' }]) {
      const answered = await s3(requestOf({ ...get, headers: { Authorization: 'AWS a:b', ...dated } }));
      expect(answered).toMatch(/^403 AccessDenied: AWS authentication requires a valid Date/);
    }
    const { 'x-amz-content-sha256': _digest, ...headers } = signByAws4(fixture, 's3', get).headers;
    const bare = requestOf({ ...get, headers: headers as Record<string, string> });
    expect(await s3(bare)).toBe('400 InvalidRequest: Missing required header for this request: x-amz-content-sha256');
    for (const digest of ['x', 'unsigned-payload', 'F'.repeat(64), 'STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD']) {
      const signed = signByAws4(fixture, 's3', { ...get, headers: { 'X-Amz-Content-Sha256': digest } });
      expect(await s3(signed)).toMatch(/^400 InvalidArgument: x-amz-content-sha256/);
    }
  });

  test('an x-amz- header that was added to a signed request', async () => {
    const signed = signByAws4(fixture, 's3', { ...get, method: 'PUT' });
    const added = { ...signed, rawHeaders: [...signed.rawHeaders, 'x-amz-acl', 'public-read'], headers: { ...signed.headers, 'x-amz-acl': 'public-read' } };
    expect(await s3(added)).toBe('403 AccessDenied: There were headers present in the request which were not signed: x-amz-acl');
  });

  test('signed chunks that nothing is signed to follow from', async () => {
    const headers = { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'x-amz-decoded-content-length': '1' };
    expect(await s3(requestOf({ ...get, method: 'PUT', headers }))).toMatch(/^400 InvalidRequest/);
    const chunked = (extra: Record<string, string>) => signByAws4(fixture, 's3', {
      ...get, method: 'PUT', headers: { 'X-Amz-Content-Sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'X-Amz-Date': amzDate, ...extra },
    });
    expect(await s3(chunked({}))).toMatch(/^411 MissingContentLength/);
    expect(await s3(chunked({ 'X-Amz-Decoded-Content-Length': '-1' }))).toMatch(/^400 InvalidArgument/);
    expect(await s3(chunked({ 'X-Amz-Decoded-Content-Length': '5' }))).toBe('believed');
  });

  test('nothing signed is nobody, and nothing wrong', async () => {
    const { principal, payload } = await authenticateS3(requestOf(get), fixture.deps);
    expect([principal, payload.kind]).toEqual([undefined, 'unsigned']);
  });
});
