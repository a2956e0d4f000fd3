// Temporary keys: believed in every way of signing that clients have, in the project they were asked for in, until their time or the end
// of the key behind them; and each way to be wrong in the words of its service.
import { createHmac } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { authenticateEc2, authenticateS3 } from '../../../src/auth/authenticate.ts';
import type { NewSession } from '../../../src/auth/sessions.ts';
import type { SignedRequest } from '../../../src/auth/request.ts';
import { ApiError } from '../../../src/lib/errors.ts';
import { createAuthFixture, fixtureNow, requestOf, standingClock, type AuthFixture, type RequestParts } from '../../support/auth-fixture.ts';
import { presignBySmithy, signByAws4, signBySmithy, signS3V2, signV2 } from '../../support/signers.ts';

let fixture: AuthFixture;
let session: NewSession;
let projectId: string;

const hourMs = 3_600_000;
const header = 'X-Amz-Security-Token';
const form = { method: 'POST', target: '/', body: 'Action=DescribeRegions', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } };
const date = 'Sun, 22 Nov 2026 14:07:54 GMT';

beforeEach(async () => {
  fixture = await createAuthFixture();
  projectId = (await fixture.auth.requireProject('ann')).id;
  session = fixture.auth.issueSession({ accessKeyId: fixture.accessKeyId, projectId, durationMs: hourMs, now: fixtureNow });
});

/** Without the token, which other signers would add by themselves. */
const key = () => ({ accessKeyId: session.accessKeyId, secretAccessKey: session.secretAccessKey });

const withToken = (parts: RequestParts, token = session.sessionToken): RequestParts => ({ ...parts, headers: { ...parts.headers, [header]: token } });

/** The request of each scheme of the query API. */
const queryRequests = async (token = session.sessionToken): Promise<SignedRequest[]> => [
  signByAws4(key(), 'ec2', withToken(form, token)),
  await signBySmithy(key(), 'ec2', withToken(form, token)),
  await presignBySmithy(key(), 'ec2', { target: `/?Action=DescribeRegions&${header}=${token}` }, 600),
  signV2(key(), { Action: 'DescribeRegions', SecurityToken: token }),
  signV2(key(), { Action: 'DescribeRegions', SecurityToken: token }, { method: 'GET' }),
];

const s3Requests = async (token = session.sessionToken): Promise<SignedRequest[]> => [
  signByAws4(key(), 's3', withToken({ target: '/b/k' }, token)),
  await signBySmithy(key(), 's3', withToken({ target: '/b/k' }, token)),
  await presignBySmithy(key(), 's3', { target: `/b/k?${header}=${token}` }, 600),
  signS3V2(key(), withToken({ target: '/b/k', headers: { Date: date } }, token), `GET\n\n\n${date}\nx-amz-security-token:${token}\n`, '/b/k'),
];

const clockAt = (now: number) => ({ auth: fixture.auth, clock: standingClock(now) });
const ec2 = (request: SignedRequest, now = fixtureNow, dialect?: 'ec2' | 'sts' | 'iam') => authenticateEc2(request, clockAt(now), dialect);
const s3 = (request: SignedRequest, now = fixtureNow) => authenticateS3(request, clockAt(now));

async function answer(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(() => 'believed', (reason: unknown) => reason);
  return error instanceof ApiError ? `${error.status} ${error.code}` : String(error);
}

