// Listings of objects and uploads, compared with a plain model: sort by UTF-8 bytes, group, cut.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startS3, texts, type S3Fixture } from '../support/s3-server.ts';

let s3: S3Fixture;
const keys = ['a', 'a/1', 'a/2', 'a/b/1', 'a0', 'b/', 'b/c', 'c//d', 'z', 'ä', '~', '\u{10ffff}x', '\uffee', '💾/x', '💾/y', 'dir1/x', 'dir2/x', 'dir/x', 'Z/1'];
beforeAll(async () => {
  s3 = await startS3();
  await s3.ask({ method: 'PUT', path: '/list' });
  for (const key of keys) await s3.ask({ method: 'PUT', path: `/list/${encodeURIComponent(key)}`, body: 'x' });
});
afterAll(() => s3.close());

const byBytes = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));

/** What S3 shows: keys, and prefixes in the place of the keys behind them. */
function model(prefix: string, delimiter: string): string[] {
  const shown = keys.filter((key) => key.startsWith(prefix)).toSorted(byBytes).map((key) => {
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return at < 0 ? key : key.slice(0, at + delimiter.length);
  });
  return [...new Set(shown)];
}

async function get(query: Record<string, string>, path = '/list') {
  const reply = await s3.ask({ method: 'GET', path: `${path}?${new URLSearchParams({ 'encoding-type': 'url', ...query })}` });
  expect(reply.status).toBe(200);
  const prefixes = [...reply.body.matchAll(/<CommonPrefixes><Prefix>([^<]*)</g)].map((match) => decodeURIComponent(match[1] ?? ''));
  const found = texts(reply.body, 'Key').map(decodeURIComponent);
  return { all: [...found, ...prefixes].toSorted(byBytes), keys: found, prefixes, body: reply.body, text: (name: string) => texts(reply.body, name)[0] };
}

const cases = [['', ''], ['', '/'], ['a', ''], ['a', '/'], ['a/', '/'], ['b/', '/'], ['dir', '/'], ['💾', '/'], ['c/', '/'], ['nothing', '/'], ['', '//'],
  ['', 'b/'], ['ä', ''], ['\u{10ffff}', '']] as const;

describe.each(cases)('prefix %j, delimiter %j', (prefix, delimiter) => {
  it('shows what S3 shows', async () => {
    const page = await get({ prefix, delimiter });
    expect(page.all).toEqual(model(prefix, delimiter));
    expect(page.keys).toEqual(page.keys.toSorted(byBytes));
    expect(page.text('IsTruncated')).toBe('false');
  });

  it.each([1, 2, 3])('shows the same in pages of %i, in both versions', async (size) => {
    const wanted = model(prefix, delimiter);
    for (const version of [1, 2]) {
      const seen: string[] = [];
      let next: Record<string, string> = {};
      for (let page = 0; page <= wanted.length; page += 1) {
        const found = await get({ prefix, delimiter, 'max-keys': String(size), ...(version === 2 ? { 'list-type': '2' } : {}), ...next });
        seen.push(...found.all);
        if (version === 2) expect(found.text('KeyCount')).toBe(String(found.all.length));
        if (found.text('IsTruncated') === 'false') break;
        expect(found.all.length).toBe(size);
        const marker = delimiter === '' ? (found.keys.at(-1) ?? '') : decodeURIComponent(found.text('NextMarker') ?? '');
        next = version === 2 ? { 'continuation-token': found.text('NextContinuationToken') ?? '' } : { marker };
      }
      expect(seen).toEqual(wanted);
    }
  });
});

describe('S3: listing', () => {
  it('begins after a key that need not exist', async () => {
    expect((await get({ 'list-type': '2', 'start-after': 'dir1' })).keys[0]).toBe('dir1/x');
    expect((await get({ marker: 'zz' })).keys[0]).toBe('~');
  });

  it('takes max-keys=0, caps large ones and refuses nonsense', async () => {
    expect(await get({ 'max-keys': '0' })).toMatchObject({ all: [] });
    expect((await get({ 'max-keys': '0' })).text('IsTruncated')).toBe('false');
    expect((await get({ 'max-keys': '5000' })).text('MaxKeys')).toBe('1000');
    for (const query of ['max-keys=-1', 'max-keys=abc', 'encoding-type=x', 'list-type=2&continuation-token=nonsense', 'marker=%00']) {
      expect((await s3.ask({ method: 'GET', path: `/list?${query}` })).status).toBe(400);
    }
  });

  it('shows owners and details', async () => {
    expect((await get({ 'list-type': '2' })).body).not.toContain('<Owner>');
    const page = await get({ 'list-type': '2', 'fetch-owner': 'true', 'max-keys': '1' });
    expect(page.body).toContain('<Owner><ID>111111111111</ID>');
    expect(page.body).toMatch(/<LastModified>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z<\/LastModified>/);
    expect(page.body).toMatch(/<ETag>&quot;9dd4e461268c8034f5c8564e155c67a6&quot;<\/ETag><Size>1<\/Size>/);
    expect((await get({})).body).toContain('<Owner>');
  });

  it('shows each object as its version null', async () => {
    const page = await get({ versions: '', prefix: 'a/' });
    expect(page.keys).toEqual(['a/1', 'a/2', 'a/b/1']);
    expect(texts(page.body, 'VersionId')).toEqual(['null', 'null', 'null']);
  });
});

describe('uploads', () => {
  it('are listed in pages, by key and id', async () => {
    const wanted: string[] = [];
    for (const key of ['m/1', 'm/1', 'm/2', 'n', 'o/1']) {
      const begun = await s3.ask({ method: 'POST', path: `/list/${key}?uploads` });
      wanted.push(`${key} ${texts(begun.body, 'UploadId')[0]}`);
    }
    const seen: string[] = [];
    let next: Record<string, string> = {};
    for (let page = 0; page < 10; page += 1) {
      const found = await get({ uploads: '', 'max-uploads': '2', ...next });
      const ids = texts(found.body, 'UploadId');
      seen.push(...found.keys.map((key, index) => `${key} ${ids[index]}`));
      if (found.text('IsTruncated') === 'false') break;
      next = { 'key-marker': found.text('NextKeyMarker') ?? '', 'upload-id-marker': found.text('NextUploadIdMarker') ?? '' };
    }
    expect(seen).toEqual(wanted.toSorted());
    const grouped = await get({ uploads: '', delimiter: '/' });
    expect([grouped.keys, grouped.prefixes]).toEqual([['n'], ['m/', 'o/']]);
    expect((await get({ uploads: '', prefix: 'm/' })).keys).toEqual(['m/1', 'm/1', 'm/2']);
    expect((await get({ uploads: '', 'max-uploads': '0' })).keys).toEqual([]);
  });
});
