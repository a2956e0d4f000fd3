// awscli, unmodified: its cells of the matrix of S3.
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import type { Command } from './commands.ts';
import {
  bucketNames, foreign, holdsAddress, largeSize, oddKeys, onlyV2, onlyV4, origin, partSize, plain, preflight, readable, region, sameFile, small, statusOf,
  syncFolder, type Cells, type MatrixWorld,
} from './world.ts';

interface Answer {
  readonly [name: string]: unknown;
  readonly Contents?: readonly { readonly Key: string; readonly Owner?: { readonly ID: string } }[];
  readonly CommonPrefixes?: readonly { readonly Prefix: string }[];
  readonly NextToken?: string;
}

/** `command` runs `aws` with these arguments. */
export function awscliCells(world: MatrixWorld, command: Command): Cells {
  const { files, other } = world;
  const name = bucketNames('awscli');
  const file = (what: string) => join(files, what);
  const got = file('awscli-got');
  const base = ['--endpoint-url', `http://127.0.0.1:${world.port}`, '--output', 'json'];
  const parse = (text: string) => (text.trim() === '' ? {} : JSON.parse(text)) as Answer;
  const api = async (operation: string, bucket: string, ...args: readonly string[]) => {
    return parse((await command([...base, 's3api', operation, '--bucket', bucket, ...args])).stdout);
  };
  const s3 = (...args: readonly string[]) => command([...base, 's3', ...args]);
  /** The code with which it must be refused. */
  const refused = async (operation: string, bucket: string, ...args: readonly string[]) => {
    const { stderr } = await command([...base, 's3api', operation, '--bucket', bucket, ...args], { code: 254 });
    return /An error occurred \((\w+)\)/.exec(stderr)?.[1] ?? stderr;
  };
  const asOther = { AWS_ACCESS_KEY_ID: other.accessKeyId, AWS_SECRET_ACCESS_KEY: other.secretAccessKey };
  const bucket = async () => {
    const made = name();
    await api('create-bucket', made, '--create-bucket-configuration', `LocationConstraint=${region}`);
    return made;
  };
  const put = (b: string, key = 'k', ...args: readonly string[]) => api('put-object', b, '--key', key, '--body', file('small'), ...args);
  const read = async (b: string, key = 'k', ...args: readonly string[]) => {
    const answer = await api('get-object', b, '--key', key, ...args, got);
    return { ...answer, text: await readFile(got, 'utf8') } as Answer & { readonly text: string };
  };
  /** For all cells that do not care what else is in it. */
  let common: Promise<string> | undefined;
  const shared = () => (common ??= bucket());
  /** Puts a small file of each name with one command. */
  const fill = async (b: string, names: readonly string[]) => {
    const folder = file(`${b}-filling`);
    for (const path of names) {
      await mkdir(dirname(join(folder, path)), { recursive: true });
      await writeFile(join(folder, path), small);
    }
    await s3('cp', '--no-progress', '--recursive', folder, `s3://${b}`);
    return folder;
  };
  const keys = (answer: Answer) => (answer.Contents ?? []).map(({ Key }) => Key);
  const folders = ({ CommonPrefixes = [] }: Answer) => CommonPrefixes.map(({ Prefix }) => Prefix);
  const base64 = (algorithm: string, text: string) => createHash(algorithm).update(text).digest('base64');
  const upload = async (b: string, key: string) => {
    const { UploadId } = await api('create-multipart-upload', b, '--key', key);
    return ['--key', key, '--upload-id', String(UploadId)];
  };
  const part = (b: string, of: readonly string[], number: number, body: string) =>
    api('upload-part', b, ...of, '--part-number', String(number), '--body', file(body));
  let filled: Promise<string> | undefined;
  const tree = () => (filled ??= bucket().then(async (b) => {
    await fill(b, ['a/1', 'b', 'c/ü 3']);
    return b;
  }));

  const buckets: Cells = {
    'create a bucket': async () => {
      const b = await bucket();
      expect(await refused('create-bucket', b, '--create-bucket-configuration', `LocationConstraint=${region}`)).toBe('BucketAlreadyOwnedByYou');
      expect((await s3('ls')).stdout.split('\n').filter((line) => line.endsWith(` ${b}`))).toHaveLength(1);
    },
    'list buckets': async () => {
      const b = await bucket();
      const { Buckets } = parse((await command([...base, 's3api', 'list-buckets'])).stdout) as { Buckets: { Name: string }[] };
      expect(Buckets).toContainEqual(expect.objectContaining({ Name: b }));
      expect(Buckets).not.toContainEqual(expect.objectContaining({ Name: foreign }));
    },
    'head a bucket': async () => {
      await api('head-bucket', await bucket());
      expect(await refused('head-bucket', 'absent-of-awscli')).toBe('404');
    },
    'delete a bucket': async () => {
      const b = await bucket();
      await put(b);
      expect(await refused('delete-bucket', b)).toBe('BucketNotEmpty');
      await s3('rb', '--force', `s3://${b}`);
      expect(await refused('head-bucket', b)).toBe('404');
    },
    location: async () => {
      expect(await api('get-bucket-location', await bucket())).toEqual({ LocationConstraint: region });
    },
    'tags of a bucket': async () => {
      const b = await bucket();
      const tagging = { TagSet: [{ Key: 'colour', Value: 'blue green' }, { Key: 'ü', Value: '1' }] };
      await api('put-bucket-tagging', b, '--tagging', JSON.stringify(tagging));
      expect(await api('get-bucket-tagging', b)).toEqual(tagging);
      await api('delete-bucket-tagging', b);
      expect(await refused('get-bucket-tagging', b)).toBe('NoSuchTagSet');
    },
    'canned ACL of a bucket': async () => {
      const b = await bucket();
      await api('put-bucket-acl', b, '--acl', 'public-read');
      expect(await statusOf(world, `/${b}`)).toBe(200);
      await api('put-bucket-acl', b, '--acl', 'private');
      expect(await statusOf(world, `/${b}`)).toBe(403);
    },
    'grants of a bucket': async () => {
      const b = await bucket();
      await api('put-bucket-acl', b, '--grant-read', `id=${other.projectId}`);
      await command([...base, 's3', 'ls', `s3://${b}`], { environment: asOther });
      expect(await api('get-bucket-acl', b)).toMatchObject({ Grants: [{ Grantee: { ID: other.projectId }, Permission: 'READ' }] });
    },
    'bucket policy': async () => {
      const b = await bucket();
      await put(b);
      await api('put-bucket-policy', b, '--policy', readable(b));
      expect(await statusOf(world, `/${b}/k`)).toBe(200);
      expect(await api('get-bucket-policy', b)).toEqual({ Policy: readable(b) });
      await api('delete-bucket-policy', b);
      expect(await statusOf(world, `/${b}/k`)).toBe(403);
      expect(await refused('get-bucket-policy', b)).toBe('NoSuchBucketPolicy');
    },
    CORS: async () => {
      const b = await bucket();
      const cors = { CORSRules: [{ AllowedHeaders: ['*'], AllowedMethods: ['GET'], AllowedOrigins: [origin], ExposeHeaders: ['ETag'], MaxAgeSeconds: 5 }] };
      expect(await preflight(world, b)).toBe(403);
      await api('put-bucket-cors', b, '--cors-configuration', JSON.stringify(cors));
      expect(await preflight(world, b)).toBe(200);
      expect(await api('get-bucket-cors', b)).toEqual(cors);
      await api('delete-bucket-cors', b);
      expect(await preflight(world, b)).toBe(403);
    },
    lifecycle: async () => {
      const b = await bucket();
      const rules = { Rules: [{ Expiration: { Days: 3 }, ID: 'old', Filter: { Prefix: 'logs/' }, Status: 'Enabled' }] };
      await api('put-bucket-lifecycle-configuration', b, '--lifecycle-configuration', JSON.stringify(rules));
      expect(await api('get-bucket-lifecycle-configuration', b)).toEqual(rules);
      await api('delete-bucket-lifecycle', b);
      expect(await refused('get-bucket-lifecycle-configuration', b)).toBe('NoSuchLifecycleConfiguration');
    },
    versioning: async () => {
      const b = await bucket();
      expect(await api('get-bucket-versioning', b)).toEqual({});
      for (const Status of ['Enabled', 'Suspended']) {
        await api('put-bucket-versioning', b, '--versioning-configuration', `Status=${Status}`);
        expect(await api('get-bucket-versioning', b)).toMatchObject({ Status });
      }
    },
  };

  const objects: Cells = {
    'put and get': async () => {
      const b = await shared();
      for (const what of ['empty', 'medium']) {
        await s3('cp', '--no-progress', file(what), `s3://${b}/k`);
        await s3('cp', '--no-progress', `s3://${b}/k`, got);
        await sameFile(got, file(what));
      }
      await put(b);
      expect((await read(b)).text).toBe(small);
    },
    'odd keys': async () => {
      const b = await bucket();
      const folder = await fill(b, oddKeys);
      expect(keys(await api('list-objects-v2', b)).toSorted()).toEqual(oddKeys.toSorted());
      await s3('cp', '--no-progress', '--recursive', `s3://${b}`, `${folder}-back`);
      for (const key of oddKeys) await sameFile(join(`${folder}-back`, key), join(folder, key));
    },
    'head an object': async () => {
      const b = await shared();
      await put(b, 'k', '--content-type', 'text/x-spec');
      const ETag = `"${createHash('md5').update(small).digest('hex')}"`;
      expect(await api('head-object', b, '--key', 'k')).toMatchObject({ ContentLength: small.length, ContentType: 'text/x-spec', ETag });
      expect(await refused('head-object', b, '--key', 'absent')).toBe('404');
    },
    'delete an object': async () => {
      const b = await bucket();
      await fill(b, ['k', 'l']);
      await s3('rm', `s3://${b}/k`);
      expect(keys(await api('list-objects-v2', b))).toEqual(['l']);
    },
    'delete many': async () => {
      const b = await bucket();
      const gone = ['k', 'l & <m>', 'ü'];
      await fill(b, [...gone, 'stays']);
      await api('delete-objects', b, '--delete', JSON.stringify({ Objects: gone.map((Key) => ({ Key })) }));
      expect(keys(await api('list-objects-v2', b))).toEqual(['stays']);
    },
    copy: async () => {
      const b = await shared();
      await put(b, 'ü &', '--content-type', 'text/x-spec', '--metadata', 'colour=blue');
      await s3('cp', '--no-progress', `s3://${b}/ü &`, `s3://${b}/copied`);
      expect(await read(b, 'copied')).toMatchObject({ text: small, ContentType: 'text/x-spec', Metadata: { colour: 'blue' } });
    },
    'copy with other metadata': async () => {
      const b = await shared();
      await put(b, 'k', '--metadata', 'colour=blue');
      const replace = ['--metadata-directive', 'REPLACE', '--metadata', 'shape=round', '--content-type', 'text/x-other'];
      await api('copy-object', b, '--key', 'copied', '--copy-source', `${b}/k`, ...replace);
      const found = await read(b, 'copied');
      expect([found.text, found['ContentType'], found['Metadata']]).toEqual([small, 'text/x-other', { shape: 'round' }]);
    },
    ranges: async () => {
      const b = await shared();
      await put(b);
      expect(await read(b, 'k', '--range', 'bytes=2-6')).toMatchObject({ text: 'small', ContentRange: `bytes 2-6/${small.length}` });
      expect((await read(b, 'k', '--range', 'bytes=-5')).text).toBe(small.slice(-5));
      expect(await refused('get-object', b, '--key', 'k', '--range', 'bytes=99-', got)).toBe('InvalidRange');
    },
    'conditional requests': async () => {
      const b = await shared();
      const etag = String((await put(b))['ETag']);
      const past = new Date(Date.now() - 3_600_000).toISOString();
      const get = (...args: readonly string[]) => refused('get-object', b, '--key', 'k', ...args, got);
      expect((await read(b, 'k', '--if-match', etag)).text).toBe(small);
      expect((await read(b, 'k', '--if-modified-since', past)).text).toBe(small);
      expect(await get('--if-none-match', etag)).toBe('304');
      expect(await get('--if-match', '"other"')).toBe('PreconditionFailed');
      expect(await get('--if-unmodified-since', past)).toBe('PreconditionFailed');
    },
    'tags of an object': async () => {
      const b = await shared();
      const TagSet = [{ Key: 'a', Value: '1' }, { Key: 'ü', Value: 'x y' }];
      await put(b, 'k', '--tagging', 'a=1');
      expect(await api('get-object-tagging', b, '--key', 'k')).toEqual({ TagSet: TagSet.slice(0, 1) });
      await api('put-object-tagging', b, '--key', 'k', '--tagging', JSON.stringify({ TagSet }));
      expect(await api('get-object-tagging', b, '--key', 'k')).toEqual({ TagSet });
      await api('delete-object-tagging', b, '--key', 'k');
      expect(await api('get-object-tagging', b, '--key', 'k')).toEqual({ TagSet: [] });
    },
    'canned ACL of an object': async () => {
      const b = await shared();
      await put(b, 'k', '--acl', 'public-read');
      expect(await statusOf(world, `/${b}/k`)).toBe(200);
      await api('put-object-acl', b, '--key', 'k', '--acl', 'private');
      expect(await statusOf(world, `/${b}/k`)).toBe(403);
    },
    'grants of an object': async () => {
      const b = await shared();
      await put(b);
      await api('put-object-acl', b, '--key', 'k', '--grant-read', `id=${other.projectId}`);
      await command([...base, 's3api', 'get-object', '--bucket', b, '--key', 'k', got], { environment: asOther });
      expect(await api('get-object-acl', b, '--key', 'k')).toMatchObject({ Grants: [{ Grantee: { ID: other.projectId }, Permission: 'READ' }] });
    },
    versions: async () => {
      const b = await bucket();
      await api('put-bucket-versioning', b, '--versioning-configuration', 'Status=Enabled');
      const first = String((await put(b))['VersionId']);
      const second = String((await api('put-object', b, '--key', 'k', '--body', file('empty')))['VersionId']);
      const marker = String((await api('delete-object', b, '--key', 'k'))['VersionId']);
      expect(await api('list-object-versions', b)).toMatchObject({
        Versions: [{ VersionId: second }, { VersionId: first }], DeleteMarkers: [{ VersionId: marker, IsLatest: true }],
      });
      expect((await read(b, 'k', '--version-id', first)).text).toBe(small);
      await api('delete-object', b, '--key', 'k', '--version-id', marker);
      expect((await read(b)).text).toBe('');
    },
    'Content-MD5': async () => {
      const b = await shared();
      await put(b, 'k', '--content-md5', base64('md5', small));
      expect(await refused('put-object', b, '--key', 'l', '--body', file('small'), '--content-md5', base64('md5', 'other'))).toBe('BadDigest');
    },
    'checksums in headers': async () => {
      const b = await shared();
      for (const [kind, right] of [['CRC32', undefined], ['SHA1', base64('sha1', small)], ['SHA256', base64('sha256', small)]] as const) {
        const { [`Checksum${kind}`]: sent } = await put(b, 'k', '--checksum-algorithm', kind);
        expect(await read(b, 'k', '--checksum-mode', 'ENABLED')).toMatchObject({ text: small, [`Checksum${kind}`]: right ?? sent });
      }
      expect(await refused('put-object', b, '--key', 'l', '--body', file('small'), '--checksum-sha256', base64('sha256', 'other'))).toBe('BadDigest');
    },
    'metadata and content headers': async () => {
      const b = await shared();
      await put(b, 'k', '--content-type', 'text/x-spec; charset=utf-8', '--content-encoding', 'x-spec', '--content-language', 'de',
        '--cache-control', 'max-age=5', '--content-disposition', 'attachment; filename="f"', '--metadata', JSON.stringify({ colour: 'blue  &  green' }));
      expect(await api('head-object', b, '--key', 'k')).toMatchObject({
        ContentType: 'text/x-spec; charset=utf-8', ContentEncoding: 'x-spec', ContentLanguage: 'de', CacheControl: 'max-age=5',
        ContentDisposition: 'attachment; filename="f"', Metadata: { colour: 'blue  &  green' },
      });
    },
    'response-* overrides': async () => {
      const b = await shared();
      await put(b);
      const asked = ['--response-content-type', 'text/x-other', '--response-cache-control', 'no-store', '--response-content-disposition', 'attachment'];
      const headers = { ContentType: 'text/x-other', CacheControl: 'no-store', ContentDisposition: 'attachment' };
      expect(await read(b, 'k', ...asked)).toMatchObject({ ...headers, text: small });
    },
    'public static GET': async () => {
      const b = await shared();
      await s3('cp', '--no-progress', '--acl', 'public-read', '--content-type', 'text/html', file('small'), `s3://${b}/page.html`);
      const answer = await plain(world, `/${b}/page.html`);
      expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, 'text/html', small]);
    },
  };

  const more: Cells = {
    'multipart upload': async () => {
      const b = await shared();
      await s3('cp', '--no-progress', file('large'), `s3://${b}/k`);
      expect(await api('head-object', b, '--key', 'k')).toMatchObject({ ContentLength: largeSize, ETag: expect.stringMatching(/-2"$/) });
      await s3('cp', '--no-progress', `s3://${b}/k`, got);
      await sameFile(got, file('large'));
    },
    'list uploads': async () => {
      const b = await shared();
      const [, key, , id] = await upload(b, 'ü k');
      expect((await api('list-multipart-uploads', b))['Uploads']).toContainEqual(expect.objectContaining({ Key: key, UploadId: id }));
    },
    'list parts': async () => {
      const b = await shared();
      const of = await upload(b, 'k');
      await part(b, of, 1, 'medium');
      await part(b, of, 2, 'small');
      expect(await api('list-parts', b, ...of)).toMatchObject({ Parts: [{ PartNumber: 1, Size: 3 << 20 }, { PartNumber: 2, Size: small.length }] });
    },
    'abort an upload': async () => {
      const b = await shared();
      const of = await upload(b, 'k');
      await part(b, of, 1, 'small');
      await api('abort-multipart-upload', b, ...of);
      expect(await api('list-multipart-uploads', b)).not.toMatchObject({ Uploads: expect.arrayContaining([expect.objectContaining({ UploadId: of[3] })]) });
    },
    'copy a part': async () => {
      const b = await shared();
      await api('put-object', b, '--key', 'ü k', '--body', file('large'));
      const of = await upload(b, 'copied');
      const Parts: { PartNumber: number; ETag: unknown }[] = [];
      for (const [index, range] of [`0-${partSize - 1}`, `${partSize}-${largeSize - 1}`].entries()) {
        const source = ['--copy-source', `${b}/ü k`, '--copy-source-range', `bytes=${range}`];
        const { CopyPartResult } = await api('upload-part-copy', b, ...of, '--part-number', String(index + 1), ...source);
        Parts.push({ PartNumber: index + 1, ETag: (CopyPartResult as { ETag: string }).ETag });
      }
      await api('complete-multipart-upload', b, ...of, '--multipart-upload', JSON.stringify({ Parts }));
      await s3('cp', '--no-progress', `s3://${b}/copied`, got);
      await sameFile(got, file('large'));
    },
    'signature 4': async () => {
      await put(onlyV4, 'by awscli');
      expect((await read(onlyV4, 'by awscli')).text).toBe(small);
      expect(await refused('put-object', onlyV2, '--key', 'k', '--body', file('small'))).toBe('AccessDenied');
    },
    'address signed by version 4': async () => {
      const b = await shared();
      await put(b, 'ü k');
      await holdsAddress(world, (await s3('presign', `s3://${b}/ü k`)).stdout.trim());
    },
    refusals: async () => {
      const { stderr } = await command([...base, 's3', 'ls'], { code: 254, environment: { AWS_SECRET_ACCESS_KEY: 'wrong' } });
      expect(stderr).toContain('SignatureDoesNotMatch');
      expect(await refused('list-objects-v2', foreign)).toBe('AccessDenied');
      expect(await refused('get-object', await shared(), '--key', 'absent', got)).toBe('NoSuchKey');
    },
    'list, version 1': async () => {
      const b = await tree();
      const top = await api('list-objects', b, '--delimiter', '/');
      expect([keys(top), folders(top)]).toEqual([['b'], ['a/', 'c/']]);
      expect(keys(await api('list-objects', b, '--prefix', 'a/'))).toEqual(['a/1']);
      expect(keys(await api('list-objects', b, '--page-size', '2'))).toEqual(['a/1', 'b', 'c/ü 3']);
    },
    'list, version 2': async () => {
      const b = await tree();
      const top = await api('list-objects-v2', b, '--delimiter', '/');
      expect([keys(top), folders(top)]).toEqual([['b'], ['a/', 'c/']]);
      expect(keys(await api('list-objects-v2', b, '--page-size', '2'))).toEqual(['a/1', 'b', 'c/ü 3']);
      const later = await api('list-objects-v2', b, '--start-after', 'a/1', '--fetch-owner');
      expect([keys(later), later.Contents?.[0]?.Owner?.ID]).toEqual([['b', 'c/ü 3'], world.key.projectId]);
    },
    'encoding-type': async () => {
      expect(keys(await api('list-objects-v2', await tree(), '--prefix', 'c/', '--encoding-type', 'url'))).toEqual(['c/%C3%BC%203']);
    },
    'sync a folder up': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 'awscli-up');
      await s3('sync', '--no-progress', folder, `s3://${b}/to`);
      expect((await s3('sync', '--no-progress', folder, `s3://${b}/to`)).stdout).toBe('');
      await writeFile(join(folder, 'changed'), 'longer than before');
      await rm(join(folder, 'gone'));
      const { stdout } = await s3('sync', '--no-progress', '--delete', folder, `s3://${b}/to`);
      expect(stdout.trim().split('\n').map((line) => line.replace(/:.*/, '')).toSorted()).toEqual(['delete', 'upload']);
      expect(keys(await api('list-objects-v2', b))).toEqual(['to/changed', 'to/sub/ü +']);
    },
    'sync a folder down': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 'awscli-down');
      await s3('sync', '--no-progress', folder, `s3://${b}`);
      await s3('sync', '--no-progress', `s3://${b}`, `${folder}-back`);
      for (const path of ['changed', 'gone', 'sub/ü +']) await sameFile(join(folder, path), join(`${folder}-back`, path));
    },
  };
  return { ...buckets, ...objects, ...more };
}
