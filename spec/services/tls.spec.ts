// A10: `novact up --tls`: the endpoints of a whole cloud with certificates of its own authority, as openssl, curl and Debian's clients see them.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseNovarc } from '../support/novarc.ts';
import { waitFor } from '../support/patience.ts';
import { productCommand, withoutNovact } from '../support/product-command.ts';
import { freePort } from '../support/free-port.ts';

const timeoutMs = 240_000;
let folder: string;
let settings: Record<string, string>;
let cloud: ChildProcess;
let said = '';
let clients: Record<string, string> = {};
const at = (name: string) => join(folder, 'state', name);

interface Answer {
  readonly code: number | string;
  readonly text: string;
}

function run(command: string, args: readonly string[], { env = {}, input }: { env?: Record<string, string>; input?: string } = {}): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, cwd: folder, env: { ...withoutNovact(process.env), HOME: folder, ...env } };
    const child = execFile(command, args, options, (error, stdout, stderr) => (
      resolve({ code: error === null ? 0 : (error.code ?? 'killed'), text: stdout + stderr })
    ));
    child.stdin?.end(input);
  });
}

function novact(...args: readonly string[]): Promise<Answer> {
  const { command: [file, ...first] } = productCommand();
  return run(file, [...first, ...args], { env: settings });
}

const client = (command: string, ...args: readonly string[]) => run(command, args, { env: clients });
const python = (...lines: readonly string[]) => client('/usr/bin/python3', '-c', lines.join('\n'));

