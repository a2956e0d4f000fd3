// Debian's own S3 clients, unmodified, against the S3 server with real signatures, files and database.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CompleteMultipartUploadCommand, CreateBucketCommand, CreateMultipartUploadCommand, DeleteBucketCommand, DeleteObjectsCommand, GetObjectCommand,
  HeadObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client, UploadPartCommand,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createS3Server, type S3Server } from '../../src/api/s3/server.ts';
import { authenticateS3 } from '../../src/auth/authenticate.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { createLog, silentLog } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newSealer } from '../support/new-sealer.ts';
import { amplyS3 } from '../support/s3-server.ts';

const run = createRun({ log: silentLog });
let folder: string;
let database: TestDatabase;
let server: S3Server;
let port: number;
let key: { accessKeyId: string; secretAccessKey: string };
let otherKey: { accessKeyId: string; secretAccessKey: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3-clients-'));
  database = await createTestDatabase();
  const auth = new AuthManager({ driver: authDrivers.db({ db: database.db, clock: systemClock }), sealer: newSealer() });
  await auth.createUser({ name: 'ann' });
  for (const name of ['ann', 'bob']) await auth.createProject({ name, manager: 'ann' });
  key = await auth.createAccessKey({ user: 'ann', project: 'ann' });
  otherKey = await auth.createAccessKey({ user: 'ann', project: 'bob' });
  server = createS3Server({
    db: database.db, store: await openFilesystemStore({ folder: join(folder, 'store'), sealer: newSealer() }), clock: systemClock, region: 'nova',
    quotas: amplyS3, log: process.env['SPEC_LOG'] === undefined ? silentLog : createLog({ level: 'debug' }),
    authenticate: (request) => authenticateS3(request, { auth, clock: systemClock }), authority: auth,
  });
  port = await server.listen('127.0.0.1', 0);
  await writeFile(join(folder, 'small'), 'a small file\n');
  await writeFile(join(folder, 'large'), randomBytes(20 * 1024 * 1024 + 17));
});
afterAll(async () => {
  await server.close({ graceMs: 100 });
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

const file = (name: string) => join(folder, name);
const sha = async (name: string) => createHash('sha256').update(await readFile(file(name))).digest('hex');

async function sameFiles(one: string, other: string): Promise<void> {
  expect(await sha(other)).toBe(await sha(one));
}

describe.each([['4', 'False'], ['2', 'True']])('s3cmd with signature version %s', (version, signatureV2) => {
  const bucket = `s3cmd-v${version}`;
  const s3cmd = async (args: readonly string[], who = key) => {
    const config = file(`s3cfg-${version}-${who.accessKeyId}`);
    await writeFile(config, [
      '[default]', `access_key = ${who.accessKeyId}`, `secret_key = ${who.secretAccessKey}`, `host_base = 127.0.0.1:${port}`, `host_bucket = 127.0.0.1:${port}`,
      'use_https = False', `signature_v2 = ${signatureV2}`, 'bucket_location = nova',
    ].join('\n'));
    const done = await run('s3cmd', ['--config', config, '--no-progress', ...args], { timeoutMs: 120_000, okCodes: [0, 11, 12, 13, 64, 77], cwd: folder });
    return { ...done, all: done.stdout + done.stderr };
  };

  it('makes a bucket, puts, lists, gets, copies and deletes', async () => {
    expect((await s3cmd(['mb', `s3://${bucket}`])).code).toBe(0);
    expect((await s3cmd(['put', file('small'), `s3://${bucket}/dir/small`])).code).toBe(0);
    expect((await s3cmd(['put', '--multipart-chunk-size-mb=5', file('large'), `s3://${bucket}/large`])).code).toBe(0);
    expect((await s3cmd(['ls'])).stdout).toContain(`s3://${bucket}`);
    const listed = (await s3cmd(['ls', `s3://${bucket}`])).stdout;
    expect(listed).toContain(`DIR  s3://${bucket}/dir/`);
    expect(listed).toMatch(/20971537 +s3:\/\/.*\/large/);
    expect((await s3cmd(['get', '--force', `s3://${bucket}/large`, file(`got-${version}`)])).code).toBe(0);
    await sameFiles('large', `got-${version}`);
    expect((await s3cmd(['cp', `s3://${bucket}/large`, `s3://${bucket}/copy`])).code).toBe(0);
    expect((await s3cmd(['get', '--force', `s3://${bucket}/copy`, file(`got-${version}`)])).code).toBe(0);
    await sameFiles('large', `got-${version}`);
    expect((await s3cmd(['mv', `s3://${bucket}/copy`, `s3://${bucket}/moved`])).code).toBe(0);
    expect((await s3cmd(['info', `s3://${bucket}/moved`])).stdout).toContain('File size: 20971537');
    expect((await s3cmd(['info', `s3://${bucket}`])).stdout).toContain('Location:  nova');
  });

  it('keeps odd keys', async () => {
    for (const name of ['ü +&.txt', 'a//b', '../x', 'tail/']) {
      const put = await s3cmd(['put', file('small'), `s3://${bucket}/odd/${name}${name.endsWith('/') ? 'x' : ''}`]);
      expect([put.code, put.all]).toEqual([0, expect.any(String)]);
      expect((await s3cmd(['ls', '--recursive', `s3://${bucket}/odd/`])).stdout).toContain(`/odd/${name}`);
    }
  });

  it('opens and closes an object by ACL', async () => {
    expect((await s3cmd(['setacl', '--acl-public', `s3://${bucket}/large`])).code).toBe(0);
    const anonymous = await fetch(`http://127.0.0.1:${port}/${bucket}/large`, { method: 'HEAD' });
    expect(anonymous.status).toBe(200);
    expect((await s3cmd(['setacl', '--acl-private', `s3://${bucket}/large`])).code).toBe(0);
    expect((await fetch(`http://127.0.0.1:${port}/${bucket}/large`, { method: 'HEAD' })).status).toBe(403);
  });

  it('reports what another project may not do, and a wrong secret', async () => {
    const denied = await s3cmd(['ls', `s3://${bucket}`], otherKey);
    expect([denied.code, denied.all]).toEqual([77, expect.stringContaining('AccessDenied')]);
    const wrong = await s3cmd(['ls'], { ...key, secretAccessKey: 'wrong' });
    expect([wrong.code, wrong.all]).toEqual([77, expect.stringContaining('SignatureDoesNotMatch')]);
  });

  it('empties and removes the bucket', async () => {
    expect((await s3cmd(['rb', `s3://${bucket}`])).all).toContain('BucketNotEmpty');
    expect((await s3cmd(['del', '--recursive', '--force', `s3://${bucket}`])).code).toBe(0);
    expect((await s3cmd(['rb', `s3://${bucket}`])).code).toBe(0);
    expect((await s3cmd(['ls', `s3://${bucket}`])).all).toContain('NoSuchBucket');
  });
});

const aws = async (args: readonly string[], okCodes: readonly number[] = [0]) => {
  const env = {
    AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_DEFAULT_REGION: 'nova', HOME: folder, AWS_EC2_METADATA_DISABLED: 'true',
  };
  return run('/usr/bin/aws', ['--endpoint-url', `http://127.0.0.1:${port}`, ...args], { timeoutMs: 120_000, env, okCodes, cwd: folder });
};

describe('awscli', () => {
  it('goes through the life of a bucket', async () => {
    await aws(['s3', 'mb', 's3://awscli']);
    await aws(['s3', 'cp', '--no-progress', file('large'), 's3://awscli/dir/large']);
    await aws(['s3', 'cp', '--no-progress', file('small'), 's3://awscli/ü + %2F&.txt']);
    await aws(['s3', 'cp', '--no-progress', 's3://awscli/dir/large', file('aws-got')]);
    await sameFiles('large', 'aws-got');
    await aws(['s3', 'cp', '--no-progress', 's3://awscli/ü + %2F&.txt', file('aws-got')]);
    await sameFiles('small', 'aws-got');
    await aws(['s3', 'cp', '--no-progress', 's3://awscli/dir/large', 's3://awscli/copied']); // by UploadPartCopy
    await aws(['s3', 'cp', '--no-progress', 's3://awscli/copied', file('aws-got')]);
    await sameFiles('large', 'aws-got');
    expect((await aws(['s3', 'ls', 's3://awscli'])).stdout).toMatch(/PRE dir\/\n.*20971537 copied\n.*ü \+ %2F&\.txt/);
    expect((await aws(['s3', 'ls', '--recursive', 's3://awscli/'])).stdout).toContain('dir/large');
    expect((await aws(['s3', 'rb', 's3://awscli'], [1])).stderr).toContain('BucketNotEmpty');
    await aws(['s3', 'rb', '--force', 's3://awscli']);
    expect((await aws(['s3', 'ls'])).stdout).not.toContain('awscli');
  });

  it('uses the plain operations', async () => {
    await aws(['s3api', 'create-bucket', '--bucket', 's3api', '--create-bucket-configuration', 'LocationConstraint=nova']);
    await aws(['s3api', 'put-object', '--bucket', 's3api', '--key', 'k', '--body', file('small'), '--checksum-algorithm', 'CRC32', '--metadata', 'a=1']);
    const got = await aws(['s3api', 'get-object', '--bucket', 's3api', '--key', 'k', '--checksum-mode', 'ENABLED', '--range', 'bytes=2-6', file('part')]);
    expect(JSON.parse(got.stdout)).toMatchObject({ ContentRange: 'bytes 2-6/13', Metadata: { a: '1' } });
    expect(await readFile(file('part'), 'utf8')).toBe('small');
    const head = await aws(['s3api', 'head-object', '--bucket', 's3api', '--key', 'k', '--checksum-mode', 'ENABLED']);
    expect(JSON.parse(head.stdout)).toHaveProperty('ChecksumCRC32');
    expect((await aws(['s3api', 'get-bucket-policy', '--bucket', 's3api'], [254])).stderr).toContain('NoSuchBucketPolicy');
    const website = await aws(['s3', 'website', 's3://s3api', '--index-document', 'index.html'], [254]);
    expect(website.stderr).toContain('NotImplemented');
    const url = (await aws(['s3', 'presign', 's3://s3api/k'])).stdout.trim();
    expect(await (await fetch(url)).text()).toBe('a small file\n');
    expect((await fetch(url.replace(/.$/, (last) => (last === '0' ? '1' : '0')))).status).toBe(403);
    await aws(['s3', 'rb', '--force', 's3://s3api']);
  });
});

/** A reader's leave for everybody, as a document for policies. */
const readable = (bucket: string) => JSON.stringify({
  Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${bucket}/*` }],
});
const anonymous = async (path: string) => (await fetch(`http://127.0.0.1:${port}/${path}`)).status;

describe('what is set on buckets and objects', () => {
  it('by awscli: versions, tags, a policy and rules', async () => {
    const Bucket = 'aws-set';
    const api = async (operation: string, ...args: readonly string[]): Promise<Record<string, unknown>> => {
      const { stdout } = await aws(['s3api', operation, '--bucket', Bucket, ...args]);
      return stdout === '' ? {} : (JSON.parse(stdout) as Record<string, unknown>);
    };
    await api('create-bucket', '--create-bucket-configuration', 'LocationConstraint=nova');
    await api('put-bucket-versioning', '--versioning-configuration', 'Status=Enabled');
    const first = await api('put-object', '--key', 'k', '--body', file('small'), '--tagging', 'a=1');
    await api('put-object', '--key', 'k', '--body', file('large'));
    expect(await api('delete-object', '--key', 'k')).toMatchObject({ DeleteMarker: true });
    expect(await api('list-object-versions')).toMatchObject({
      Versions: [{ Key: 'k' }, { VersionId: first['VersionId'] }], DeleteMarkers: [{ IsLatest: true }] });
    const old = ['--key', 'k', '--version-id', String(first['VersionId'])];
    expect(await api('get-object-tagging', ...old)).toMatchObject({ TagSet: [{ Key: 'a', Value: '1' }] });
    await api('put-bucket-policy', '--policy', readable(Bucket));
    await api('copy-object', '--key', 'open', '--copy-source', `${Bucket}/k?versionId=${String(first['VersionId'])}`);
    expect(await anonymous(`${Bucket}/open`)).toBe(200);
    const cors = { CORSRules: [{ AllowedMethods: ['GET'], AllowedOrigins: ['*'], MaxAgeSeconds: 5 }] };
    await api('put-bucket-cors', '--cors-configuration', JSON.stringify(cors));
    expect(await api('get-bucket-cors')).toEqual(cors);
    const rules = { Rules: [{ ID: 'r', Status: 'Enabled', Filter: { Prefix: 'x/' }, Expiration: { Days: 3 } }] };
    await api('put-bucket-lifecycle-configuration', '--lifecycle-configuration', JSON.stringify(rules));
    expect(await api('get-bucket-lifecycle-configuration')).toMatchObject(rules);
  });

  it('by s3cmd: a policy, rules for browsers, and days to live', async () => {
    const s3cmd = (...args: readonly string[]) => run('s3cmd', [
      `--access_key=${key.accessKeyId}`, `--secret_key=${key.secretAccessKey}`, `--host=127.0.0.1:${port}`, `--host-bucket=127.0.0.1:${port}`, '--no-ssl',
      '--no-progress', '--region=nova', ...args], { timeoutMs: 120_000, cwd: folder, env: { HOME: folder } });
    await s3cmd('mb', 's3://s3cmd-set');
    await s3cmd('put', file('small'), 's3://s3cmd-set/k');
    await writeFile(file('policy'), readable('s3cmd-set'));
    await s3cmd('setpolicy', file('policy'), 's3://s3cmd-set');
    expect(await anonymous('s3cmd-set/k')).toBe(200);
    await s3cmd('delpolicy', 's3://s3cmd-set');
    expect(await anonymous('s3cmd-set/k')).toBe(403);
    const cors = '<CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>';
    await writeFile(file('cors'), `<CORSConfiguration>${cors}</CORSConfiguration>`);
    await s3cmd('setcors', file('cors'), 's3://s3cmd-set');
    await s3cmd('expire', '--expiry-days=3', '--expiry-prefix=old/', 's3://s3cmd-set');
    expect((await s3cmd('getlifecycle', 's3://s3cmd-set')).stdout).toContain('<Days>3</Days>');
    expect((await s3cmd('info', 's3://s3cmd-set')).stdout).toMatch(/Expiration Rule: .*expire[\s\S]*CORS: [\s\S]*<AllowedOrigin>\*/);
    await s3cmd('delcors', 's3://s3cmd-set');
    await s3cmd('dellifecycle', 's3://s3cmd-set');
  });

  it('by boto 2 and boto3: versions, tags, grants, and a form for somebody else', async () => {
    const done = await python(`
import os, json, subprocess, boto, boto.s3.connection as c, boto3, botocore
old = boto.connect_s3(os.environ['KEY'], os.environ['SECRET'], host='127.0.0.1', port=int(os.environ['PORT']), is_secure=False,
  calling_format=c.OrdinaryCallingFormat())
b = old.create_bucket('boto-set')
b.configure_versioning(True)
assert b.get_versioning_status()['Versioning'] == 'Enabled'
k = b.new_key('k')
k.set_contents_from_string('one'); first = k.version_id
k.set_contents_from_string('two')
assert b.get_key('k', version_id=first).get_contents_as_string() == b'one'
b.delete_key('k')
assert b.get_key('k') is None
assert len(list(b.list_versions())) == 3
b.delete_key('k', version_id=next(v for v in b.list_versions() if isinstance(v, boto.s3.deletemarker.DeleteMarker)).version_id)
assert b.get_key('k').get_contents_as_string() == b'two'
b.set_policy('''${readable('boto-set')}''')
assert 'GetObject' in b.get_policy().decode()
assert [g.permission for g in b.get_acl().acl.grants] == ['FULL_CONTROL']

s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:' + os.environ['PORT'], aws_access_key_id=os.environ['KEY'],
  aws_secret_access_key=os.environ['SECRET'], region_name='nova')
s3.put_bucket_tagging(Bucket='boto-set', Tagging={'TagSet': [{'Key': 'a', 'Value': '1'}]})
assert s3.get_bucket_tagging(Bucket='boto-set')['TagSet'] == [{'Key': 'a', 'Value': '1'}]
s3.put_object(Bucket='boto-set', Key='tagged', Body=b'x', Tagging='a=1&b=2')
assert s3.head_object(Bucket='boto-set', Key='tagged')['ResponseMetadata']['HTTPHeaders'].get('x-amz-tagging-count') in (None, '2')
assert len(s3.get_object_tagging(Bucket='boto-set', Key='tagged')['TagSet']) == 2
s3.put_object_acl(Bucket='boto-set', Key='tagged', GrantRead='uri=http://acs.amazonaws.com/groups/global/AllUsers')
assert [g['Permission'] for g in s3.get_object_acl(Bucket='boto-set', Key='tagged')['Grants']] == ['READ']
assert s3.get_object_attributes(Bucket='boto-set', Key='tagged', ObjectAttributes=['ObjectSize'])['ObjectSize'] == 1
assert s3.get_bucket_policy_status(Bucket='boto-set')['PolicyStatus']['IsPublic']
for signature in ['s3v4', 's3']:
    signer = boto3.client('s3', endpoint_url='http://127.0.0.1:' + os.environ['PORT'], aws_access_key_id=os.environ['KEY'],
      aws_secret_access_key=os.environ['SECRET'], region_name='nova', config=botocore.config.Config(signature_version=signature))
    form = signer.generate_presigned_post('boto-set', 'up/\${filename}', Conditions=[['content-length-range', 1, 100]])
    args = [x for k, v in form['fields'].items() for x in ['-F', k + '=' + v]]
    done = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', *args, '-F', 'file=@small', form['url']], capture_output=True, text=True)
    assert done.stdout == '204', (signature, done)
    assert s3.get_object(Bucket='boto-set', Key='up/small')['Body'].read() == open('small', 'rb').read()
    args = [x if not x.startswith('key=') else 'key=other' for x in args]
    done = subprocess.run(['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', *args, '-F', 'file=@small', form['url']], capture_output=True, text=True)
    assert done.stdout == '403', (signature, done)
print('done')
`);
    expect(done.stdout).toBe('done\n');
    expect(await anonymous('boto-set/k')).toBe(200);
  });
});

