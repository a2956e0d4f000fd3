// rclone, unmodified: its cells of the matrix of S3.
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  CreateMultipartUploadCommand, DeleteObjectCommand, GetObjectTaggingCommand, HeadObjectCommand, ListMultipartUploadsCommand, PutBucketVersioningCommand,
  PutObjectCommand,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import type { Command } from './commands.ts';
import {
  bucketNames, foreign, holdsAddress, largeSize, oddKeys, onlyV2, onlyV4, plain, region, sameFile, small, statusOf, syncFolder, type Cells, type MatrixWorld,
} from './world.ts';

/** What `--config` reads: a remote `s3`. In a file, since rclone writes to its log what it finds in its variables. */
export const rcloneConfiguration = ({ port, key }: MatrixWorld): string => [
  '[s3]', 'type = s3', 'provider = Other', `endpoint = http://127.0.0.1:${port}`, `region = ${region}`, `location_constraint = ${region}`,
  `access_key_id = ${key.accessKeyId}`, `secret_access_key = ${key.secretAccessKey}`, 'force_path_style = true', '',
].join('\n');

/** With a bundle of authorities, which is the surroundings' business, rclone does not start. */
export const rcloneEnvironment = { RCLONE_RETRIES: '1', RCLONE_LOW_LEVEL_RETRIES: '1', AWS_CA_BUNDLE: '' };

interface Listed {
  readonly Path: string;
  readonly Size: number;
  readonly MimeType: string;
  readonly IsDir: boolean;
}

