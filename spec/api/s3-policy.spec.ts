// Bucket policies and explicit grants: who is let in and who is shut out, over HTTP.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { code, projectIds, startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
let count = 0;
beforeAll(async () => {
  s3 = await startS3();
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });

async function bucket(): Promise<string> {
  const name = `policy-${(count += 1)}`;
  await ask('PUT', `/${name}`);
  await ask('PUT', `/${name}/k`, { body: 'x' });
  return name;
}

const statement = (name: string, rest: object) => ({ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${name}/*`, ...rest });
const setPolicy = async (name: string, ...statements: object[]) =>
  code(await ask('PUT', `/${name}?policy`, { body: JSON.stringify({ Version: '2012-10-17', Statement: statements }) }));
const read = async (name: string, as: string, headers: Record<string, string> = {}) => (await ask('GET', `/${name}/k`, { as, headers })).status;

describe('a policy', () => {
  it('is about its own bucket, whatever wildcards it has', async () => {
    const [name, other] = [await bucket(), await bucket()];
    expect(await setPolicy(name, statement(name, { Resource: 'arn:aws:s3:::*/open*' }))).toBe('204');
    for (const path of [`${name}/opened`, `${name}/closed`, `${other}/opened`]) await ask('PUT', `/${path}`, { body: 'x' });
    const seen = [`${name}/opened`, `${name}/closed`, `${other}/opened`].map(async (path) => (await ask('GET', `/${path}`, { as: 'none' })).status);
    expect(await Promise.all(seen)).toEqual([200, 403, 403]);
    expect(await setPolicy(name, statement(`${name}x`, {}))).toBe('400 MalformedPolicy');
  });

  it('is kept to the letter, and gone when it is removed', async () => {
    const name = await bucket();
    expect(code(await ask('GET', `/${name}?policy`))).toBe('404 NoSuchBucketPolicy');
    const body = `{ "Version": "2012-10-17",\n "Statement": ${JSON.stringify(statement(name, {}))} }`;
    expect((await ask('PUT', `/${name}?policy`, { body })).status).toBe(204);
    expect(await ask('GET', `/${name}?policy`)).toMatchObject({ body, headers: { 'content-type': 'application/json' } });
    expect(texts((await ask('GET', `/${name}?policyStatus`)).body, 'IsPublic')).toEqual(['true']);
    expect(await read(name, 'none')).toBe(200);
    expect((await ask('DELETE', `/${name}?policy`)).status).toBe(204);
    expect(await read(name, 'none')).toBe(403);
  });

  it('lets in whom it names, for what it names', async () => {
    const name = await bucket();
    expect(await setPolicy(name, statement(name, { Principal: { AWS: `arn:aws:iam::${projectIds['two']}:root` }, Action: ['s3:GetObject', 's3:ListBucket'],
      Resource: [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`] }))).toBe('204');
    expect([await read(name, 'two'), await read(name, 'none')]).toEqual([200, 403]);
    expect((await ask('GET', `/${name}`, { as: 'two' })).status).toBe(200);
    expect(code(await ask('GET', `/${name}/absent`, { as: 'two' }))).toBe('404 NoSuchKey');
    expect((await ask('PUT', `/${name}/k`, { as: 'two', body: 'y' })).status).toBe(403);
    expect((await ask('DELETE', `/${name}/k`, { as: 'two' })).status).toBe(403);
    expect(code(await ask('GET', `/${name}?policy`, { as: 'two' }))).toBe('403 AccessDenied');
  });

  it('shuts out even the owner, who can still take it back', async () => {
    const name = await bucket();
    expect(await setPolicy(name, statement(name, { Effect: 'Deny', Action: 's3:*',
      Resource: [`arn:aws:s3:::${name}`, `arn:aws:s3:::${name}/*`] }))).toBe('204');
    expect([await read(name, 'one'), (await ask('GET', `/${name}`)).status, await read(name, 'admin')]).toEqual([403, 403, 200]);
    expect((await ask('DELETE', `/${name}?policy`)).status).toBe(204);
    expect(await read(name, 'one')).toBe(200);
  });

  it('denies before it allows, and before an ACL does', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    await setPolicy(name, statement(name, {}), statement(name, { Effect: 'Deny', NotPrincipal: { AWS: projectIds['one'] }, Principal: undefined }));
    expect([await read(name, 'none'), await read(name, 'two'), await read(name, 'one')]).toEqual([403, 403, 200]);
  });

  it.each([
    ['StringEquals', 'aws:Referer', 'http://a/', 200, 403], ['StringLike', 'aws:Referer', 'http://?/', 200, 403],
    ['StringNotLike', 'aws:Referer', 'http://a*', 403, 200], ['StringEqualsIfExists', 'aws:Referer', 'http://a/', 200, 200],
    ['IpAddress', 'aws:SourceIp', '127.0.0.0/8', 200, 200], ['NotIpAddress', 'aws:SourceIp', '127.0.0.0/8', 403, 403],
    ['DateGreaterThan', 'aws:CurrentTime', '2020-01-01T00:00:00Z', 200, 200], ['Bool', 'aws:SecureTransport', 'true', 403, 403],
    ['Null', 'aws:Referer', 'false', 200, 403], ['NumericLessThan', 's3:max-keys', '10', 403, 403],
  ])('with the condition %s %s %s', async (operator, key, value, withReferer, without) => {
    const name = await bucket();
    expect(await setPolicy(name, statement(name, { Condition: { [operator]: { [key]: value } } }))).toBe('204');
    expect([await read(name, 'none', { referer: 'http://a/' }), await read(name, 'none')]).toEqual([withReferer, without]);
  });

  it('goes by the tags of the object and of the request, and by the prefix of a listing', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k`, { body: 'x', headers: { 'x-amz-tagging': 'open=yes' } });
    await ask('PUT', `/${name}/shut`, { body: 'x' });
    await setPolicy(name, statement(name, { Condition: { StringEquals: { 's3:ExistingObjectTag/open': 'yes' } } }),
      statement(name, { Action: 's3:PutObject', Condition: { StringEquals: { 's3:RequestObjectTag/by': 'guest' } } }),
      statement(name, { Action: 's3:ListBucket', Resource: `arn:aws:s3:::${name}`, Condition: { StringEquals: { 's3:prefix': ['', 'pub/'] } } }));
    expect([await read(name, 'none'), (await ask('GET', `/${name}/shut`, { as: 'none' })).status]).toEqual([200, 403]);
    expect((await ask('PUT', `/${name}/new`, { as: 'none', body: 'x', headers: { 'x-amz-tagging': 'by=guest' } })).status).toBe(200);
    expect((await ask('PUT', `/${name}/new`, { as: 'none', body: 'x' })).status).toBe(403);
    expect((await ask('GET', `/${name}?prefix=pub/`, { as: 'none' })).status).toBe(200);
    expect((await ask('GET', `/${name}?prefix=priv/`, { as: 'none' })).status).toBe(403);
  });

  it('judges each key of a deletion of many', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/kept`, { body: 'x' });
    await setPolicy(name, statement(name, { Effect: 'Deny', Action: 's3:DeleteObject', Resource: `arn:aws:s3:::${name}/kept` }));
    const reply = await ask('POST', `/${name}?delete`, { body: '<Delete><Object><Key>k</Key></Object><Object><Key>kept</Key></Object></Delete>' });
    expect([texts(reply.body, 'Key'), texts(reply.body, 'Code')]).toEqual([['k', 'kept'], ['AccessDenied']]);
    expect(texts((await ask('GET', `/${name}`)).body, 'Key')).toEqual(['kept']);
  });

  it.each([
    ['no JSON', 'x'], ['an unknown version', '{"Version":"2020-01-01","Statement":[]}'], ['no statement', '{"Version":"2012-10-17"}'],
    ['another bucket', JSON.stringify({ Statement: statement('another', {}) })],
    ['an unknown condition', JSON.stringify({ Statement: statement('B', { Condition: { StringNear: { 'aws:Referer': 'x' } } }) })],
    ['an unknown key', JSON.stringify({ Statement: statement('B', { Condition: { StringEquals: { 'aws:Moon': 'x' } } }) })],
    ['no network', JSON.stringify({ Statement: statement('B', { Condition: { IpAddress: { 'aws:SourceIp': '1.2.3' } } }) })],
    ['a service', JSON.stringify({ Statement: statement('B', { Principal: { Service: 'ec2.amazonaws.com' } }) })],
    ['both of a pair', JSON.stringify({ Statement: statement('B', { NotAction: 's3:*' }) })],
    ['an action of another service', JSON.stringify({ Statement: statement('B', { Action: 'ec2:RunInstances' }) })],
  ])('with %s is refused', async (_what, body) => {
    const name = await bucket();
    expect(code(await ask('PUT', `/${name}?policy`, { body: body.replaceAll(':B/', `:${name}/`) }))).toBe('400 MalformedPolicy');
    expect(code(await ask('PUT', `/${name}?policy`, { body: `{${' '.repeat(21 * 1024)}}` }))).toBe('400 MaxMessageLengthExceeded');
  });
});

describe('explicit grants', () => {
  it('in headers open a bucket or an object to one project', async () => {
    const name = await bucket();
    expect((await ask('PUT', `/${name}/k?acl`, {
      headers: { 'x-amz-grant-read': `id="${projectIds['two']}"`, 'x-amz-grant-read-acp': 'id=222222222222' } })).status)
      .toBe(200);
    expect([await read(name, 'two'), await read(name, 'none')]).toEqual([200, 403]);
    const acl = (await ask('GET', `/${name}/k?acl`, { as: 'two' })).body;
    expect([texts(acl, 'Permission'), texts(acl, 'ID')]).toEqual([['READ', 'READ_ACP'], ['111111111111', '222222222222', '222222222222']]);
    expect((await ask('PUT', `/${name}/k?acl`, { as: 'two', headers: { 'x-amz-acl': 'public-read' } })).status).toBe(403);
    await ask('PUT', `/${name}?acl`, { headers: { 'x-amz-grant-write': 'uri="http://acs.amazonaws.com/groups/global/AuthenticatedUsers"' } });
    expect((await ask('PUT', `/${name}/by-two`, { as: 'two', body: 'x' })).status).toBe(200);
    expect((await ask('PUT', `/${name}/by-none`, { as: 'none', body: 'x' })).status).toBe(403);
    expect((await ask('GET', `/${name}`, { as: 'two' })).status).toBe(403);
  });

  it('come back as XML says them, and are refused when nobody is meant', async () => {
    const name = await bucket();
    const grant = (grantee: string, permission: string) => `<Grant><Grantee>${grantee}</Grantee><Permission>${permission}</Permission></Grant>`;
    const put = async (...grants: string[]) => code(await ask('PUT', `/${name}/k?acl`, { body: '<AccessControlPolicy><Owner><ID>111111111111</ID></Owner>'
      + `<AccessControlList>${grants.join('')}</AccessControlList></AccessControlPolicy>` }));
    expect(await put(grant('<ID>222222222222</ID>', 'FULL_CONTROL'))).toBe('200');
    expect(texts((await ask('GET', `/${name}/k?acl`, { as: 'two' })).body, 'Permission')).toEqual(['FULL_CONTROL']);
    expect((await ask('PUT', `/${name}/k?acl`, { as: 'two', headers: { 'x-amz-acl': 'private' } })).status).toBe(200);
    expect(await put(grant('<ID>999999999999</ID>', 'READ'))).toBe('400 InvalidArgument');
    expect(await put(grant('<EmailAddress>a@b</EmailAddress>', 'READ'))).toBe('400 UnresolvableGrantByEmailAddress');
    expect(await put(grant('<ID>222222222222</ID>', 'FLY'))).toBe('400 MalformedXML');
    expect(code(await ask('PUT', `/${name}/k?acl`))).toBe('400 MissingSecurityHeader');
    expect(code(await ask('PUT', `/${name}/k?acl`, { headers: { 'x-amz-acl': 'private', 'x-amz-grant-read': 'id=222222222222' } }))).toBe('400 InvalidRequest');
  });
});