const python = (program: string) => run('/usr/bin/python3', ['-c', program], {
  timeoutMs: 120_000, cwd: folder,
  env: { KEY: key.accessKeyId, SECRET: key.secretAccessKey, PORT: String(port), HOME: folder, AWS_EC2_METADATA_DISABLED: 'true' },
});

describe('boto 2', () => {
  it.each(['', 's3v4'])('goes through the life of a bucket, signature %j', async (signature) => {
    const done = await python(`
import os, boto, boto.s3.connection as c
${signature === '' ? '' : "os.environ['S3_USE_SIGV4'] = 'True'"}
s3 = boto.connect_s3(os.environ['KEY'], os.environ['SECRET'],
  host='127.0.0.1', port=int(os.environ['PORT']), is_secure=False, calling_format=c.OrdinaryCallingFormat())
${signature === '' ? '' : "s3.auth_region_name = 'nova' # boto 2 itself cannot guess a region from an IP address"}
b = s3.create_bucket('boto-two')
k = b.new_key('dir/ü +')
k.set_metadata('a', '1')
k.set_contents_from_string('hello', policy='public-read')
assert b.get_key('dir/ü +').get_contents_as_string() == b'hello'
assert b.get_key('dir/ü +').get_metadata('a') == '1'
assert b.get_key('absent') is None
m = b.initiate_multipart_upload('large')
data = open('large', 'rb').read()
import io
for n, at in enumerate(range(0, len(data), 8 << 20)): m.upload_part_from_file(io.BytesIO(data[at:at + (8 << 20)]), n + 1)
m.complete_upload()
assert b.get_key('large').get_contents_as_string() == data
b.copy_key('copy', 'boto-two', 'dir/ü +')
assert [k.name for k in b.list()] == ['copy', 'dir/ü +', 'large'], [k.name for k in b.list()]
assert [k.name for k in b.list(delimiter='/')] == ['copy', 'large', 'dir/'], [k.name for k in b.list(delimiter='/')]
try:
    s3.get_bucket('absent-bucket'); raise SystemExit('found')
except boto.exception.S3ResponseError as e: assert e.status == 404
assert b.delete_keys(['copy', 'dir/ü +', 'large']).errors == []
b.delete()
print('done')
`);
    expect(done.stdout).toBe('done\n');
  });
});