beforeAll(async () => {
  folder = mkdtempSync('/tmp/novact-tls-');
  chmodSync(folder, 0o711);
  settings = {
    NOVACT_STATE: join(folder, 'state'), NOVACT_HYPERVISOR: 'sim', NOVACT_DATABASE_URL: `pglite:${join(folder, 'db')}`, NOVACT_TLS_NAMES: 's3.example.com',
  };
  for (const name of ['API', 'S3', 'METADATA', 'DASHBOARD', 'OPS']) settings[`NOVACT_${name}_PORT`] = String(await freePort());
  const { command: [file, ...first] } = productCommand();
  cloud = spawn(file, [...first, 'up', '--tls'], { env: { ...withoutNovact(process.env), ...settings }, stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [cloud.stdout, cloud.stderr]) stream?.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  await waitFor('it is ready', { timeoutMs }, async () => {
    if (cloud.exitCode !== null) throw new Error(`it ended:\n${said}`);
    return /^novact is ready/m.test(said) && /^Ctrl-C/m.test(said) ? true : undefined;
  });
  clients = parseNovarc(readFileSync(at('novarc'), 'utf8'));
}, timeoutMs + 10_000);

afterAll(async () => {
  if (cloud.exitCode === null) {
    const ended = new Promise((resolve) => void cloud.once('exit', resolve));
    cloud.kill('SIGTERM');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

it('says https, and where its authority is', { timeout: timeoutMs }, async () => {
  const { NOVACT_API_PORT: api, NOVACT_S3_PORT: s3 } = settings;
  expect(said).toContain(`EC2 at https://127.0.0.1:${api}/ S3 at https://127.0.0.1:${s3}`);
  expect(said).toContain(at('ca.pem'));
  expect(clients).toMatchObject({ EC2_URL: `https://127.0.0.1:${api}/services/Cloud`, S3_URL: `https://127.0.0.1:${s3}`, AWS_CA_BUNDLE: at('ca.pem') });
  expect((await novact('manage', 'authority', 'show')).text.trim()).toBe(readFileSync(at('ca.pem'), 'utf8').trim());
});

it('A10: openssl follows each certificate to the authority, by every name', async () => {
  const { NOVACT_API_PORT: api = '', NOVACT_S3_PORT: s3 = '' } = settings;
  for (const [port, name, check] of [
    [api, 'localhost', ['-verify_hostname', 'localhost']], [s3, '127.0.0.1', ['-verify_ip', '127.0.0.1']],
    [s3, 'bucket.s3.localhost', ['-verify_hostname', 'bucket.s3.localhost']], [s3, 'bucket.s3.example.com', ['-verify_hostname', 'bucket.s3.example.com']],
  ] as const) {
    const shown = await run('openssl', [
      's_client', '-connect', `127.0.0.1:${port}`, '-servername', name, '-CAfile', at('ca.pem'), '-verify_return_error', '-brief', ...check,
    ]);
    expect(shown).toMatchObject({ code: 0, text: expect.stringMatching(/Verification: OK/) });
  }
  const chain = (await run('openssl', ['s_client', '-connect', `127.0.0.1:${api}`, '-showcerts'])).text.match(/-----BEGIN[^]+?END CERTIFICATE-----/g) ?? [];
  expect(chain.length).toBe(2);
  chain.forEach((certificate, index) => writeFileSync(join(folder, `${index}.pem`), certificate));
  const strictly = ['-untrusted', '1.pem', '-purpose', 'sslserver', '-x509_strict', '0.pem'];
  expect(await run('openssl', ['verify', '-CAfile', at('ca.pem'), ...strictly])).toMatchObject({ code: 0 });
  const wrong = ['-verify_return_error', '-verify_hostname', 'other.example', '-CAfile', at('ca.pem')];
  expect((await run('openssl', ['s_client', '-connect', `127.0.0.1:${api}`, ...wrong])).text).toContain('hostname mismatch');
  expect((await run('openssl', ['s_client', '-connect', `127.0.0.1:${api}`, '-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'])).code).not.toBe(0);
}, timeoutMs);

it('curl believes it with the authority alone; plain HTTP is refused in EC2\'s and S3\'s words', { timeout: timeoutMs }, async () => {
  const { EC2_URL = '', S3_URL = '' } = clients;
  expect((await run('curl', ['-sS', EC2_URL])).text).toContain('certificate');
  expect((await run('curl', ['-sS', '--cacert', at('ca.pem'), EC2_URL])).text).toContain('<Code>');
  for (const url of [EC2_URL, S3_URL]) {
    const { text } = await run('curl', ['-sS', '-w', '%{http_code}', url.replace('https:', 'http:')]);
    expect(text).toMatch(/<Code>InvalidRequest<\/Code><Message>This endpoint speaks TLS only[^]*400$/);
  }
});

it('awscli, boto3, boto 2 and s3cmd work with what novarc and s3cfg say', async () => {
  const { EC2_URL = '', AWS_ENDPOINT_URL_EC2 = '', AWS_ENDPOINT_URL_S3 = '' } = clients;
  const zones = ['--endpoint-url', AWS_ENDPOINT_URL_EC2, 'ec2', 'describe-availability-zones', '--output', 'text'];
  expect(await client('/usr/bin/aws', ...zones)).toMatchObject({ code: 0, text: expect.stringContaining('nova') });
  writeFileSync(join(folder, 'file'), 'content');
  expect(await client('/usr/bin/s3cmd', '-c', at('s3cfg'), 'mb', 's3://tls')).toMatchObject({ code: 0 });
  const put = ['put', 'file', 's3://tls/file'];
  expect(await client('/usr/bin/s3cmd', '-c', at('s3cfg'), '--ca-certs', at('ca.pem'), ...put)).toMatchObject({ code: 0 });
  const others = ['--ca-certs', '/etc/ssl/certs/ca-certificates.crt'];
  expect((await client('/usr/bin/s3cmd', '-c', at('s3cfg'), ...others, ...put)).text).toContain('CERTIFICATE_VERIFY_FAILED');
  expect(await python(
    'import boto3, os', `s3 = boto3.client("s3", endpoint_url=${JSON.stringify(AWS_ENDPOINT_URL_S3)})`,
    'sts = boto3.client("sts", endpoint_url=os.environ["AWS_ENDPOINT_URL_STS"])',
    'print(s3.get_object(Bucket="tls", Key="file")["Body"].read(), sts.get_caller_identity()["Arn"])',
  )).toMatchObject({ code: 0, text: expect.stringContaining("b'content' arn:aws:iam::") });
  const { port, pathname } = new URL(EC2_URL);
  // By a name: boto 2 does not look for addresses in a certificate.
  expect(await python(
    'import boto', 'from boto.ec2.connection import EC2Connection', 'from boto.ec2.regioninfo import RegionInfo',
    `boto.config.add_section("Boto"); boto.config.set("Boto", "ca_certificates_file", ${JSON.stringify(at('ca.pem'))})`,
    'region = RegionInfo(name="nova", endpoint="localhost")',
    `ec2 = EC2Connection(is_secure=True, validate_certs=True, port=${port}, path=${JSON.stringify(pathname)}, region=region)`,
    'print([zone.name for zone in ec2.get_all_zones()])',
  )).toMatchObject({ code: 0, text: expect.stringContaining("['nova']") });
}, timeoutMs);

it('`novact try` works, and compute fetches the image from the objectstore by TLS', async () => {
  expect(await novact('try')).toMatchObject({ code: 0, text: expect.stringContaining('it works') });
}, timeoutMs);
