// The AWS SDK for JavaScript, unmodified: its cells of the matrix of S3.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AbortMultipartUploadCommand, CompleteMultipartUploadCommand, CopyObjectCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand,
  DeleteBucketCorsCommand, DeleteBucketLifecycleCommand, DeleteBucketPolicyCommand, DeleteBucketTaggingCommand, DeleteObjectCommand, DeleteObjectsCommand,
  DeleteObjectTaggingCommand, GetBucketAclCommand, GetBucketCorsCommand, GetBucketLifecycleConfigurationCommand, GetBucketLocationCommand,
  GetBucketPolicyCommand, GetBucketTaggingCommand, GetBucketVersioningCommand, GetObjectAclCommand, GetObjectCommand, GetObjectTaggingCommand,
  HeadBucketCommand, HeadObjectCommand, ListBucketsCommand, ListMultipartUploadsCommand, ListObjectsCommand, ListObjectsV2Command,
  ListObjectVersionsCommand, ListPartsCommand, paginateListObjectsV2, PutBucketAclCommand, PutBucketCorsCommand, PutBucketLifecycleConfigurationCommand,
  PutBucketPolicyCommand, PutBucketTaggingCommand, PutBucketVersioningCommand, PutObjectAclCommand, PutObjectCommand, PutObjectTaggingCommand,
  S3ServiceException, UploadPartCommand, UploadPartCopyCommand, type AccessControlPolicy, type GetObjectCommandInput,
  type ListObjectsCommandOutput, type ListObjectsV2CommandOutput, type PutObjectCommandInput,
} from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import { presigned } from './sdk-presigned.ts';
import {
  bucketNames, foreign, holdsAddress, largeSize, oddKeys, onlyV2, onlyV4, origin, partSize, plain, preflight, readable, region, sdkClient, small, statusOf,
  type Cells, type MatrixWorld,
} from './world.ts';

const digest = (algorithm: string, text: string | Buffer) => createHash(algorithm).update(text).digest('base64');
const keys = (listed: Pick<ListObjectsV2CommandOutput, 'Contents'>) => (listed.Contents ?? []).map(({ Key }) => Key);
const folders = (listed: Pick<ListObjectsV2CommandOutput, 'CommonPrefixes'>) => (listed.CommonPrefixes ?? []).map(({ Prefix }) => Prefix);

/** The code, or of an answer without a body the status, with which it must be refused. */
async function refused(asked: Promise<unknown>): Promise<string> {
  const error = await asked.then(() => undefined, (reason: unknown) => reason);
  if (!(error instanceof S3ServiceException)) throw new Error('it was not refused', { cause: error });
  return ['NotFound', 'UnknownError', 'Unknown', '304'].includes(error.name) ? String(error.$metadata.httpStatusCode) : error.name;
}

