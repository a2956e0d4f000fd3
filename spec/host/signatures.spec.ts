// Real signers against the verifiers, over a socket: Debian's boto 2, boto3, awscli and s3cmd and the SDK for JavaScript. The server here
// only authenticates and gives the least answer that keeps each client talking; what it saw is what is asserted.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { authenticateEc2, authenticateS3 } from '../../src/auth/authenticate.ts';
import { signV4 } from '../../src/auth/sign-v4.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { ApiError } from '../../src/lib/errors.ts';
import { createAuthFixture, type AuthFixture } from '../support/auth-fixture.ts';

interface Seen {
  readonly method: string;
  readonly target: string;
  readonly outcome: string;
  readonly kind: string;
  readonly body: string;
}

let fixture: AuthFixture;
let server: Server;
let port: number;
let directory: string;
let seen: Seen[] = [];

beforeAll(async () => {
  fixture = await createAuthFixture({ clock: systemClock });
  directory = await mkdtemp(join(tmpdir(), 'auth-signers-'));
  server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  port = (server.address() as AddressInfo).port;
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true });
});

beforeEach(() => {
  seen = [];
});

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const target = request.url ?? '';
  const mark = target.indexOf('?');
  const bucket = /^([a-z0-9-]+)\.localhost(?::\d+)?$/.exec(request.headers.host ?? '')?.[1];
  const signed = {
    method: request.method ?? '', rawPath: mark === -1 ? target : target.slice(0, mark), rawQuery: mark === -1 ? '' : target.slice(mark + 1),
    headers: request.headers, rawHeaders: request.rawHeaders, ...(bucket === undefined ? {} : { virtualHostBucket: bucket }),
  };
  const isQueryApi = /^\/(?:services\/[^/]*\/?)?(?:\?|$)/.test(target) && bucket === undefined && !target.includes('location')
    && (request.method === 'POST' || target.includes('Action='));
  let [outcome, kind, body] = ['ok', 'ec2', Buffer.alloc(0)];
  try {
    if (isQueryApi) {
      body = Buffer.concat(await request.toArray());
      await authenticateEc2({ ...signed, body }, fixture.deps);
    } else {
      const { principal, payload } = await authenticateS3(signed, fixture.deps);
      kind = payload.kind;
      body = Buffer.concat(await request.pipe(payload.createDecoder()).toArray());
      if (principal === undefined) outcome = 'anonymous';
    }
  } catch (error) {
    outcome = error instanceof ApiError ? error.code : String(error);
  }
  seen.push({ method: signed.method, target, outcome, kind, body: body.toString('latin1') });
  response.setHeader('ETag', `"${createHash('md5').update(body).digest('hex')}"`);
  response.setHeader('Content-Type', 'text/xml');
  const status = outcome === 'ok' || outcome === 'anonymous' ? 200 : 403;
  response.writeHead(status).end(status === 200 ? answerXml(isQueryApi) : `<?xml version="1.0"?><Error><Code>${outcome}</Code></Error>`);
}

const answerXml = (isQueryApi: boolean): string => (isQueryApi
  ? '<?xml version="1.0" encoding="UTF-8"?><DescribeRegionsResponse><requestId>r</requestId><regionInfo/></DescribeRegionsResponse>'
  : '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><Name>b</Name><Prefix/><MaxKeys>10</MaxKeys><IsTruncated>false</IsTruncated></ListBucketResult>');

interface RunOptions {
  readonly secret?: string;
  readonly accessKeyId?: string;
  readonly env?: Record<string, string>;
}

/** Runs a client with its own home. Its exit code does not matter here: the answers are not the real ones. */
async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<void> {
  const env = {
    PATH: '/usr/bin:/bin', HOME: directory, PORT: String(port), AWS_DEFAULT_REGION: 'nova', AWS_EC2_METADATA_DISABLED: 'true', AWS_MAX_ATTEMPTS: '1',
    AWS_ACCESS_KEY_ID: options.accessKeyId ?? fixture.accessKeyId, AWS_SECRET_ACCESS_KEY: options.secret ?? fixture.secretAccessKey, ...options.env,
  };
  await new Promise<void>((resolve) => execFile(command, args, { env, cwd: directory, timeout: 60_000 }, () => resolve()));
}