describe('boto3', () => {
  it('goes through the life of a bucket', async () => {
    const done = await python(`
import os, boto3, botocore
s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:' + os.environ['PORT'],
  aws_access_key_id=os.environ['KEY'], aws_secret_access_key=os.environ['SECRET'], region_name='us-east-1')
s3.create_bucket(Bucket='boto-three')
s3.upload_file('large', 'boto-three', 'large')
s3.download_file('boto-three', 'large', 'boto3-got')
assert open('large', 'rb').read() == open('boto3-got', 'rb').read()
keys = ['../x', 'a//b', 'ü%2F', 'k' * 1024, 'tail/', 'a+b c', 'tab\\tlf\\ncr\\r', '💾']
for k in keys: s3.put_object(Bucket='boto-three', Key=k, Body=k.encode(), ChecksumAlgorithm='SHA256')
for k in keys: assert s3.get_object(Bucket='boto-three', Key=k, ChecksumMode='ENABLED')['Body'].read() == k.encode()
got = [o['Key'] for p in s3.get_paginator('list_objects_v2').paginate(Bucket='boto-three', PaginationConfig={'PageSize': 2}) for o in p['Contents']]
assert got == sorted(keys + ['large'], key=lambda k: k.encode()), got
try:
    s3.put_object(Bucket='boto-three', Key='x', Body=b'x', ContentMD5='1B2M2Y8AsgTpgAmY7PhCfg=='); raise SystemExit('took it')
except botocore.exceptions.ClientError as e: assert e.response['Error']['Code'] == 'BadDigest', e
try:
    s3.head_object(Bucket='boto-three', Key='absent'); raise SystemExit('found')
except botocore.exceptions.ClientError as e: assert e.response['Error']['Code'] == '404', e
assert s3.get_bucket_location(Bucket='boto-three')['LocationConstraint'] == 'nova'
s3.delete_objects(Bucket='boto-three', Delete={'Objects': [{'Key': k} for k in got]})
s3.delete_bucket(Bucket='boto-three')
print('done')
`);
    expect(done.stdout).toBe('done\n');
  });
});