export function sdkCells(world: MatrixWorld): Cells {
  const { files, other } = world;
  const s3 = sdkClient(world.port, world.key);
  const theirs = sdkClient(world.port, other);
  const name = bucketNames('sdk');
  const bucket = async () => {
    const Bucket = name();
    await s3.send(new CreateBucketCommand({ Bucket, CreateBucketConfiguration: { LocationConstraint: region as 'EU' } }));
    return Bucket;
  };
  const put = (Bucket: string, Key = 'k', more: Partial<PutObjectCommandInput> = {}) => s3.send(new PutObjectCommand({ Bucket, Key, Body: small, ...more }));
  const read = async (Bucket: string, Key = 'k', more: Partial<GetObjectCommandInput> = {}, who = s3) => {
    const answer = await who.send(new GetObjectCommand({ Bucket, Key, ...more }));
    return { ...answer, content: Buffer.from((await answer.Body?.transformToByteArray()) ?? []) };
  };
  const text = async (...args: Parameters<typeof read>) => (await read(...args)).content.toString();
  const large = () => readFile(join(files, 'large'));
  const part = async (n: number) => (await large()).subarray((n - 1) * partSize, n * partSize);
  const upload = async (Bucket: string, Key: string) => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    return { Bucket, Key, UploadId };
  };
  const withGrant = ({ Owner, Grants = [] }: AccessControlPolicy): AccessControlPolicy => ({
    Owner, Grants: [...Grants, { Grantee: { ID: other.projectId, Type: 'CanonicalUser' }, Permission: 'READ' }],
  });
  const grant = expect.objectContaining({ Grantee: expect.objectContaining({ ID: other.projectId }), Permission: 'READ' });
  const every = ['a/1', 'a/2', 'b', 'c/ü 3', 'd'];
  const tree = async () => {
    const b = await bucket();
    for (const key of every) await put(b, key);
    return b;
  };

  const buckets: Cells = {
    'create a bucket': async () => {
      const b = await bucket();
      expect(await refused(s3.send(new CreateBucketCommand({ Bucket: b })))).toBe('BucketAlreadyOwnedByYou');
      expect((await s3.send(new ListBucketsCommand())).Buckets?.filter(({ Name }) => Name === b)).toHaveLength(1);
    },
    'list buckets': async () => {
      const b = await bucket();
      const names = (await s3.send(new ListBucketsCommand())).Buckets?.map(({ Name }) => Name);
      expect(names).toContain(b);
      expect(names).not.toContain(foreign);
    },
    'head a bucket': async () => {
      await s3.send(new HeadBucketCommand({ Bucket: await bucket() }));
      expect(await refused(s3.send(new HeadBucketCommand({ Bucket: 'absent-of-sdk' })))).toBe('404');
    },
    'delete a bucket': async () => {
      const Bucket = await bucket();
      await put(Bucket);
      expect(await refused(s3.send(new DeleteBucketCommand({ Bucket })))).toBe('BucketNotEmpty');
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }));
      await s3.send(new DeleteBucketCommand({ Bucket }));
      expect(await refused(s3.send(new HeadBucketCommand({ Bucket })))).toBe('404');
    },
    location: async () => {
      expect((await s3.send(new GetBucketLocationCommand({ Bucket: await bucket() }))).LocationConstraint).toBe(region);
    },
    'tags of a bucket': async () => {
      const Bucket = await bucket();
      const TagSet = [{ Key: 'colour', Value: 'blue green' }, { Key: 'ü', Value: '1' }];
      await s3.send(new PutBucketTaggingCommand({ Bucket, Tagging: { TagSet } }));
      expect((await s3.send(new GetBucketTaggingCommand({ Bucket }))).TagSet).toEqual(TagSet);
      await s3.send(new DeleteBucketTaggingCommand({ Bucket }));
      expect(await refused(s3.send(new GetBucketTaggingCommand({ Bucket })))).toBe('NoSuchTagSet');
    },
    'canned ACL of a bucket': async () => {
      const Bucket = await bucket();
      await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'public-read' }));
      expect(await statusOf(world, `/${Bucket}`)).toBe(200);
      await s3.send(new PutBucketAclCommand({ Bucket, ACL: 'private' }));
      expect(await statusOf(world, `/${Bucket}`)).toBe(403);
    },
    'grants of a bucket': async () => {
      const Bucket = await bucket();
      expect(await refused(theirs.send(new ListObjectsV2Command({ Bucket })))).toBe('AccessDenied');
      await s3.send(new PutBucketAclCommand({ Bucket, AccessControlPolicy: withGrant(await s3.send(new GetBucketAclCommand({ Bucket }))) }));
      expect((await theirs.send(new ListObjectsV2Command({ Bucket }))).KeyCount).toBe(0);
      expect((await s3.send(new GetBucketAclCommand({ Bucket }))).Grants).toContainEqual(grant);
    },
    'bucket policy': async () => {
      const Bucket = await bucket();
      await put(Bucket);
      await s3.send(new PutBucketPolicyCommand({ Bucket, Policy: readable(Bucket) }));
      expect(await statusOf(world, `/${Bucket}/k`)).toBe(200);
      expect((await s3.send(new GetBucketPolicyCommand({ Bucket }))).Policy).toBe(readable(Bucket));
      await s3.send(new DeleteBucketPolicyCommand({ Bucket }));
      expect(await statusOf(world, `/${Bucket}/k`)).toBe(403);
      expect(await refused(s3.send(new GetBucketPolicyCommand({ Bucket })))).toBe('NoSuchBucketPolicy');
    },
    CORS: async () => {
      const Bucket = await bucket();
      const CORSRules = [{ AllowedHeaders: ['*'], AllowedMethods: ['GET'], AllowedOrigins: [origin], ExposeHeaders: ['ETag'], MaxAgeSeconds: 5 }];
      expect(await preflight(world, Bucket)).toBe(403);
      await s3.send(new PutBucketCorsCommand({ Bucket, CORSConfiguration: { CORSRules } }));
      expect(await preflight(world, Bucket)).toBe(200);
      expect((await s3.send(new GetBucketCorsCommand({ Bucket }))).CORSRules).toEqual(CORSRules);
      await s3.send(new DeleteBucketCorsCommand({ Bucket }));
      expect(await preflight(world, Bucket)).toBe(403);
    },
    lifecycle: async () => {
      const Bucket = await bucket();
      const Rules = [{ ID: 'old', Status: 'Enabled' as const, Filter: { Prefix: 'logs/' }, Expiration: { Days: 3 } }];
      await s3.send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules } }));
      expect((await s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }))).Rules).toEqual(Rules);
      await s3.send(new DeleteBucketLifecycleCommand({ Bucket }));
      expect(await refused(s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket })))).toBe('NoSuchLifecycleConfiguration');
    },
    versioning: async () => {
      const Bucket = await bucket();
      expect((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status).toBeUndefined();
      for (const Status of ['Enabled', 'Suspended'] as const) {
        await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status } }));
        expect((await s3.send(new GetBucketVersioningCommand({ Bucket }))).Status).toBe(Status);
      }
    },
  };

  const objects: Cells = {
    'put and get': async () => {
      const b = await bucket();
      for (const what of ['empty', 'small', 'medium']) {
        const Body = await readFile(join(files, what));
        expect((await put(b, 'k', { Body })).ETag).toBe(`"${createHash('md5').update(Body).digest('hex')}"`);
        expect((await read(b)).content.equals(Body)).toBe(true);
      }
    },
    'odd keys': async () => {
      const Bucket = await bucket();
      for (const key of oddKeys) await put(Bucket, key, { Body: key });
      expect(keys(await s3.send(new ListObjectsV2Command({ Bucket }))).toSorted()).toEqual(oddKeys.toSorted());
      for (const key of oddKeys) expect(await text(Bucket, key)).toBe(key);
    },
    'head an object': async () => {
      const Bucket = await bucket();
      await put(Bucket, 'k', { ContentType: 'text/x-spec' });
      expect(await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))).toMatchObject({
        ContentLength: small.length, ContentType: 'text/x-spec', ETag: `"${createHash('md5').update(small).digest('hex')}"`,
      });
      expect(await refused(s3.send(new HeadObjectCommand({ Bucket, Key: 'absent' })))).toBe('404');
    },
    'delete an object': async () => {
      const Bucket = await bucket();
      for (const key of ['k', 'l']) await put(Bucket, key);
      for (const Key of ['k', 'k']) await s3.send(new DeleteObjectCommand({ Bucket, Key }));
      expect(keys(await s3.send(new ListObjectsV2Command({ Bucket })))).toEqual(['l']);
    },
    'delete many': async () => {
      const Bucket = await bucket();
      const gone = ['k', 'l & <m>', 'ü'];
      for (const key of [...gone, 'stays']) await put(Bucket, key);
      const done = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects: gone.map((Key) => ({ Key })) } }));
      expect(done.Deleted?.map(({ Key }) => Key)).toEqual(gone);
      expect(keys(await s3.send(new ListObjectsV2Command({ Bucket })))).toEqual(['stays']);
    },
    copy: async () => {
      const Bucket = await bucket();
      await put(Bucket, 'ü &', { ContentType: 'text/x-spec', Metadata: { colour: 'blue' } });
      await s3.send(new CopyObjectCommand({ Bucket, Key: 'copied', CopySource: `${Bucket}/${encodeURIComponent('ü &')}` }));
      const found = await read(Bucket, 'copied');
      expect([found.content.toString(), found.ContentType, found.Metadata]).toEqual([small, 'text/x-spec', { colour: 'blue' }]);
    },
    'copy with other metadata': async () => {
      const Bucket = await bucket();
      await put(Bucket, 'k', { Metadata: { colour: 'blue' } });
      const replace = { MetadataDirective: 'REPLACE', Metadata: { shape: 'round' }, ContentType: 'text/x-other' } as const;
      await s3.send(new CopyObjectCommand({ Bucket, Key: 'copied', CopySource: `${Bucket}/k`, ...replace }));
      const found = await read(Bucket, 'copied');
      expect([found.content.toString(), found.ContentType, found.Metadata]).toEqual([small, 'text/x-other', { shape: 'round' }]);
    },
    ranges: async () => {
      const b = await bucket();
      await put(b);
      const middle = await read(b, 'k', { Range: 'bytes=2-6' });
      expect([middle.content.toString(), middle.ContentRange]).toEqual(['small', `bytes 2-6/${small.length}`]);
      expect(await text(b, 'k', { Range: 'bytes=-5' })).toBe(small.slice(-5));
      expect(await refused(read(b, 'k', { Range: 'bytes=99-' }))).toBe('InvalidRange');
    },
    'conditional requests': async () => {
      const b = await bucket();
      const etag = (await put(b)).ETag ?? '';
      const [past, future] = [new Date(Date.now() - 3_600_000), new Date(Date.now() + 3_600_000)];
      for (const asked of [{ IfMatch: etag }, { IfNoneMatch: '"other"' }, { IfModifiedSince: past }, { IfUnmodifiedSince: future }]) {
        expect(await text(b, 'k', asked)).toBe(small);
      }
      expect(await refused(read(b, 'k', { IfNoneMatch: etag }))).toBe('304');
      for (const asked of [{ IfMatch: '"other"' }, { IfUnmodifiedSince: past }]) expect(await refused(read(b, 'k', asked))).toBe('PreconditionFailed');
      expect(await refused(put(b, 'k', { IfNoneMatch: '*' }))).toBe('PreconditionFailed');
      await put(b, 'k', { IfMatch: etag });
    },
    'tags of an object': async () => {
      const Bucket = await bucket();
      const of = { Bucket, Key: 'k' };
      const TagSet = [{ Key: 'a', Value: '1' }, { Key: 'ü', Value: 'x y' }];
      await put(Bucket, 'k', { Tagging: 'a=1' });
      expect((await s3.send(new GetObjectTaggingCommand(of))).TagSet).toEqual(TagSet.slice(0, 1));
      await s3.send(new PutObjectTaggingCommand({ ...of, Tagging: { TagSet } }));
      expect((await s3.send(new GetObjectTaggingCommand(of))).TagSet).toEqual(TagSet);
      await s3.send(new DeleteObjectTaggingCommand(of));
      expect((await s3.send(new GetObjectTaggingCommand(of))).TagSet).toEqual([]);
    },
    'canned ACL of an object': async () => {
      const Bucket = await bucket();
      await put(Bucket, 'k', { ACL: 'public-read' });
      expect(await statusOf(world, `/${Bucket}/k`)).toBe(200);
      await s3.send(new PutObjectAclCommand({ Bucket, Key: 'k', ACL: 'private' }));
      expect(await statusOf(world, `/${Bucket}/k`)).toBe(403);
    },
    'grants of an object': async () => {
      const of = { Bucket: await bucket(), Key: 'k' };
      await put(of.Bucket);
      expect(await refused(theirs.send(new GetObjectCommand(of)))).toBe('AccessDenied');
      await s3.send(new PutObjectAclCommand({ ...of, AccessControlPolicy: withGrant(await s3.send(new GetObjectAclCommand(of))) }));
      expect(await text(of.Bucket, 'k', {}, theirs)).toBe(small);
      expect((await s3.send(new GetObjectAclCommand(of))).Grants).toContainEqual(grant);
    },
    versions: async () => {
      const Bucket = await bucket();
      await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: 'Enabled' } }));
      const first = (await put(Bucket)).VersionId ?? '';
      const second = (await put(Bucket, 'k', { Body: 'two' })).VersionId;
      const marker = (await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }))).VersionId;
      expect(await refused(read(Bucket))).toBe('NoSuchKey');
      expect(await s3.send(new ListObjectVersionsCommand({ Bucket }))).toMatchObject({
        Versions: [{ VersionId: second }, { VersionId: first }], DeleteMarkers: [{ VersionId: marker, IsLatest: true }],
      });
      expect(await text(Bucket, 'k', { VersionId: first })).toBe(small);
      await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: marker }));
      expect(await text(Bucket)).toBe('two');
    },
    'Content-MD5': async () => {
      const b = await bucket();
      await put(b, 'k', { ContentMD5: digest('md5', small) });
      expect(await refused(put(b, 'l', { ContentMD5: digest('md5', 'other') }))).toBe('BadDigest');
    },
    'checksums in headers': async () => {
      const b = await bucket();
      for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
        const field = `Checksum${ChecksumAlgorithm}` as const;
        const sent = (await put(b, 'k', { ChecksumAlgorithm }))[field];
        const found = await read(b, 'k', { ChecksumMode: 'ENABLED' });
        expect([found.content.toString(), found[field]]).toEqual([small, sent]);
        expect(sent).toMatch(/^[A-Za-z0-9+/]+=*$/);
        expect(await refused(put(b, 'l', { Body: 'other', [field]: sent }))).toBe('BadDigest');
      }
    },
    'checksums in trailers': async () => {
      const b = await bucket();
      for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
        await put(b, 'k', { Body: createReadStream(join(files, 'medium')), ContentLength: 3 << 20, ChecksumAlgorithm });
        const found = await read(b, 'k', { ChecksumMode: 'ENABLED' }); // the SDK holds the content against it
        expect([found.content.equals(await readFile(join(files, 'medium'))), found.ContentEncoding]).toEqual([true, undefined]);
        expect(found[`Checksum${ChecksumAlgorithm}`]).toMatch(/^[A-Za-z0-9+/]+=*$/);
      }
    },
    'metadata and content headers': async () => {
      const Bucket = await bucket();
      const given = {
        ContentType: 'text/x-spec; charset=utf-8', ContentEncoding: 'x-spec', ContentLanguage: 'de', CacheControl: 'max-age=5',
        ContentDisposition: 'attachment; filename="f"', Metadata: { colour: 'blue  &  green' },
      };
      await put(Bucket, 'k', given);
      expect(await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }))).toMatchObject(given);
    },
    'response-* overrides': async () => {
      const b = await bucket();
      await put(b);
      const asked = { ResponseContentType: 'text/x-other', ResponseCacheControl: 'no-store', ResponseContentDisposition: 'attachment' };
      expect(await read(b, 'k', asked)).toMatchObject({ ContentType: 'text/x-other', CacheControl: 'no-store', ContentDisposition: 'attachment' });
    },
    'public static GET': async () => {
      const b = await bucket();
      await put(b, 'page.html', { ACL: 'public-read', ContentType: 'text/html' });
      const answer = await plain(world, `/${b}/page.html`);
      expect([answer.status, answer.headers.get('content-type'), await answer.text()]).toEqual([200, 'text/html', small]);
    },
  };

  const more: Cells = {
    'multipart upload': async () => {
      const of = await upload(await bucket(), 'k');
      const Parts = await Promise.all([1, 2, 3].map(async (PartNumber) => {
        const { ETag, ChecksumCRC32 } = await s3.send(new UploadPartCommand({ ...of, PartNumber, Body: await part(PartNumber), ChecksumAlgorithm: 'CRC32' }));
        return { PartNumber, ETag, ChecksumCRC32 };
      }));
      expect((await s3.send(new CompleteMultipartUploadCommand({ ...of, MultipartUpload: { Parts } }))).ETag).toMatch(/-3"$/);
      expect((await read(of.Bucket)).content.equals(await large())).toBe(true);
    },
    'list uploads': async () => {
      const { Bucket, Key, UploadId } = await upload(await bucket(), 'ü k');
      expect((await s3.send(new ListMultipartUploadsCommand({ Bucket }))).Uploads).toMatchObject([{ Key, UploadId }]);
    },
    'list parts': async () => {
      const of = await upload(await bucket(), 'k');
      for (const PartNumber of [1, 2]) await s3.send(new UploadPartCommand({ ...of, PartNumber, Body: await part(PartNumber) }));
      expect((await s3.send(new ListPartsCommand(of))).Parts).toMatchObject([{ PartNumber: 1, Size: partSize }, { PartNumber: 2, Size: partSize }]);
    },
    'abort an upload': async () => {
      const of = await upload(await bucket(), 'k');
      await s3.send(new UploadPartCommand({ ...of, PartNumber: 1, Body: small }));
      await s3.send(new AbortMultipartUploadCommand(of));
      expect((await s3.send(new ListMultipartUploadsCommand({ Bucket: of.Bucket }))).Uploads ?? []).toEqual([]);
    },
    'copy a part': async () => {
      const b = await bucket();
      await put(b, 'ü k', { Body: await large() });
      const of = await upload(b, 'copied');
      const Parts: { PartNumber: number; ETag: string | undefined }[] = [];
      for (const [index, range] of [`0-${partSize - 1}`, `${partSize}-${largeSize - 1}`].entries()) {
        const source = { CopySource: `${b}/${encodeURIComponent('ü k')}`, CopySourceRange: `bytes=${range}` };
        const { CopyPartResult } = await s3.send(new UploadPartCopyCommand({ ...of, PartNumber: index + 1, ...source }));
        Parts.push({ PartNumber: index + 1, ETag: CopyPartResult?.ETag });
      }
      await s3.send(new CompleteMultipartUploadCommand({ ...of, MultipartUpload: { Parts } }));
      expect((await read(b, 'copied')).content.equals(await large())).toBe(true);
    },
    'signature 4': async () => {
      await put(onlyV4, 'by sdk');
      expect(await text(onlyV4, 'by sdk')).toBe(small);
      expect(await refused(put(onlyV2))).toBe('AccessDenied');
    },
    'address signed by version 4': async () => {
      const b = await bucket();
      await put(b, 'ü k');
      await holdsAddress(world, await presigned(s3, world.port, new GetObjectCommand({ Bucket: b, Key: 'ü k' })));
    },
    refusals: async () => {
      const wrong = sdkClient(world.port, { ...world.key, secretAccessKey: 'wrong' });
      expect(await refused(wrong.send(new ListBucketsCommand()))).toBe('SignatureDoesNotMatch');
      expect(await refused(s3.send(new ListObjectsV2Command({ Bucket: foreign })))).toBe('AccessDenied');
      expect(await refused(read(await bucket(), 'absent'))).toBe('NoSuchKey');
    },
    'list, version 1': async () => {
      const Bucket = await tree();
      const top = await s3.send(new ListObjectsCommand({ Bucket, Delimiter: '/' }));
      expect([keys(top), folders(top)]).toEqual([['b', 'd'], ['a/', 'c/']]);
      const pages: (string | undefined)[][] = [];
      for (let Marker: string | undefined = ''; Marker !== undefined;) {
        const page: ListObjectsCommandOutput = await s3.send(new ListObjectsCommand({ Bucket, MaxKeys: 2, Marker }));
        pages.push(keys(page));
        Marker = page.IsTruncated === true ? keys(page).at(-1) : undefined;
      }
      expect(pages).toEqual([['a/1', 'a/2'], ['b', 'c/ü 3'], ['d']]);
    },
    'list, version 2': async () => {
      const Bucket = await tree();
      const top = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/' }));
      expect([keys(top), folders(top)]).toEqual([['b', 'd'], ['a/', 'c/']]);
      const pages: (string | undefined)[][] = [];
      for await (const page of paginateListObjectsV2({ client: s3, pageSize: 2 }, { Bucket })) pages.push(keys(page));
      expect(pages).toEqual([['a/1', 'a/2'], ['b', 'c/ü 3'], ['d']]);
      const later = await s3.send(new ListObjectsV2Command({ Bucket, StartAfter: 'a/2', FetchOwner: true }));
      expect([keys(later), later.Contents?.[0]?.Owner?.ID]).toEqual([['b', 'c/ü 3', 'd'], world.key.projectId]);
    },
    'encoding-type': async () => {
      const Bucket = await tree();
      expect(keys(await s3.send(new ListObjectsV2Command({ Bucket, Prefix: 'c/', EncodingType: 'url' })))).toEqual(['c/%C3%BC%203']);
      expect(folders(await s3.send(new ListObjectsCommand({ Bucket, Prefix: 'c/ü', Delimiter: ' ', EncodingType: 'url' })))).toEqual(['c/%C3%BC%20']);
    },
  };
  return { ...buckets, ...objects, ...more };
}
