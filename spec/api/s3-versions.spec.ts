// Buckets that keep what is replaced and deleted.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { knownBlobs } from '../../src/db/blobs.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { code, startS3, texts, type Ask, type Reply, type S3Fixture } from '../support/s3-server.ts';

const store = new MemoryStore({ clock: systemClock });
let s3: S3Fixture;
let count = 0;
beforeAll(async () => {
  s3 = await startS3({ store });
});
afterAll(() => s3.close());

const ask = (method: string, path: string, rest: Omit<Ask, 'method' | 'path'> = {}) => s3.ask({ method, path, ...rest });
const version = (reply: Reply): string => String(reply.headers['x-amz-version-id']);
const status = (state: string) => `<VersioningConfiguration><Status>${state}</Status></VersioningConfiguration>`;
const suspend = (name: string) => ask('PUT', `/${name}?versioning`, { body: status('Suspended') });

async function bucket(state = 'Enabled'): Promise<string> {
  const name = `versions-${(count += 1)}`;
  await ask('PUT', `/${name}`);
  if (state !== '') expect((await ask('PUT', `/${name}?versioning`, { body: status(state) })).status).toBe(200);
  return name;
}

/** Of every version in a listing: `key id latest`, and `marker` for a delete marker. */
const shown = (body: string): string[] => [...body.matchAll(/<(Version|DeleteMarker)><Key>(.*?)<\/Key><VersionId>(.*?)<\/VersionId><IsLatest>(.*?)</g)]
  .map(([, kind, key, id, latest]) => `${key} ${id} ${latest}${kind === 'DeleteMarker' ? ' marker' : ''}`);
const listed = async (name: string, query = '') => shown((await ask('GET', `/${name}?versions${query}`)).body);

