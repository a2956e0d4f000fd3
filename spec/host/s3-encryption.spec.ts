// Encryption at rest as Debian's clients ask for it, with real signatures and files.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createS3Server, type S3Server } from '../../src/api/s3/server.ts';
import { authenticateS3 } from '../../src/auth/authenticate.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { findObject } from '../../src/db/objects.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { newSealer } from '../support/new-sealer.ts';
import { amplyS3 } from '../support/s3-server.ts';

const run = createRun({ log: silentLog });
/** Put whole, and in parts. */
const names = ['small', 'large'] as const;
let folder: string;
let database: TestDatabase;
let server: S3Server;
let port: number;
let env: Readonly<Record<string, string>>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 's3-encryption-'));
  database = await createTestDatabase();
  const sealer = newSealer();
  const auth = new AuthManager({ driver: authDrivers.db({ db: database.db, clock: systemClock }), sealer });
  await auth.createUser({ name: 'ann' });
  await auth.createProject({ name: 'ann', manager: 'ann' });
  const key = await auth.createAccessKey({ user: 'ann', project: 'ann' });
  server = createS3Server({
    db: database.db, store: await openFilesystemStore({ folder: join(folder, 'store'), sealer }), clock: systemClock, region: 'nova', quotas: amplyS3,
    log: silentLog, authenticate: (request) => authenticateS3(request, { auth, clock: systemClock }), authority: auth,
  });
  port = await server.listen('127.0.0.1', 0);
  env = {
    AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey, AWS_DEFAULT_REGION: 'nova', HOME: folder, PORT: String(port),
    AWS_EC2_METADATA_DISABLED: 'true',
  };
  await writeFile(file('small'), 'a small file\n');
  await writeFile(file('large'), randomBytes(12 * 1024 * 1024 + 17));
});
afterAll(async () => {
  await server.close({ graceMs: 100 });
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

const file = (name: string) => join(folder, name);
const digest = async (name: string) => createHash('sha256').update(await readFile(file(name))).digest('hex');

/** Nothing of what was put is in the file that the store has of it. */
async function expectSealed(bucket: string, key: string): Promise<void> {
  const object = await findObject(database.db, bucket, key);
  if (object === undefined) throw new Error(`no ${bucket}/${key}`);
  const stored = await readFile(join(folder, 'store/blobs', object.blobId.slice(0, 2), object.blobId));
  expect(stored.length).toBeGreaterThan(object.sizeBytes);
  for (const name of names) {
    const content = await readFile(file(name));
    for (const at of [0, content.length - 12]) expect(stored.includes(content.subarray(at, at + 12))).toBe(false);
  }
}

it.each(['False', 'True'])('s3cmd puts, copies and gets what is encrypted, with signature version 2: %s', { timeout: 120_000 }, async (signatureV2) => {
  const bucket = `s3cmd-${signatureV2.toLowerCase()}`;
  await writeFile(file('s3cfg'), [
    '[default]', `access_key = ${env['AWS_ACCESS_KEY_ID']}`, `secret_key = ${env['AWS_SECRET_ACCESS_KEY']}`, `host_base = 127.0.0.1:${port}`,
    `host_bucket = 127.0.0.1:${port}`, 'use_https = False', `signature_v2 = ${signatureV2}`, 'bucket_location = nova',
  ].join('\n'));
  const s3cmd = (...args: readonly string[]) =>
    run('s3cmd', ['--config', file('s3cfg'), '--no-progress', ...args], { timeoutMs: 60_000, cwd: folder, env: { HOME: folder } });
  await s3cmd('mb', `s3://${bucket}`);
  for (const name of names) {
    await s3cmd('put', '--server-side-encryption', '--multipart-chunk-size-mb=5', file(name), `s3://${bucket}/${name}`);
    await s3cmd('cp', '--server-side-encryption', `s3://${bucket}/${name}`, `s3://${bucket}/copy-${name}`);
    for (const key of [name, `copy-${name}`]) {
      expect((await s3cmd('info', `s3://${bucket}/${key}`)).stdout).toMatch(/SSE: +AES256/);
      await expectSealed(bucket, key);
      await s3cmd('get', '--force', `s3://${bucket}/${key}`, file('got'));
      expect(await digest('got')).toBe(await digest(name));
    }
  }
  await s3cmd('put', file('small'), `s3://${bucket}/open`);
  expect((await s3cmd('info', `s3://${bucket}/open`)).stdout).toMatch(/SSE: +none/);
});

it('awscli has its files encrypted as it asks, or as the bucket is set', { timeout: 180_000 }, async () => {
  const aws = (args: readonly string[], okCodes: readonly number[] = [0]) =>
    run('/usr/bin/aws', ['--endpoint-url', `http://127.0.0.1:${port}`, ...args], { timeoutMs: 60_000, env, okCodes, cwd: folder });
  const copy = (...args: readonly string[]) => aws(['s3', 'cp', '--no-progress', ...args]);
  const api = (operation: string, ...args: readonly string[]) => aws(['s3api', operation, '--bucket', 'awscli', ...args], [0, 254]);
  await aws(['s3', 'mb', 's3://awscli']);
  expect((await api('get-bucket-encryption')).stderr).toContain('ServerSideEncryptionConfigurationNotFoundError');
  for (const name of names) {
    await copy('--sse', 'AES256', file(name), `s3://awscli/${name}`);
    await copy('--sse', 'AES256', `s3://awscli/${name}`, `s3://awscli/copy-${name}`);
  }
  const set = { Rules: [{ ApplyServerSideEncryptionByDefault: { SSEAlgorithm: 'AES256' } }] };
  await api('put-bucket-encryption', '--server-side-encryption-configuration', JSON.stringify(set));
  expect(JSON.parse((await api('get-bucket-encryption')).stdout)).toMatchObject({ ServerSideEncryptionConfiguration: set });
  for (const name of names) await copy(file(name), `s3://awscli/set-${name}`);
  expect(JSON.parse((await api('head-object', '--key', 'set-large')).stdout)).toMatchObject({ ServerSideEncryption: 'AES256' });
  await aws(['s3', 'sync', '--no-progress', 's3://awscli', file('got-all')]);
  for (const name of names) {
    for (const key of [name, `copy-${name}`, `set-${name}`]) {
      await expectSealed('awscli', key);
      expect(await digest(join('got-all', key))).toBe(await digest(name));
    }
  }
  await api('delete-bucket-encryption');
  await copy(file('small'), 's3://awscli/open');
  expect(JSON.parse((await api('head-object', '--key', 'open')).stdout)).not.toHaveProperty('ServerSideEncryption');
  const refused = await aws(['s3', 'cp', '--sse', 'aws:kms', file('small'), 's3://awscli/kms'], [1]);
  expect(refused.stderr).toMatch(/NotImplemented.*x-amz-server-side-encryption: aws:kms/);
});

it('boto3 and boto 2 put, read and copy, and learn what is not built', { timeout: 60_000 }, async () => {
  const story = `
import os, boto, boto.s3.connection as c, boto3, botocore
s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:' + os.environ['PORT'])
s3.create_bucket(Bucket='boto', CreateBucketConfiguration={'LocationConstraint': 'nova'})
at = dict(Bucket='boto', Key='sealed')
assert s3.put_object(Body=b'nobody reads it', ServerSideEncryption='AES256', **at)['ServerSideEncryption'] == 'AES256'
got = s3.get_object(Range='bytes=7-11', **at)
assert (got['Body'].read(), got['ServerSideEncryption']) == (b'reads', 'AES256')
assert 'ServerSideEncryption' not in s3.copy_object(Bucket='boto', Key='open', CopySource=at)
for asked, code in [(dict(ServerSideEncryption='aws:kms'), 'NotImplemented'), (dict(ServerSideEncryption='no'), 'InvalidArgument'),
    (dict(SSECustomerAlgorithm='AES256', SSECustomerKey=b'k' * 32), 'NotImplemented')]:
    try:
        s3.put_object(Body=b'x', **at, **asked)
        raise SystemExit('taken: %r' % asked)
    except botocore.exceptions.ClientError as refused:
        assert refused.response['Error']['Code'] == code, refused
old = boto.connect_s3(os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'], host='127.0.0.1', port=int(os.environ['PORT']),
  is_secure=False, calling_format=c.OrdinaryCallingFormat())
key = old.get_bucket('boto').new_key('old')
key.set_contents_from_string('nobody', encrypt_key=True)
assert s3.head_object(Bucket='boto', Key='old')['ServerSideEncryption'] == 'AES256'
assert old.get_bucket('boto').get_key('old').encrypted == 'AES256'
form = s3.generate_presigned_post('boto', 'form', Fields={'x-amz-server-side-encryption': 'AES256'}, Conditions=[{'x-amz-server-side-encryption': 'AES256'}])
from botocore.httpsession import URLLib3Session
from botocore.awsrequest import AWSRequest
fields = ''.join('--line\\r\\nContent-Disposition: form-data; name="%s"\\r\\n\\r\\n%s\\r\\n' % one for one in form['fields'].items())
body = fields + '--line\\r\\nContent-Disposition: form-data; name="file"; filename="f"\\r\\n\\r\\nnobody\\r\\n--line--\\r\\n'
sent = AWSRequest('POST', form['url'], headers={'Content-Type': 'multipart/form-data; boundary=line'}, data=body.encode()).prepare()
assert URLLib3Session().send(sent).status_code == 204
assert s3.get_object(Bucket='boto', Key='form')['ServerSideEncryption'] == 'AES256'
print('all of it')
`;
  expect((await run('/usr/bin/python3', ['-c', story], { timeoutMs: 60_000, env, cwd: folder })).stdout).toBe('all of it\n');
  for (const key of ['sealed', 'old', 'form']) await expectSealed('boto', key);
});