/** `command` runs `rclone` with these arguments. */
export function rcloneCells(world: MatrixWorld, command: Command): Cells {
  const { files, sdk } = world;
  const name = bucketNames('rclone');
  const file = (what: string) => join(files, what);
  const got = file('rclone-got');
  const rclone = async (...args: readonly string[]) => (await command(args)).stdout;
  const bucket = async () => {
    const made = name();
    await rclone('mkdir', `s3:${made}`);
    return made;
  };
  const put = (b: string, key = 'k', ...args: readonly string[]) => rclone('copyto', ...args, file('small'), `s3:${b}/${key}`);
  const reads = async (b: string, key: string, what: string, ...args: readonly string[]) => {
    await rm(got, { force: true });
    await rclone('copyto', ...args, `s3:${b}/${key}`, got);
    await sameFile(got, file(what));
  };
  const list = async (path: string, ...args: readonly string[]) => JSON.parse(await rclone('lsjson', ...args, `s3:${path}`)) as Listed[];
  const paths = (listed: readonly Listed[]) => listed.map(({ Path, IsDir }) => `${Path}${IsDir ? '/' : ''}`).toSorted();
  const tree = async () => {
    const b = await bucket();
    for (const key of ['a/1', 'b', 'c/ü 3']) await put(b, key);
    return b;
  };
  const listsTree = async (version: string) => {
    const b = await tree();
    const how = ['--s3-list-version', version, '--s3-list-chunk', '2', '--fast-list'];
    expect(paths(await list(b, ...how))).toEqual(['a/', 'b', 'c/']);
    expect(paths(await list(`${b}/a`, ...how))).toEqual(['1']);
    expect(paths(await list(b, ...how, '--recursive', '--files-only'))).toEqual(['a/1', 'b', 'c/ü 3']);
    const asked = await command(['lsjson', ...how, '--recursive', '--dump', 'headers', `s3:${b}`]);
    expect(asked.stderr.match(/: GET \S+/g)?.map((line) => line.includes('list-type=2'))).toEqual([version === '2', version === '2']);
  };

  const cells: Cells = {
    'create a bucket': async () => {
      const b = await bucket();
      await rclone('mkdir', `s3:${b}`);
      expect(paths(await list(''))).toContain(`${b}/`);
    },
    'list buckets': async () => {
      const b = await bucket();
      const listed = paths(await list(''));
      expect(listed).toContain(`${b}/`);
      expect(listed).not.toContain(`${foreign}/`);
    },
    'delete a bucket': async () => {
      const b = await bucket();
      await put(b);
      expect((await command(['rmdir', `s3:${b}`], { code: 1 })).stderr).toContain('BucketNotEmpty');
      await rclone('purge', `s3:${b}`);
      expect(paths(await list(''))).not.toContain(`${b}/`);
    },
    'canned ACL of a bucket': async () => {
      const b = name();
      await rclone('mkdir', '--s3-bucket-acl', 'public-read', `s3:${b}`);
      expect([await statusOf(world, `/${b}`), await statusOf(world, `/${await bucket()}`)]).toEqual([200, 403]);
    },
    'put and get': async () => {
      const b = await bucket();
      for (const what of ['empty', 'small', 'medium']) {
        await rclone('copyto', file(what), `s3:${b}/${what}`);
        await reads(b, what, what);
      }
    },
    'odd keys': async () => {
      const b = await bucket();
      for (const key of oddKeys) await put(b, key);
      expect(paths(await list(b, '--recursive', '--files-only'))).toEqual(oddKeys.toSorted());
      for (const key of oddKeys) await reads(b, key, 'small');
    },
    'head an object': async () => {
      const b = await bucket();
      await put(b, 'k', '--header-upload', 'Content-Type: text/x-spec');
      expect(JSON.parse(await rclone('lsjson', '--stat', `s3:${b}/k`))).toMatchObject({ Size: small.length, MimeType: 'text/x-spec' });
      expect(await rclone('md5sum', `s3:${b}/k`)).toBe(`${createHash('md5').update(small).digest('hex')}  k\n`);
      expect((await command(['lsjson', '--stat', '--dump', 'headers', `s3:${b}/absent`])).stderr).toContain('HTTP/1.1 404 Not Found');
    },
    'delete an object': async () => {
      const b = await bucket();
      for (const key of ['k', 'l']) await put(b, key);
      await rclone('deletefile', `s3:${b}/k`);
      expect(paths(await list(b))).toEqual(['l']);
    },
    copy: async () => {
      const b = await bucket();
      await put(b, 'ü &', '--header-upload', 'Content-Type: text/x-spec', '--header-upload', 'X-Amz-Meta-Colour: blue');
      const { stderr } = await command(['copyto', '--dump', 'headers', `s3:${b}/ü &`, `s3:${b}/copied`]);
      expect(stderr).toContain('X-Amz-Copy-Source: ');
      await reads(b, 'copied', 'small');
      expect(await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'copied' }))).toMatchObject({ ContentType: 'text/x-spec', Metadata: { colour: 'blue' } });
    },
    'copy with other metadata': async () => {
      const b = await bucket();
      await put(b);
      const { stderr } = await command(['touch', '--dump', 'headers', '--timestamp', '2011-02-03T04:05:06', `s3:${b}/k`]);
      expect(stderr).toContain('X-Amz-Metadata-Directive: REPLACE');
      expect(await rclone('lsl', `s3:${b}/k`)).toContain('2011-02-03 04:05:06');
      await reads(b, 'k', 'small');
    },
    ranges: async () => {
      const b = await bucket();
      await put(b);
      const { stdout, stderr } = await command(['cat', '--dump', 'headers', '--offset', '2', '--count', '5', `s3:${b}/k`]);
      expect([stdout, /: Range: bytes=2-6|^Range: bytes=2-6/m.test(stderr)]).toEqual(['small', true]);
      expect(await rclone('cat', '--tail', '5', `s3:${b}/k`)).toBe(small.slice(-5));
    },
    'conditional requests': async () => {
      const b = await bucket();
      await put(b);
      const md5 = createHash('md5').update(small).digest('hex');
      const cat = (header: string, code: number) => command(['cat', '--header-download', header, `s3:${b}/k`], { code });
      expect((await cat(`If-Match: "${md5}"`, 0)).stdout).toBe(small);
      expect((await cat('If-Match: "other"', 1)).stderr).toContain('412');
      expect((await cat(`If-None-Match: "${md5}"`, 1)).stderr).toContain('304');
    },
    'tags of an object': async () => {
      const b = await bucket();
      await put(b, 'k', '--header-upload', 'X-Amz-Tagging: a=1');
      expect((await sdk.send(new GetObjectTaggingCommand({ Bucket: b, Key: 'k' }))).TagSet).toEqual([{ Key: 'a', Value: '1' }]);
    },
    'canned ACL of an object': async () => {
      const b = await bucket();
      await put(b, 'open', '--s3-acl', 'public-read');
      await put(b, 'closed');
      expect([await statusOf(world, `/${b}/open`), await statusOf(world, `/${b}/closed`)]).toEqual([200, 403]);
    },
    versions: async () => {
      const b = await bucket();
      await sdk.send(new PutBucketVersioningCommand({ Bucket: b, VersioningConfiguration: { Status: 'Enabled' } }));
      await put(b, 'k.txt');
      await sdk.send(new PutObjectCommand({ Bucket: b, Key: 'k.txt', Body: 'newer' }));
      await sdk.send(new DeleteObjectCommand({ Bucket: b, Key: 'k.txt' }));
      expect(await list(b)).toEqual([]);
      const listed = await list(b, '--s3-versions');
      expect(listed.map(({ Size }) => Size).toSorted()).toEqual([small.length, 'newer'.length].toSorted());
      const older = listed.find(({ Size }) => Size === small.length)?.Path ?? '';
      expect(older).toMatch(/^k-v.*\.txt$/);
      await reads(b, older, 'small', '--s3-versions');
    },
    'Content-MD5': async () => {
      const b = await bucket();
      const { stderr } = await command(['copyto', '--dump', 'headers', file('small'), `s3:${b}/k`]);
      expect(stderr).toContain(`Content-Md5: ${createHash('md5').update(small).digest('base64')}`);
      await reads(b, 'k', 'small');
    },
    'metadata and content headers': async () => {
      const b = await bucket();
      const headers = ['Content-Type: text/x-spec', 'Content-Encoding: x-spec', 'Content-Language: de', 'Cache-Control: max-age=5',
        'Content-Disposition: attachment; filename="f"', 'X-Amz-Meta-Colour: blue & green'];
      await put(b, 'k', ...headers.flatMap((header) => ['--header-upload', header]));
      expect(await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'k' }))).toMatchObject({
        ContentType: 'text/x-spec', ContentEncoding: 'x-spec', ContentLanguage: 'de', CacheControl: 'max-age=5',
        ContentDisposition: 'attachment; filename="f"', Metadata: { colour: 'blue & green' },
      });
    },
    'public static GET': async () => {
      const b = await bucket();
      await put(b, 'page.html', '--s3-acl', 'public-read', '--header-upload', 'Content-Type: text/html');
      const answer = await plain(world, `/${b}/page.html`);
      expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, 'text/html', small]);
    },
    'multipart upload': async () => {
      const b = await bucket();
      await rclone('copyto', '--s3-upload-cutoff', '5M', '--s3-chunk-size', '5M', file('large'), `s3:${b}/k`);
      expect(await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'k' }))).toMatchObject({ ContentLength: largeSize, ETag: expect.stringMatching(/-3"$/) });
      await reads(b, 'k', 'large');
    },
    'list uploads': async () => {
      const b = await bucket();
      const { UploadId } = await sdk.send(new CreateMultipartUploadCommand({ Bucket: b, Key: 'ü k' }));
      expect(JSON.parse(await rclone('backend', 'list-multipart-uploads', `s3:${b}`))).toMatchObject({ [b]: [{ Key: 'ü k', UploadId }] });
    },
    'abort an upload': async () => {
      const b = await bucket();
      await sdk.send(new CreateMultipartUploadCommand({ Bucket: b, Key: 'k' }));
      await rclone('backend', 'cleanup', `s3:${b}`, '-o', 'max-age=0s');
      expect((await sdk.send(new ListMultipartUploadsCommand({ Bucket: b }))).Uploads ?? []).toEqual([]);
    },
    'copy a part': async () => {
      const b = await bucket();
      await rclone('copyto', file('large'), `s3:${b}/ü k`);
      await rclone('copyto', '--s3-copy-cutoff', '5M', '--s3-chunk-size', '5M', `s3:${b}/ü k`, `s3:${b}/copied`);
      expect((await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'copied' }))).ETag).toMatch(/-\d+"$/);
      await reads(b, 'copied', 'large');
    },
    'signature 4': async () => {
      await put(onlyV4, 'by rclone');
      await reads(onlyV4, 'by rclone', 'small');
      expect((await command(['copyto', file('small'), `s3:${onlyV2}/k`], { code: 1 })).stderr).toContain('AccessDenied');
    },
    'signature 2': async () => {
      await put(onlyV2, 'by rclone', '--s3-v2-auth');
      await reads(onlyV2, 'by rclone', 'small', '--s3-v2-auth');
      expect((await command(['copyto', '--s3-v2-auth', file('small'), `s3:${onlyV4}/k`], { code: 1 })).stderr).toContain('AccessDenied');
    },
    'address signed by version 4': async () => {
      const b = await bucket();
      await put(b, 'ü k');
      await holdsAddress(world, (await rclone('link', '--expire', '1m', `s3:${b}/ü k`)).trim());
    },
    refusals: async () => {
      const wrong = await command(['lsd', '--s3-secret-access-key', 'wrong', 's3:'], { code: 1 });
      expect(wrong.stderr).toContain('SignatureDoesNotMatch');
      expect((await command(['ls', `s3:${foreign}`], { code: 1 })).stderr).toContain('AccessDenied');
      expect((await command(['copyto', `s3:${await bucket()}/absent`, got], { code: 1 })).stderr).toContain("doesn't exist");
    },
    'list, version 1': () => listsTree('1'),
    'list, version 2': () => listsTree('2'),
    'encoding-type': async () => {
      const how = ['--recursive', '--files-only', '--s3-list-url-encode', 'true', '--dump', 'headers'];
      const { stdout, stderr } = await command(['lsjson', ...how, `s3:${await tree()}`]);
      expect(stderr).toContain('encoding-type=url');
      expect(paths(JSON.parse(stdout) as Listed[])).toEqual(['a/1', 'b', 'c/ü 3']);
    },
    'sync a folder up': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 'rclone-up');
      const sync = async () => (await command(['sync', '-v', folder, `s3:${b}/to`])).stderr.match(/: (Copied \(\w+|Deleted)/g)?.toSorted() ?? [];
      expect(await sync()).toHaveLength(3);
      expect(await sync()).toEqual([]);
      await writeFile(join(folder, 'changed'), 'longer than before');
      await rm(join(folder, 'gone'));
      expect(await sync()).toEqual([': Copied (replaced', ': Deleted']);
      await rclone('check', folder, `s3:${b}/to`);
      expect(paths(await list(b, '--recursive', '--files-only'))).toEqual(['to/changed', 'to/sub/ü +']);
    },
    'sync a folder down': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 'rclone-down');
      await rclone('sync', folder, `s3:${b}`);
      await rclone('sync', `s3:${b}`, `${folder}-back`);
      for (const path of ['changed', 'gone', 'sub/ü +']) await sameFile(join(folder, path), join(`${folder}-back`, path));
      await writeFile(join(`${folder}-back`, 'gone'), 'GOES');
      expect((await command(['check', `${folder}-back`, `s3:${b}`], { code: 1 })).stderr).toMatch(/differ/i);
      expect(await readFile(join(folder, 'gone'), 'utf8')).toBe('goes');
    },
  };
  return cells;
}