describe('versioning', () => {
  it('is off, then enabled or suspended, and nothing else', async () => {
    const name = await bucket('');
    expect((await ask('GET', `/${name}?versioning`)).body).not.toContain('Status');
    expect(version(await ask('PUT', `/${name}/k`, { body: 'x' }))).toBe('undefined');
    for (const state of ['Enabled', 'Suspended', 'Enabled']) {
      await ask('PUT', `/${name}?versioning`, { body: status(state) });
      expect(texts((await ask('GET', `/${name}?versioning`)).body, 'Status')).toEqual([state]);
    }
    expect(code(await ask('PUT', `/${name}?versioning`, { body: status('Off') }))).toBe('400 MalformedXML');
    expect(code(await ask('PUT', `/${name}?versioning`, { body: status('Enabled'), as: 'two' }))).toBe('403 AccessDenied');
  });

  it('keeps each version under its id', async () => {
    const name = await bucket();
    const [one, two] = [version(await ask('PUT', `/${name}/k`, { body: 'one' })), version(await ask('PUT', `/${name}/k`, { body: 'two' }))];
    expect(one).not.toBe(two);
    expect(await ask('GET', `/${name}/k`)).toMatchObject({ body: 'two', headers: { 'x-amz-version-id': two } });
    expect(await ask('GET', `/${name}/k?versionId=${one}`)).toMatchObject({ body: 'one', headers: { 'x-amz-version-id': one } });
    expect((await ask('HEAD', `/${name}/k?versionId=${one}`)).headers['content-length']).toBe('3');
    expect(await listed(name)).toEqual([`k ${two} true`, `k ${one} false`]);
    expect(code(await ask('GET', `/${name}/k?versionId=${'0'.repeat(32)}`))).toBe('404 NoSuchVersion');
    expect(code(await ask('GET', `/${name}/k?versionId=nonsense`))).toBe('400 InvalidArgument');
    expect(code(await ask('DELETE', `/${name}`))).toBe('409 BucketNotEmpty');
  });

  it('hides a deleted object behind a marker, and brings it back when that is deleted', async () => {
    const name = await bucket();
    const one = version(await ask('PUT', `/${name}/k`, { body: 'one' }));
    const deleted = await ask('DELETE', `/${name}/k`);
    const marker = version(deleted);
    expect(deleted).toMatchObject({ status: 204, headers: { 'x-amz-delete-marker': 'true' } });
    const gone = await ask('GET', `/${name}/k`);
    expect([code(gone), gone.headers['x-amz-delete-marker'], version(gone)]).toEqual(['404 NoSuchKey', 'true', marker]);
    const asMarker = await ask('GET', `/${name}/k?versionId=${marker}`);
    expect([code(asMarker), asMarker.headers.allow]).toEqual(['405 MethodNotAllowed', 'DELETE']);
    expect(texts((await ask('GET', `/${name}`)).body, 'Key')).toEqual([]);
    expect(await listed(name)).toEqual([`k ${marker} true marker`, `k ${one} false`]);
    expect((await ask('DELETE', `/${name}/k?versionId=${marker}`)).headers).toMatchObject({ 'x-amz-delete-marker': 'true', 'x-amz-version-id': marker });
    expect((await ask('GET', `/${name}/k`)).body).toBe('one');
    expect(await listed(name)).toEqual([`k ${one} true`]);
    expect((await ask('DELETE', `/${name}/k?versionId=${one}`)).status).toBe(204);
    expect((await ask('DELETE', `/${name}`)).status).toBe(204);
  });

  it('makes the one before current when the current version is deleted for good', async () => {
    const name = await bucket();
    const ids: string[] = [];
    for (const body of ['a', 'b', 'c']) ids.push(version(await ask('PUT', `/${name}/k`, { body })));
    await ask('DELETE', `/${name}/k?versionId=${ids[2]}`);
    expect((await ask('GET', `/${name}/k`)).body).toBe('b');
    const next = version(await ask('PUT', `/${name}/k`, { body: 'd' }));
    expect(await listed(name)).toEqual([`k ${next} true`, `k ${ids[1]} false`, `k ${ids[0]} false`]);
  });

  it('suspended, replaces the null version alone', async () => {
    const name = await bucket('');
    await ask('PUT', `/${name}/k`, { body: 'plain' });
    await ask('PUT', `/${name}?versioning`, { body: status('Enabled') });
    const one = version(await ask('PUT', `/${name}/k`, { body: 'one' }));
    expect((await ask('GET', `/${name}/k?versionId=null`)).body).toBe('plain');
    await suspend(name);
    expect(version(await ask('PUT', `/${name}/k`, { body: 'new' }))).toBe('null');
    expect(await listed(name)).toEqual(['k null true', `k ${one} false`]);
    expect((await ask('GET', `/${name}/k?versionId=null`)).body).toBe('new');
    expect((await ask('DELETE', `/${name}/k`)).headers).toMatchObject({ 'x-amz-version-id': 'null', 'x-amz-delete-marker': 'true' });
    expect(await listed(name)).toEqual(['k null true marker', `k ${one} false`]);
    await ask('DELETE', `/${name}/k?versionId=null`);
    expect((await ask('GET', `/${name}/k`)).body).toBe('one');
  });

  it('copies, tags and opens the version that is named', async () => {
    const name = await bucket();
    const one = version(await ask('PUT', `/${name}/k`, { body: 'one' }));
    const two = version(await ask('PUT', `/${name}/k`, { body: 'two' }));
    const copied = await ask('PUT', `/${name}/k`, { headers: { 'x-amz-copy-source': `/${name}/k?versionId=${one}` } });
    expect(copied.headers['x-amz-copy-source-version-id']).toBe(one);
    expect((await ask('GET', `/${name}/k`)).body).toBe('one');
    await ask('PUT', `/${name}/k?tagging&versionId=${two}`, { body: '<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>' });
    expect(texts((await ask('GET', `/${name}/k?tagging&versionId=${two}`)).body, 'Key')).toEqual(['a']);
    expect(texts((await ask('GET', `/${name}/k?tagging`)).body, 'Key')).toEqual([]);
    await ask('PUT', `/${name}/k?acl&versionId=${two}`, { headers: { 'x-amz-acl': 'public-read' } });
    expect((await ask('GET', `/${name}/k?versionId=${two}`, { as: 'none' })).body).toBe('two');
    expect((await ask('GET', `/${name}/k`, { as: 'none' })).status).toBe(403);
  });

  it('is listed in pages, by prefix and delimiter', async () => {
    const name = await bucket();
    for (const key of ['a', 'b/1', 'b/2', 'c']) for (const body of ['1', '2', '3']) await ask('PUT', `/${name}/${key}`, { body });
    await ask('DELETE', `/${name}/c`);
    const all = await listed(name);
    expect(all).toHaveLength(13);
    const seen: string[] = [];
    for (let query = '&max-keys=2'; ;) {
      const { body } = await ask('GET', `/${name}?versions${query}`);
      seen.push(...shown(body));
      if (texts(body, 'IsTruncated')[0] === 'false') break;
      query = `&max-keys=2&key-marker=${texts(body, 'NextKeyMarker')[0]}&version-id-marker=${texts(body, 'NextVersionIdMarker')[0]}`;
    }
    expect(seen).toEqual(all);
    const { body } = await ask('GET', `/${name}?versions&delimiter=/`);
    expect([texts(body, 'Prefix').filter((text) => text !== ''), shown(body).map((line) => line.split(' ')[0])])
      .toEqual([['b/'], ['a', 'a', 'a', 'c', 'c', 'c', 'c']]);
    expect((await listed(name, '&prefix=b/')).map((line) => line.split(' ')[0])).toEqual(['b/1', 'b/1', 'b/1', 'b/2', 'b/2', 'b/2']);
    expect(code(await ask('GET', `/${name}?versions&version-id-marker=x`))).toBe('400 InvalidArgument');
  });

  it('deletes many, versions and keys, and says what became of each', async () => {
    const name = await bucket();
    const one = version(await ask('PUT', `/${name}/k`, { body: '1' }));
    await ask('PUT', `/${name}/other`, { body: '1' });
    const body = `<Delete><Object><Key>k</Key><VersionId>${one}</VersionId></Object><Object><Key>other</Key></Object></Delete>`;
    const reply = await ask('POST', `/${name}?delete`, { body });
    expect([texts(reply.body, 'Key'), texts(reply.body, 'VersionId'), texts(reply.body, 'DeleteMarker')]).toEqual([['k', 'other'], [one], ['true']]);
    expect((await listed(name)).map((line) => line.replace(/ \S+ /, ' '))).toEqual(['other true marker', 'other false']);
  });

  it('loses nothing and leaves no orphan when many do it at once', async () => {
    const name = await bucket();
    const replies = await Promise.all(Array.from({ length: 20 }, (_, index) => (index % 4 === 3 ? ask('DELETE', `/${name}/k`)
      : ask('PUT', `/${name}/k`, { body: `content ${index}` }))));
    expect(replies.filter((reply) => reply.status >= 300)).toEqual([]);
    const all = await listed(name);
    expect([all.length, all.filter((line) => line.includes(' true')).length, new Set(replies.map(version)).size]).toEqual([20, 1, 20]);
    const blobIds: string[] = [];
    for await (const blobId of store.list({ changedBefore: new Date(systemClock.now() + 60_000) })) blobIds.push(blobId);
    expect((await knownBlobs(s3.database.db, blobIds)).size).toBe(blobIds.length);
  });
});