describe('the AWS SDK for JavaScript of today', () => {
  it('uploads with checksums in trailers, and validates what it gets', async () => {
    const s3 = new S3Client({
      endpoint: `http://127.0.0.1:${port}`, region: 'nova', forcePathStyle: true,
      credentials: { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey },
    });
    const Bucket = 'sdk-three';
    await s3.send(new CreateBucketCommand({ Bucket }));
    await s3.send(new PutObjectCommand({ Bucket, Key: 'small', Body: 'a small file' })); // CRC32 in a header
    const large = await readFile(file('large'));
    for (const ChecksumAlgorithm of ['CRC32', 'CRC32C', 'CRC64NVME', 'SHA1', 'SHA256'] as const) {
      const Body = createReadStream(file('large')); // a stream: the checksum follows in a trailer
      await s3.send(new PutObjectCommand({ Bucket, Key: `large ${ChecksumAlgorithm}`, Body, ContentLength: large.length, ChecksumAlgorithm }));
      const got = await s3.send(new GetObjectCommand({ Bucket, Key: `large ${ChecksumAlgorithm}`, ChecksumMode: 'ENABLED' }));
      expect(got.ContentEncoding).toBeUndefined();
      expect(Buffer.from((await got.Body?.transformToByteArray()) ?? []).equals(large)).toBe(true);
      expect(got[`Checksum${ChecksumAlgorithm}`]).toMatch(/^[A-Za-z0-9+/]+=*$/);
    }
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'parts', ChecksumAlgorithm: 'CRC32' }));
    const parts = await Promise.all([large.subarray(0, 6 << 20), large.subarray(6 << 20)].map(async (Body, index) => {
      const part = await s3.send(new UploadPartCommand({ Bucket, Key: 'parts', UploadId, PartNumber: index + 1, Body, ChecksumAlgorithm: 'CRC32' }));
      return { PartNumber: index + 1, ETag: part.ETag, ChecksumCRC32: part.ChecksumCRC32 };
    }));
    await s3.send(new CompleteMultipartUploadCommand({ Bucket, Key: 'parts', UploadId, MultipartUpload: { Parts: parts } }));
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'parts' }))).ContentLength).toBe(large.length);
    const listed = await s3.send(new ListObjectsV2Command({ Bucket }));
    const Objects = (listed.Contents ?? []).map(({ Key }) => ({ Key }));
    expect(Objects).toHaveLength(7);
    expect((await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }))).Deleted).toHaveLength(7);
    await s3.send(new DeleteBucketCommand({ Bucket }));
    s3.destroy();
  });
});