const python = (script: string, options: RunOptions = {}) => run('/usr/bin/python3', ['-c', script], options);

/** All requests were believed, and there were at least so many. */
function expectBelieved(countMin: number): void {
  expect(seen.filter((each) => each.outcome !== 'ok')).toEqual([]);
  expect(seen.length).toBeGreaterThanOrEqual(countMin);
}

const boto2 = `
import os, boto.ec2.connection as c, boto.ec2.regioninfo as r
class V2(c.EC2Connection):
    def _required_auth_capability(self): return ['ec2']
def connect(cls, path):
    return cls(os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'], is_secure=False, port=int(os.environ['PORT']), path=path,
               region=r.RegionInfo(name='nova', endpoint=os.environ.get('ENDPOINT', '127.0.0.1')))
def call(f):
    try: f()
    except Exception as e: print(repr(e))
for path in ['/', '/services/Cloud', '/services/Cloud/']:
    conn = connect(CLASS, path)
    conn.num_retries = 0
    call(conn.get_all_regions)
    call(lambda: conn.create_security_group('odd ~+&=/%', 'ü * ( ) !'))
`;

describe('boto 2, query API', () => {
  test('signature 4 with an IP endpoint is believed on every path', async () => {
    await python(boto2.replace('CLASS', 'c.EC2Connection'));
    expectBelieved(6);
  });

  test('signature 2 is believed with and without the port in the host', async () => {
    await python(boto2.replace('CLASS', 'V2'));
    await python(boto2.replace('CLASS', 'V2'), { env: { ENDPOINT: 'localhost' } });
    expectBelieved(12);
  });

  test('a wrong secret is refused in both versions', async () => {
    await python(boto2.replace('CLASS', 'V2'), { secret: 'wrong' });
    await python(boto2.replace('CLASS', 'c.EC2Connection'), { secret: 'wrong' });
    expect(new Set(seen.map((each) => each.outcome))).toEqual(new Set(['AuthFailure']));
    expect(seen.length).toBeGreaterThanOrEqual(12);
  });

  test('an access key with its project is believed in both versions', async () => {
    await python(boto2.replace('CLASS', 'V2'), { accessKeyId: `${fixture.accessKeyId}:ann` });
    await python(boto2.replace('CLASS', 'c.EC2Connection'), { accessKeyId: `${fixture.accessKeyId}:ann` });
    expectBelieved(12);
  });
});

const boto2S3 = `
import os, boto, boto.s3.connection as c, socket, urllib.request
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: look_up('127.0.0.1' if host.endswith('localhost') else host, *rest, **named)
if not boto.config.has_section('Boto'): boto.config.add_section('Boto')
boto.config.set('Boto', 'num_retries', '0')
def call(f):
    try: f()
    except Exception as e: print(repr(e))
conn = c.S3Connection(os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'], is_secure=False, port=int(os.environ['PORT']),
                      host=os.environ.get('ENDPOINT', '127.0.0.1'), calling_format=c.OrdinaryCallingFormat())
bucket = conn.get_bucket('b', validate=False)
for name in ['plain', 'a b', 'a+b', 'ü', 'a//b', "it's(1)*!~", 'x%2Fy', 'a&b=c?d;e:f,g@h$']:
    key = bucket.new_key(name)
    key.set_metadata('note', 'two words')
    call(lambda: key.set_contents_from_string('hello', policy='public-read'))
    call(lambda: key.get_contents_as_string())
    call(lambda: key.get_acl())
call(lambda: bucket.get_all_keys(prefix='a b', delimiter='/', max_keys=3))
call(lambda: bucket.get_all_multipart_uploads())
call(lambda: bucket.delete_keys(['x', 'y']))
call(lambda: bucket.get_versioning_status())
if not os.environ.get('S3_USE_SIGV4'):
    for name in ['plain', 'a b', 'ü+']:
        call(lambda: urllib.request.urlopen(bucket.new_key(name).generate_url(60, response_headers={'response-content-type': 'text/plain; x=1'})))
`;

