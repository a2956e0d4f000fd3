// s3cmd, unmodified: its cells of the matrix of S3.
import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CreateMultipartUploadCommand, HeadObjectCommand, UploadPartCommand } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import type { Command } from './commands.ts';
import {
  bucketNames, foreign, holdsAddress, largeSize, oddKeys, onlyV2, onlyV4, origin, plain, preflight, readable, region, sameFile, small, statusOf,
  syncFolder, type Cells, type MatrixWorld,
} from './world.ts';

/** Of s3cmd: not found, conflict, no permission. */
const exit = { notFound: 12, conflict: 13, denied: 77 } as const;

/** What `s3cmd -c` reads. Parts of uploads and of copies have 5 MiB. */
export const s3cmdConfiguration = (port: number, accessKey: string, secretKey: string): string => [
  '[default]', `access_key = ${accessKey}`, `secret_key = ${secretKey}`, `host_base = 127.0.0.1:${port}`, `host_bucket = 127.0.0.1:${port}`,
  'use_https = False', `bucket_location = ${region}`, 'multipart_chunk_size_mb = 5', 'multipart_copy_chunk_size_mb = 5', 'progress_meter = False',
  'max_retries = 1', '',
].join('\n');

/** `command` runs `s3cmd` with these arguments. */
export function s3cmdCells(world: MatrixWorld, command: Command): Cells {
  const { files, other, sdk } = world;
  const name = bucketNames('s3cmd');
  const file = (what: string) => join(files, what);
  const got = file('s3cmd-got');
  const own = ['-c', file('s3cfg')];
  const s3cmd = async (...args: readonly string[]) => (await command([...own, ...args])).stdout;
  const fails = async (code: number, ...args: readonly string[]) => (await command([...own, ...args], { code })).stderr;
  const asOther = ['--access_key', other.accessKeyId, '--secret_key', other.secretAccessKey];
  const bucket = async () => {
    const made = name();
    await s3cmd('mb', `s3://${made}`);
    return made;
  };
  const put = (b: string, key = 'k', ...args: readonly string[]) => s3cmd('put', ...args, file('small'), `s3://${b}/${key}`);
  const reads = async (b: string, key: string, what: string, ...args: readonly string[]) => {
    await s3cmd('get', '--force', ...args, `s3://${b}/${key}`, got);
    await sameFile(got, file(what));
  };
  const keys = async (b: string) => (await s3cmd('ls', '--recursive', `s3://${b}`)).trim().split('\n').map((line) => line.replace(/^.*?s3:\/\/[^/]+\//, ''));
  const upload = async (Bucket: string, Key: string) => {
    const { UploadId = '' } = await sdk.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    await sdk.send(new UploadPartCommand({ Bucket, Key, UploadId, PartNumber: 1, Body: small }));
    return UploadId;
  };

  const buckets: Cells = {
    'create a bucket': async () => {
      const b = await bucket();
      expect(await fails(exit.conflict, 'mb', `s3://${b}`)).toContain('BucketAlreadyOwnedByYou');
      expect((await s3cmd('ls')).split('\n').filter((line) => line.endsWith(`s3://${b}`))).toHaveLength(1);
    },
    'list buckets': async () => {
      const b = await bucket();
      const listed = await s3cmd('ls');
      expect(listed).toContain(`s3://${b}\n`);
      expect(listed).not.toContain(foreign);
    },
    'delete a bucket': async () => {
      const b = await bucket();
      await put(b);
      expect(await fails(exit.conflict, 'rb', `s3://${b}`)).toContain('BucketNotEmpty');
      await s3cmd('rb', '--recursive', '--force', `s3://${b}`);
      expect(await fails(exit.notFound, 'ls', `s3://${b}`)).toContain('NoSuchBucket');
    },
    location: async () => {
      expect(await s3cmd('info', `s3://${await bucket()}`)).toContain(`Location:  ${region}`);
    },
    'canned ACL of a bucket': async () => {
      const b = await bucket();
      await s3cmd('setacl', '--acl-public', `s3://${b}`);
      expect(await statusOf(world, `/${b}`)).toBe(200);
      await s3cmd('setacl', '--acl-private', `s3://${b}`);
      expect(await statusOf(world, `/${b}`)).toBe(403);
    },
    'grants of a bucket': async () => {
      const b = await bucket();
      await fails(exit.denied, ...asOther, 'ls', `s3://${b}`);
      await s3cmd('setacl', `--acl-grant=read:${other.projectId}`, `s3://${b}`);
      await s3cmd(...asOther, 'ls', `s3://${b}`);
      expect(await s3cmd('info', `s3://${b}`)).toMatch(new RegExp(`ACL: +(neighbour|${other.projectId}): READ`));
    },
    'bucket policy': async () => {
      const b = await bucket();
      await put(b);
      await writeFile(file('s3cmd-policy'), readable(b));
      await s3cmd('setpolicy', file('s3cmd-policy'), `s3://${b}`);
      expect(await statusOf(world, `/${b}/k`)).toBe(200);
      expect(await s3cmd('info', `s3://${b}`)).toContain(readable(b));
      await s3cmd('delpolicy', `s3://${b}`);
      expect(await statusOf(world, `/${b}/k`)).toBe(403);
    },
    CORS: async () => {
      const b = await bucket();
      const rule = `<CORSRule><AllowedOrigin>${origin}</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>`;
      await writeFile(file('s3cmd-cors'), `<CORSConfiguration>${rule}</CORSConfiguration>`);
      expect(await preflight(world, b)).toBe(403);
      await s3cmd('setcors', file('s3cmd-cors'), `s3://${b}`);
      expect(await preflight(world, b)).toBe(200);
      expect(await s3cmd('info', `s3://${b}`)).toContain(`<AllowedOrigin>${origin}</AllowedOrigin>`);
      await s3cmd('delcors', `s3://${b}`);
      expect(await preflight(world, b)).toBe(403);
    },
    lifecycle: async () => {
      const b = await bucket();
      await s3cmd('expire', '--expiry-days=3', '--expiry-prefix=logs/', `s3://${b}`);
      expect(await s3cmd('info', `s3://${b}`)).toContain("objects with key prefix 'logs/' will expire in '3' day(s)");
      await writeFile(file('s3cmd-rules'), (await s3cmd('getlifecycle', `s3://${b}`)).replace('<Days>3</Days>', '<Days>4</Days>'));
      await s3cmd('setlifecycle', file('s3cmd-rules'), `s3://${b}`);
      expect(await s3cmd('getlifecycle', `s3://${b}`)).toContain('<Days>4</Days>');
      await s3cmd('dellifecycle', `s3://${b}`);
      expect(await fails(exit.notFound, 'getlifecycle', `s3://${b}`)).toContain('NoSuchLifecycleConfiguration');
    },
  };

  const objects: Cells = {
    'put and get': async () => {
      const b = await bucket();
      await s3cmd('put', file('empty'), file('small'), file('medium'), `s3://${b}`);
      for (const what of ['empty', 'small', 'medium']) await reads(b, what, what);
    },
    'odd keys': async () => {
      const b = await bucket();
      for (const key of oddKeys) await put(b, key);
      expect((await keys(b)).toSorted()).toEqual(oddKeys.toSorted());
      for (const key of oddKeys) await reads(b, key, 'small');
    },
    'head an object': async () => {
      const b = await bucket();
      await put(b, 'k', '--mime-type=text/x-spec');
      const found = await s3cmd('info', `s3://${b}/k`);
      expect(found).toContain(`File size: ${small.length}\n`);
      expect(found).toContain('MIME type: text/x-spec\n');
      expect(found).toContain(`MD5 sum:   ${createHash('md5').update(small).digest('hex')}\n`);
      await fails(exit.notFound, 'info', `s3://${b}/absent`);
    },
    'delete an object': async () => {
      const b = await bucket();
      for (const key of ['k', 'l']) await put(b, key);
      await s3cmd('del', `s3://${b}/k`);
      expect(await keys(b)).toEqual(['l']);
    },
    'delete many': async () => {
      const b = await bucket();
      for (const key of ['some/k', 'some/l & <m>', 'some/ü', 'stays']) await put(b, key);
      await s3cmd('del', '--recursive', '--force', `s3://${b}/some/`);
      expect(await keys(b)).toEqual(['stays']);
    },
    copy: async () => {
      const b = await bucket();
      await put(b, 'ü &', '--mime-type=text/x-spec', '--add-header=x-amz-meta-colour:blue');
      await s3cmd('cp', `s3://${b}/ü &`, `s3://${b}/copied`);
      await reads(b, 'copied', 'small');
      const found = await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'copied' }));
      expect(found).toMatchObject({ ContentType: 'text/x-spec', Metadata: { colour: 'blue' } });
    },
    'copy with other metadata': async () => {
      const b = await bucket();
      await put(b, 'k', '--add-header=x-amz-meta-colour:blue');
      await s3cmd('modify', '--remove-header=x-amz-meta-colour', '--add-header=x-amz-meta-shape:round', '--mime-type=text/x-other', `s3://${b}/k`);
      await reads(b, 'k', 'small');
      const found = await s3cmd('info', `s3://${b}/k`);
      expect(found).toMatch(/MIME type: text\/x-other[\s\S]*x-amz-meta-shape: round/);
      expect(found).not.toContain('colour');
    },
    ranges: async () => {
      const b = await bucket();
      await s3cmd('put', file('medium'), `s3://${b}/k`);
      await writeFile(got, (await readFile(file('medium'))).subarray(0, 1_000_000));
      await s3cmd('get', '--continue', `s3://${b}/k`, got); // from there on
      await sameFile(got, file('medium'));
    },
    'canned ACL of an object': async () => {
      const b = await bucket();
      await put(b, 'k', '--acl-public');
      expect(await statusOf(world, `/${b}/k`)).toBe(200);
      await s3cmd('setacl', '--acl-private', `s3://${b}/k`);
      expect(await statusOf(world, `/${b}/k`)).toBe(403);
    },
    'grants of an object': async () => {
      const b = await bucket();
      await put(b);
      await fails(exit.denied, ...asOther, 'get', '--force', `s3://${b}/k`, got);
      await s3cmd('setacl', `--acl-grant=read:${other.projectId}`, `s3://${b}/k`);
      await reads(b, 'k', 'small', ...asOther);
      expect(await s3cmd('info', `s3://${b}/k`)).toMatch(new RegExp(`ACL: +(neighbour|${other.projectId}): READ`));
    },
    'metadata and content headers': async () => {
      const b = await bucket();
      const headers = ['Content-Encoding:x-spec', 'Content-Language:de', 'Cache-Control:max-age=5', 'Content-Disposition:attachment; filename="f"',
        'x-amz-meta-colour:blue & green'];
      await put(b, 'k', '--mime-type=text/x-spec', ...headers.map((header) => `--add-header=${header}`));
      expect(await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'k' }))).toMatchObject({
        ContentType: 'text/x-spec', ContentEncoding: 'x-spec', ContentLanguage: 'de', CacheControl: 'max-age=5',
        ContentDisposition: 'attachment; filename="f"', Metadata: { colour: 'blue & green' },
      });
    },
    'response-* overrides': async () => {
      const b = await bucket();
      await put(b);
      const url = await s3cmd('signurl', '--content-type=text/x-other', '--content-disposition=attachment', `s3://${b}/k`, '+60');
      const answer = await plain(world, url.trim());
      expect([answer.status, answer.headers.get('content-type'), answer.headers.get('content-disposition')]).toEqual([200, 'text/x-other', 'attachment']);
    },
    'public static GET': async () => {
      const b = await bucket();
      await put(b, 'page.html', '--acl-public', '--mime-type=text/html');
      const answer = await plain(world, `/${b}/page.html`);
      expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, 'text/html', small]);
    },
  };

  const more: Cells = {
    'multipart upload': async () => {
      const b = await bucket();
      await s3cmd('put', file('large'), `s3://${b}/k`);
      expect(await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'k' }))).toMatchObject({ ContentLength: largeSize, ETag: expect.stringMatching(/-3"$/) });
      await reads(b, 'k', 'large');
    },
    'list uploads': async () => {
      const b = await bucket();
      const id = await upload(b, 'ü k');
      expect(await s3cmd('multipart', `s3://${b}`)).toContain(`s3://${b}/ü k\t${id}`);
    },
    'list parts': async () => {
      const b = await bucket();
      const listed = await s3cmd('listmp', `s3://${b}/k`, await upload(b, 'k'));
      expect(listed).toContain(`\t1\t"${createHash('md5').update(small).digest('hex')}"\t${small.length}`);
    },
    'abort an upload': async () => {
      const b = await bucket();
      const id = await upload(b, 'k');
      await s3cmd('abortmp', `s3://${b}/k`, id);
      expect(await s3cmd('multipart', `s3://${b}`)).not.toContain(id);
    },
    'copy a part': async () => {
      const b = await bucket();
      await s3cmd('put', '--disable-multipart', file('large'), `s3://${b}/ü k`);
      await s3cmd('cp', `s3://${b}/ü k`, `s3://${b}/copied`);
      expect((await sdk.send(new HeadObjectCommand({ Bucket: b, Key: 'copied' }))).ETag).toMatch(/-3"$/);
      await reads(b, 'copied', 'large');
    },
    'signature 4': async () => {
      await put(onlyV4, 'by s3cmd');
      await reads(onlyV4, 'by s3cmd', 'small');
      await fails(exit.denied, 'put', file('small'), `s3://${onlyV2}/k`);
    },
    'signature 2': async () => {
      await put(onlyV2, 'by s3cmd', '--signature-v2');
      await reads(onlyV2, 'by s3cmd', 'small', '--signature-v2');
      await fails(exit.denied, 'put', '--signature-v2', file('small'), `s3://${onlyV4}/k`);
    },
    'address signed by version 2': async () => {
      const b = await bucket();
      await put(b, 'ü k');
      await holdsAddress(world, (await s3cmd('signurl', `s3://${b}/ü k`, '+60')).trim());
    },
    'POST form with policy': async () => {
      const b = await bucket();
      const expiration = new Date(Date.now() + 60_000).toISOString();
      const policy = Buffer.from(JSON.stringify({ expiration, conditions: [{ bucket: b }, ['starts-with', '$key', 'up/']] })).toString('base64');
      const signature = /Signature: (\S+)/.exec(await s3cmd('sign', policy))?.[1] ?? '';
      const post = async (key: string) => {
        const body = new FormData();
        for (const [field, value] of Object.entries({ key, AWSAccessKeyId: world.key.accessKeyId, policy, signature })) body.set(field, value);
        body.set('file', new Blob([small]), 'f');
        return statusOf(world, `/${b}`, { method: 'POST', body });
      };
      expect([await post('other'), await post('up/${filename}')]).toEqual([403, 204]);
      await reads(b, 'up/f', 'small');
    },
    refusals: async () => {
      expect(await fails(exit.denied, '--secret_key', 'wrong', 'ls')).toContain('SignatureDoesNotMatch');
      expect(await fails(exit.denied, 'ls', `s3://${foreign}`)).toContain('AccessDenied');
      expect(await fails(64, 'get', '--force', `s3://${await bucket()}/absent`, got)).toContain('does not exist');
    },
    'list, version 1': async () => {
      const b = await bucket();
      for (const key of ['a/1', 'b', 'c/ü 3']) await put(b, key);
      const top = (await s3cmd('ls', `s3://${b}`)).trim().split('\n').map((line) => line.replace(/^.*?(DIR +)?s3:\/\/[^/]+\//, ''));
      expect(top.toSorted()).toEqual(['a/', 'b', 'c/']);
      expect(await s3cmd('ls', `s3://${b}/a/`)).toContain(`s3://${b}/a/1`);
      expect(await keys(b)).toEqual(['a/1', 'b', 'c/ü 3']);
    },
    'sync a folder up': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 's3cmd-up');
      await s3cmd('sync', `${folder}/`, `s3://${b}/to/`);
      expect(await s3cmd('sync', `${folder}/`, `s3://${b}/to/`)).not.toContain('upload:');
      await writeFile(join(folder, 'changed'), 'longer than before');
      await rm(join(folder, 'gone'));
      const told = await s3cmd('sync', '--delete-removed', `${folder}/`, `s3://${b}/to/`);
      expect(told.match(/^(upload|delete):/gm)?.toSorted()).toEqual(['delete:', 'upload:']);
      expect(await keys(b)).toEqual(['to/changed', 'to/sub/ü +']);
    },
    'sync a folder down': async () => {
      const b = await bucket();
      const folder = await syncFolder(files, 's3cmd-down');
      await s3cmd('sync', `${folder}/`, `s3://${b}/`);
      await s3cmd('sync', `s3://${b}/`, `${folder}-back/`);
      for (const path of ['changed', 'gone', 'sub/ü +']) await sameFile(join(folder, path), join(`${folder}-back`, path));
    },
  };
  return { ...buckets, ...objects, ...more };
}