describe('a session', () => {
  test('is believed in every scheme, as its user in its project, and is known as temporary', async () => {
    expect(session.accessKeyId).toMatch(/^ASIA[A-Z2-7]{16}$/);
    const expected = { userName: 'ann', projectId, accessKeyId: session.accessKeyId, isTemporary: true };
    for (const request of await queryRequests()) expect(await ec2(request)).toMatchObject(expected);
    for (const request of await s3Requests()) expect((await s3(request)).principal).toMatchObject(expected);
  });

  test('a presigned request of S3\'s first scheme signs the token among its parameters', async () => {
    const expires = String(fixtureNow / 1_000 + 60);
    const text = `GET\n\n\n${expires}\nx-amz-security-token:${session.sessionToken}\n/b/k`;
    const signature = encodeURIComponent(createHmac('sha1', session.secretAccessKey).update(text).digest('base64'));
    const query = `AWSAccessKeyId=${session.accessKeyId}&Expires=${expires}&Signature=${signature}`;
    const target = `/b/k?${query}&x-amz-security-token=${session.sessionToken}`;
    expect((await s3(requestOf({ target }))).principal?.userName).toBe('ann');
  });

  test('ends by its time, to the second', async () => {
    expect(session.expiresAt).toEqual(new Date(fixtureNow + hourMs));
    const short = fixture.auth.issueSession({ accessKeyId: fixture.accessKeyId, projectId, durationMs: 60_000, now: fixtureNow });
    session = short;
    const [query, object] = [signByAws4(key(), 'ec2', withToken(form)), signByAws4(key(), 's3', withToken({ target: '/b/k' }))];
    expect([await answer(ec2(query, fixtureNow + 59_999)), await answer(s3(object, fixtureNow + 59_999))]).toEqual(['believed', 'believed']);
    expect(await answer(ec2(query, fixtureNow + 60_000))).toBe('400 RequestExpired');
    for (const dialect of ['sts', 'iam'] as const) expect(await answer(ec2(query, fixtureNow + 60_000, dialect))).toBe('403 ExpiredToken');
    expect(await answer(s3(object, fixtureNow + 60_000))).toBe('400 ExpiredToken');
  });

  test('ends with the key that asked for it: disabled, or deleted', async () => {
    const [query] = await queryRequests();
    const [object] = await s3Requests();
    if (query === undefined || object === undefined) throw new Error('there are requests');
    await fixture.auth.modifyAccessKey(fixture.accessKeyId, { enabled: false });
    expect([await answer(ec2(query)), await answer(s3(object))]).toEqual(['401 AuthFailure', '403 InvalidAccessKeyId']);
    await fixture.auth.modifyAccessKey(fixture.accessKeyId, { enabled: true });
    expect(await answer(ec2(query))).toBe('believed');
    await fixture.auth.deleteAccessKey(fixture.accessKeyId);
    expect([await answer(ec2(query)), await answer(s3(object))]).toEqual(['401 AuthFailure', '403 InvalidAccessKeyId']);
  });

  test('is good in the project it was asked for in, and in no other of its user', async () => {
    await fixture.auth.createProject({ name: 'second', manager: 'ann' });
    const lasting = { ...fixture, accessKeyId: `${fixture.accessKeyId}:second` };
    expect(await answer(ec2(signByAws4(lasting, 'ec2', form)))).toBe('believed');
    const there = { ...key(), accessKeyId: `${session.accessKeyId}:second` };
    expect(await answer(ec2(signByAws4(there, 'ec2', withToken(form))))).toBe('401 AuthFailure');
    const here = { ...key(), accessKeyId: `${session.accessKeyId}:ann` };
    expect(await answer(ec2(signByAws4(here, 'ec2', withToken(form))))).toBe('believed');
  });
});

describe('refused is', () => {
  test('a temporary key without its token', async () => {
    expect(await answer(ec2(signByAws4(key(), 'ec2', form)))).toBe('401 AuthFailure');
    expect(await answer(ec2(signByAws4(key(), 'ec2', form), fixtureNow, 'sts'))).toBe('403 InvalidClientTokenId');
    expect(await answer(s3(signByAws4(key(), 's3', { target: '/b/k' })))).toBe('403 InvalidAccessKeyId');
  });

  test('a token of another session, a changed one, nonsense, and what is absurdly long, in every scheme', async () => {
    const other = fixture.auth.issueSession({ accessKeyId: fixture.accessKeyId, projectId, durationMs: hourMs, now: fixtureNow }).sessionToken;
    const changed = `${session.sessionToken.slice(0, 40)}${session.sessionToken[40] === 'A' ? 'B' : 'A'}${session.sessionToken.slice(41)}`;
    for (const token of [other, changed, 'token', 'v1.', 'x'.repeat(2_001)]) {
      for (const request of await queryRequests(token)) expect(await answer(ec2(request))).toBe('401 AuthFailure');
      for (const request of await s3Requests(token)) expect(await answer(s3(request))).toBe('400 InvalidToken');
    }
  });

  test('a lasting key with a token, a wrong secret with the right one, two tokens, and a token without a signature', async () => {
    expect(await answer(ec2(signByAws4(fixture, 'ec2', withToken(form))))).toBe('401 AuthFailure');
    expect(await answer(ec2(signByAws4({ ...key(), secretAccessKey: 'wrong' }, 'ec2', withToken(form))))).toBe('401 AuthFailure');
    const two = signByAws4(key(), 'ec2', withToken({ ...form, target: '/?SecurityToken=another' }));
    expect(await answer(ec2(two))).toBe('400 InvalidParameterCombination');
    expect(await answer(s3(requestOf(withToken({ target: '/b/k' }))))).toBe('400 InvalidToken');
  });

  test('nothing of a secret is in the token', () => {
    const text = Buffer.from(session.sessionToken.slice(3), 'base64url').toString('latin1');
    for (const secret of [session.secretAccessKey, fixture.secretAccessKey, fixture.accessKeyId, projectId]) expect(text).not.toContain(secret);
  });
});