describe('boto 2, S3', () => {
  test('the first scheme is believed in headers and in presigned queries, whatever the key', async () => {
    await python(boto2S3);
    expectBelieved(30);
  });

  test('signature 4 is believed, whatever the key', async () => {
    // With an IP address as the endpoint boto 2's own code for this fails before it sends anything: it looks for the region in the name.
    await python(boto2S3, { env: { S3_USE_SIGV4: 'True', ENDPOINT: 's3.nova.localhost' } });
    expectBelieved(24);
  });
});

const boto3S3 = `
import os, boto3, socket, urllib.request
from botocore.config import Config
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda host, *rest, **named: look_up('127.0.0.1' if host.endswith('localhost') else host, *rest, **named)
url = 'http://%s:%s' % (os.environ.get('ENDPOINT', '127.0.0.1'), os.environ['PORT'])
s3 = boto3.client('s3', endpoint_url=url, config=Config(signature_version=os.environ['SIGNATURE'], retries={'max_attempts': 0},
                  s3={'addressing_style': os.environ.get('STYLE', 'path'), 'payload_signing_enabled': os.environ.get('PAYLOAD') == '1'}))
def call(f, **kw):
    try: f(**kw)
    except Exception as e: print(repr(e))
for name in ['plain', 'a b', 'a+b', 'ü', 'a//b', "it's(1)*!~", 'x%2Fy', 'a&b=c?d;e:f,g@h$', 'x/../y']:
    call(s3.put_object, Bucket='bucket', Key=name, Body=b'hello', Metadata={'note': 'two  words'}, ACL='private')
    call(s3.get_object, Bucket='bucket', Key=name, Range='bytes=0-1')
    for method in ['get_object', 'put_object']:
        presigned = s3.generate_presigned_url(method, Params={'Bucket': 'bucket', 'Key': name})
        data = b'data' if method == 'put_object' else None
        headers = {'Content-Type': ''} if data else {}
        call(urllib.request.urlopen, url=urllib.request.Request(presigned, data=data, method='PUT' if data else 'GET', headers=headers))
call(s3.list_objects, Bucket='bucket', Prefix='a b+', Delimiter='/')
call(s3.create_bucket, Bucket='bucket', ACL='private')
call(s3.upload_part, Bucket='bucket', Key='k', PartNumber=2, UploadId='id/+=', Body=b'part')
if os.environ['SIGNATURE'] == 's3v4': # in the first scheme this botocore signs /bucket?tagging?tagging, which S3 refuses as well
    call(s3.list_objects_v2, Bucket='bucket', Prefix='a b+', Delimiter='/')
    call(s3.delete_objects, Bucket='bucket', Delete={'Objects': [{'Key': 'k'}]})
    call(s3.get_bucket_tagging, Bucket='bucket')
call(s3.copy_object, Bucket='bucket', Key='copy', CopySource={'Bucket': 'bucket', 'Key': 'ü b'})
`;

const boto3QueryApi = `
import os, boto3, urllib.request
from botocore.config import Config
for service, action in [('ec2', 'describe_regions'), ('sts', 'get_caller_identity')]:
    client = boto3.client(service, endpoint_url='http://127.0.0.1:' + os.environ['PORT'] + '/', config=Config(retries={'max_attempts': 0}))
    try: getattr(client, action)()
    except Exception as e: print(repr(e))
    urllib.request.urlopen(client.generate_presigned_url(action, HttpMethod='GET'))
`;

