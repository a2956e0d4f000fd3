// Who may do what in S3, and the sub-resources that ordinary tools ask for.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { code, startS3, texts, type Ask, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
let count = 0;
beforeAll(async () => {
  s3 = await startS3();
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });

async function bucket(): Promise<string> {
  const name = `bucket-${(count += 1)}`;
  expect((await ask('PUT', `/${name}`)).status).toBe(200);
  return name;
}

describe('S5: permissions', () => {
  it('are the project\'s', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k`, { body: 'x' });
    const tries: [string, string][] = [['GET', `/${name}`], ['HEAD', `/${name}`], ['DELETE', `/${name}`], ['GET', `/${name}/k`], ['PUT', `/${name}/k`],
      ['DELETE', `/${name}/k`],
      ['POST', `/${name}/k?uploads`], ['GET', `/${name}?acl`], ['GET', `/${name}/absent`], ['POST', `/${name}?delete`], ['GET', `/${name}?policy`]];
    for (const as of ['two', 'none']) for (const [method, path] of tries) expect((await ask(method, path, { as })).status).toBe(403);
    expect(code(await ask('GET', '/', { as: 'none' }))).toBe('403 AccessDenied');
    expect(texts((await ask('GET', '/', { as: 'two' })).body, 'Name')).not.toContain(name);
    expect((await ask('GET', `/${name}/k`, { as: 'admin' })).body).toBe('x');
    expect(texts((await ask('GET', '/', { as: 'admin' })).body, 'Name')).toContain(name);
  });

  it('are opened by canned ACLs', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/open`, { body: 'x', headers: { 'x-amz-acl': 'public-read' } });
    await ask('PUT', `/${name}/closed`, { body: 'x', headers: { 'x-amz-acl': 'aws-exec-read' } });
    expect((await ask('GET', `/${name}/open`, { as: 'none' })).body).toBe('x');
    expect((await ask('GET', `/${name}/closed`, { as: 'none' })).status).toBe(403);
    expect((await ask('GET', `/${name}`, { as: 'none' })).status).toBe(403);
    expect(code(await ask('GET', `/${name}/open?response-content-type=a/b`, { as: 'none' }))).toBe('400 InvalidRequest');
    await ask('PUT', `/${name}?acl`, { headers: { 'x-amz-acl': 'public-read' } });
    expect((await ask('GET', `/${name}`, { as: 'none' })).status).toBe(200);
    expect((await ask('PUT', `/${name}/new`, { as: 'none', body: 'x' })).status).toBe(403);
  });

  it('end where the bucket is not whose the client takes it for', async () => {
    const name = await bucket();
    const [right, wrong] = ['111111111111', '222222222222'].map((id) => ({ 'x-amz-expected-bucket-owner': id }));
    expect((await ask('PUT', `/${name}/k`, { body: 'x', headers: { ...right } })).status).toBe(200);
    const tries = [['PUT', `/${name}/k`], ['GET', `/${name}/k`], ['GET', `/${name}`], ['POST', `/${name}?delete`], ['DELETE', `/${name}`]] as const;
    for (const [method, path] of tries) {
      expect(code(await ask(method, path, { headers: { ...wrong } })), `${method} ${path}`).toBe('403 AccessDenied');
    }
    const copy = (of: Record<string, string>) => ask('PUT', `/${name}/copy`, { headers: { 'x-amz-copy-source': `/${name}/k`, ...right, ...of } });
    expect(code(await copy({ 'x-amz-source-expected-bucket-owner': '222222222222' }))).toBe('403 AccessDenied');
    expect((await copy({ 'x-amz-source-expected-bucket-owner': '111111111111' })).status).toBe(200);
  });

  it('round-trip through the XML of ?acl', async () => {
    const name = await bucket();
    await ask('PUT', `/${name}/k`, { body: 'x', headers: { 'x-amz-acl': 'public-read' } });
    const shown = (await ask('GET', `/${name}/k?acl`)).body;
    expect(shown).toContain('groups/global/AllUsers');
    await ask('PUT', `/${name}/k?acl`, { headers: { 'x-amz-acl': 'private' } });
    expect((await ask('GET', `/${name}/k`, { as: 'none' })).status).toBe(403);
    expect((await ask('PUT', `/${name}/k?acl`, { body: shown })).status).toBe(200);
    expect((await ask('GET', `/${name}/k`, { as: 'none' })).status).toBe(200);
    expect((await ask('PUT', `/${name}/k?acl`, { body: shown.replace('>READ<', '>READ_ACP<') })).status).toBe(200);
    expect((await ask('GET', `/${name}/k`, { as: 'none' })).status).toBe(403);
    expect((await ask('GET', `/${name}/k?acl`, { as: 'none' })).body).toContain('READ_ACP');
  });
});

describe('sub-resources', () => {
  it.each([
    ['acl', '200'], ['versioning', '200'], ['logging', '200'], ['requestPayment', '200'], ['accelerate', '200'], ['notification', '200'], ['versions', '200'],
      ['uploads', '200'],
    ['policy', '404 NoSuchBucketPolicy'], ['cors', '404 NoSuchCORSConfiguration'], ['website', '404 NoSuchWebsiteConfiguration'],
      ['tagging', '404 NoSuchTagSet'],
    ['lifecycle', '404 NoSuchLifecycleConfiguration'], ['encryption', '404 ServerSideEncryptionConfigurationNotFoundError'],
    ['object-lock', '404 ObjectLockConfigurationNotFoundError'], ['replication', '404 ReplicationConfigurationNotFoundError'],
    ['ownershipControls', '404 OwnershipControlsNotFoundError'], ['publicAccessBlock', '404 NoSuchPublicAccessBlockConfiguration'],
    ['inventory', '501 NotImplemented'], ['analytics', '501 NotImplemented'],
  ])('GET ?%s of a bucket answers %s', async (sub, answer) => {
    expect(code(await ask('GET', `/${await bucket()}?${sub}`))).toBe(answer);
  });

  it('are refused when set', async () => {
    const name = await bucket();
    for (const sub of ['website', 'object-lock', 'replication', 'logging', 'notification']) {
      expect(code(await ask('PUT', `/${name}?${sub}`, { body: '<X/>' }))).toBe('501 NotImplemented');
    }
    expect((await ask('DELETE', `/${name}?policy`)).status).toBe(204);
    await ask('PUT', `/${name}/k`, { body: 'x' });
    expect(code(await ask('PUT', `/${name}/k?retention`, { body: '<X/>' }))).toBe('501 NotImplemented');
    expect((await ask('GET', `/${name}/k?tagging`)).body).toContain('<TagSet></TagSet>');
    expect((await ask('GET', `/${name}/k?versionId=null`)).body).toBe('x');
    expect(code(await ask('GET', `/${name}/k?versionId=abc`))).toBe('400 InvalidArgument');
    expect(code(await ask('POST', `/${name}`, { body: 'x' }))).toBe('412 PreconditionFailed');
    expect(code(await ask('PATCH', `/${name}`))).toBe('405 MethodNotAllowed');
    expect(code(await ask('GET', `/${name}?acl&policy`))).toBe('400 InvalidArgument');
    expect((await ask('GET', `/${name}/k`)).body).toBe('x');
  });
});