describe('boto3', () => {
  test('the query API is believed, signed in the header or presigned', async () => {
    await python(boto3QueryApi);
    expectBelieved(4);
  });

  test.each([
    { SIGNATURE: 's3v4' }, { SIGNATURE: 's3v4', PAYLOAD: '1' }, { SIGNATURE: 's3' },
    { SIGNATURE: 's3', STYLE: 'virtual', ENDPOINT: 'localhost' }, { SIGNATURE: 's3v4', STYLE: 'virtual', ENDPOINT: 'localhost' },
  ])('S3 is believed with %o', async (env) => {
    await python(boto3S3, { env: env as unknown as Record<string, string> });
    expectBelieved(35);
  });
});

describe('awscli', () => {
  test('sts and ec2 are believed', async () => {
    await run('/usr/bin/aws', ['sts', 'get-caller-identity', '--endpoint-url', `http://127.0.0.1:${port}`]);
    await run('/usr/bin/aws', ['ec2', 'describe-regions', '--endpoint-url', `http://127.0.0.1:${port}/services/Cloud`]);
    expectBelieved(2);
  });
});

describe('s3cmd', () => {
  test.each(['False', 'True'])('is believed with signature_v2 = %s', async (signatureV2) => {
    const configuration = join(directory, 's3cfg');
    await writeFile(configuration, [
      '[default]', `access_key = ${fixture.accessKeyId}`, `secret_key = ${fixture.secretAccessKey}`, `host_base = 127.0.0.1:${port}`,
      `host_bucket = 127.0.0.1:${port}`, 'use_https = False', `signature_v2 = ${signatureV2}`, 'max_retries = 1', 'bucket_location = nova', '',
    ].join('\n'));
    await writeFile(join(directory, 'file'), 'hello');
    const s3cmd = (...args: string[]) => run('/usr/bin/s3cmd', ['-c', configuration, ...args]);
    for (const key of ['plain', 'a b+c', 'ü', "it's(1)*!~", 'a//b']) await s3cmd('put', 'file', `s3://bucket/${key}`);
    await s3cmd('ls', 's3://bucket/a b');
    await s3cmd('info', 's3://bucket/plain');
    await s3cmd('mb', 's3://bucket');
    expectBelieved(8);
    const unsigned = await fetch(`http://127.0.0.1:${port}/bucket/plain`);
    expect([unsigned.status, seen.at(-1)?.outcome]).toEqual([200, 'anonymous']);
  });
});

describe('the SDK for JavaScript', () => {
  test('an object with a trailing checksum arrives without its framing', async () => {
    const client = new S3Client({
      endpoint: `http://127.0.0.1:${port}`, region: 'nova', forcePathStyle: true, maxAttempts: 1,
      credentials: { accessKeyId: fixture.accessKeyId, secretAccessKey: fixture.secretAccessKey },
    });
    const body = Buffer.alloc(200_000, 'x');
    const file = join(directory, 'stream');
    await writeFile(file, body);
    await client.send(new PutObjectCommand({ Bucket: 'b', Key: 'ü (1)+', Body: body, ChecksumAlgorithm: 'CRC32' }));
    const stream = { Bucket: 'b', Key: 'stream', Body: createReadStream(file), ContentLength: body.length };
    await client.send(new PutObjectCommand({ ...stream, ChecksumAlgorithm: 'CRC32' }));
    client.destroy();
    expectBelieved(2);
    expect(seen.map((each) => [each.kind, each.body.length])).toEqual([['hash', 200_000], ['chunked', 200_000]]);
  });

  test('our own signer is believed through fetch', async () => {
    const url = new URL(`http://127.0.0.1:${port}/b/a%20b+%C3%BC?versionId=a+b&acl`);
    const { host: _host, ...headers } = signV4({ method: 'GET', url, ...fixture, region: 'nova', service: 's3', date: new Date() });
    expect((await fetch(url, { headers })).status).toBe(200);
    expectBelieved(1);
  });
});
