// A whole cloud whose users and projects are in a directory: `novact up` over a real slapd. Accounts are made by `novact manage`, seen by ldapsearch, used by
// Debian's clients and counted in the audit log; what is wrong is refused, and a directory that is away lets nobody in but the cloud's own.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { freePort } from '../support/free-port.ts';
import { parseNovarc } from '../support/novarc.ts';
import { waitFor } from '../support/patience.ts';
import { productCommand, withoutNovact } from '../support/product-command.ts';
import { slapdManager, slapdSuffix, startSlapd, type SlapdServer } from '../support/slapd-server.ts';

const timeoutMs = 240_000;
let folder: string;
let slapd: SlapdServer;
let settings: Record<string, string>;
let cloud: ChildProcess | undefined;
let said = '';
/** The founder's, as novarc has it. */
let founder: Record<string, string>;

interface Answer {
  readonly code: number | string;
  readonly text: string;
}

function run(command: string, args: readonly string[], env: Readonly<Record<string, string>>): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, cwd: folder, env: { ...withoutNovact(process.env), HOME: folder, ...env } };
    execFile(command, args, options, (error, stdout, stderr) => resolve({ code: error === null ? 0 : (error.code ?? 'killed'), text: stdout + stderr }));
  });
}

function manage(...args: readonly string[]): Promise<Answer> {
  const { command: [file, ...first], environment } = productCommand();
  return run(file, [...first, 'manage', ...args], { ...environment, ...settings });
}

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Debian's awscli. One try: what is refused is refused. */
const aws = (key: Key, ...args: readonly string[]) => run('/usr/bin/aws', args, {
  ...founder, AWS_ACCESS_KEY_ID: key.accessKeyId, AWS_SECRET_ACCESS_KEY: key.secretAccessKey, AWS_MAX_ATTEMPTS: '1',
  AWS_CONFIG_FILE: join(folder, 'none'), AWS_SHARED_CREDENTIALS_FILE: join(folder, 'none'), AWS_EC2_METADATA_DISABLED: 'true',
});
const ec2 = (key: Key, ...args: readonly string[]) => aws(key, '--endpoint-url', founder['AWS_ENDPOINT_URL_EC2'] ?? '', 'ec2', ...args);
const s3 = (key: Key, ...args: readonly string[]) => aws(key, '--endpoint-url', founder['AWS_ENDPOINT_URL_S3'] ?? '', 's3api', ...args);

async function keyOf(user: string, project: string): Promise<Key> {
  const made = await manage('user', 'key', user, project, '--json');
  expect(made.code, made.text).toBe(0);
  const { accessKey, secretKey } = JSON.parse(made.text) as Record<string, string>;
  return { accessKeyId: accessKey ?? '', secretAccessKey: secretKey ?? '' };
}

beforeAll(async () => {
  folder = mkdtempSync('/tmp/novact-ldap-cloud-');
  chmodSync(folder, 0o711);
  slapd = await startSlapd();
  settings = {
    NOVACT_STATE: join(folder, 'state'), NOVACT_HYPERVISOR: 'sim', NOVACT_DATABASE_URL: `pglite:${join(folder, 'db')}`, NOVACT_AUTH_DRIVER: 'ldap',
    NOVACT_LDAP_URL: slapd.url, NOVACT_LDAP_CA: slapd.authorityFile, NOVACT_LDAP_BIND_DN: slapdManager.dn, NOVACT_LDAP_PASSWORD: slapdManager.password,
    NOVACT_LDAP_USER_BASE: `ou=Users,${slapdSuffix}`, NOVACT_LDAP_GROUP_BASE: `ou=Groups,${slapdSuffix}`, NOVACT_LDAP_CACHE_SECONDS: '1',
    NOVACT_LDAP_TIMEOUT_SECONDS: '5',
  };
  for (const name of ['API', 'S3', 'METADATA', 'DASHBOARD', 'OPS']) settings[`NOVACT_${name}_PORT`] = String(await freePort());
  const { command: [file, ...first], environment } = productCommand();
  const started = spawn(file, [...first, 'up'], { env: { ...withoutNovact(process.env), ...environment, ...settings }, stdio: ['ignore', 'pipe', 'pipe'] });
  cloud = started;
  for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')));
  await waitFor('it is ready', { timeoutMs }, async () => {
    if (started.exitCode !== null) throw new Error(`it ended:\n${said}`);
    return /^novact is ready/m.test(said) ? true : undefined;
  });
  founder = parseNovarc(readFileSync(join(folder, 'state', 'novarc'), 'utf8'));
}, timeoutMs + 10_000);

afterAll(async () => {
  if (cloud !== undefined && cloud.exitCode === null) {
    const ended = new Promise((resolve) => void cloud?.once('exit', resolve));
    cloud.kill('SIGTERM');
    await ended;
  }
  await slapd.close();
  rmSync(folder, { recursive: true, force: true });
});

let joe: Key;

it('A5: users, projects and roles that are made by commands are in the directory, and their keys are good', { timeout: timeoutMs }, async () => {
  for (const words of [
    ['user', 'create', 'joe'], ['user', 'create', 'sue'], ['project', 'create', 'lab', 'joe'], ['project', 'add', 'lab', 'sue'],
    ['role', 'add', 'joe', 'sysadmin'], ['role', 'add', 'joe', 'sysadmin', 'lab'],
  ]) {
    const done = await manage(...words);
    expect(done.code, `${words.join(' ')}: ${done.text}`).toBe(0);
  }
  expect(await slapd.ldapsearch('-b', `ou=Users,${slapdSuffix}`, '(cn=joe)', 'objectClass')).toContain('objectClass: novaUser');
  expect((await slapd.ldapsearch('-b', `cn=lab,ou=Groups,${slapdSuffix}`, '-s', 'base', 'member')).match(/^member: /gm)).toHaveLength(2);
  joe = await keyOf('joe', 'lab');
  const made = await ec2(joe, 'create-volume', '--size', '1', '--availability-zone', 'nova', '--query', 'VolumeId', '--output', 'text');
  expect(made, made.text).toMatchObject({ code: 0, text: expect.stringMatching(/^vol-/) as unknown });
  expect((await s3(joe, 'create-bucket', '--bucket', 'joes')).code).toBe(0);
  // A member without the role may look, and no more.
  const sue = await keyOf('sue', 'lab');
  expect((await ec2(sue, 'describe-volumes')).text).toContain(made.text.trim());
  expect((await ec2(sue, 'delete-volume', '--volume-id', made.text.trim())).text).toContain('UnauthorizedOperation');
});

it('A5: who is not in the directory, or says a wrong secret, is refused', { timeout: timeoutMs }, async () => {
  expect((await ec2({ ...joe, secretAccessKey: 'wrong' }, 'describe-volumes')).text).toContain('AuthFailure');
  expect((await s3({ ...joe, secretAccessKey: 'wrong' }, 'list-buckets')).text).toContain('SignatureDoesNotMatch');
  expect((await ec2({ ...joe, accessKeyId: 'AKIANOBODYSAAAAAAAAA' }, 'describe-volumes')).text).toContain('AuthFailure');
  const sue = await keyOf('sue', 'lab');
  // By whoever looks after the directory, with their own tools.
  await slapd.load(`dn: cn=lab,ou=Groups,${slapdSuffix}\nchangetype: modify\ndelete: member\n${await memberOf('sue')}\n\n`);
  const isRefused = async () => ((await ec2(sue, 'describe-volumes')).text.includes('AuthFailure') ? true : undefined);
  await waitFor('sue is out', { timeoutMs: 60_000, pollMs: 500 }, isRefused);
  expect((await ec2(joe, 'describe-volumes')).code).toBe(0);
});

async function memberOf(name: string): Promise<string> {
  const dn = /^dn: (.+)$/m.exec(await slapd.ldapsearch('-b', `ou=Users,${slapdSuffix}`, `(cn=${name})`, 'dn'))?.[1] ?? '';
  return `member: ${dn}`;
}

it('G4: the audit log says who did it, by the names of the directory', { timeout: timeoutMs }, async () => {
  const listed = async (...words: readonly string[]): Promise<Record<string, unknown>[]> => {
    const answer = await manage('aud', 'list', '--json', ...words);
    expect(answer.code, answer.text).toBe(0);
    return JSON.parse(answer.text) as Record<string, unknown>[];
  };
  const of = (rows: readonly Record<string, unknown>[]) => rows.map(({ user, project, action, outcome, code }) => [user, project, action, outcome, code]);
  expect(of(await listed('--project', 'lab'))).toEqual([
    ['joe', 'lab', 'CreateVolume', 'done', ''], ['joe', 'lab', 'CreateBucket', 'done', ''], ['sue', 'lab', 'DeleteVolume', 'refused', 'UnauthorizedOperation'],
  ]);
  expect(await listed('--action', 'user create')).toMatchObject([{ service: 'manage', about: 'joe' }, { service: 'manage', about: 'sue' }]);
  const text = JSON.stringify(await listed('--count', '1000'));
  for (const secret of [joe.secretAccessKey, slapdManager.password]) expect(text).not.toContain(secret);
});

it('A7: while the directory is away nobody of it is let in; the cloud\'s own are; and all is well when it is back', { timeout: timeoutMs }, async () => {
  await slapd.kill9();
  await waitFor('nobody is let in', { timeoutMs: 60_000, pollMs: 500 }, async () => ((await ec2(joe, 'describe-volumes')).code !== 0 ? true : undefined));
  for (const refused of [await ec2(joe, 'describe-volumes'), await ec2(joe, 'create-volume', '--size', '1', '--availability-zone', 'nova')]) {
    expect(refused.code).not.toBe(0);
    expect(refused.text).toMatch(/Unavailable/);
  }
  expect((await s3(joe, 'list-buckets')).code).not.toBe(0);
  const made = await manage('user', 'create', 'eve');
  expect([made.code === 0, made.text.includes(slapdManager.password)]).toEqual([false, false]);
  const admin = { accessKeyId: founder['AWS_ACCESS_KEY_ID'] ?? '', secretAccessKey: founder['AWS_SECRET_ACCESS_KEY'] ?? '' };
  expect((await ec2(admin, 'describe-regions')).code).toBe(0);
  await slapd.start();
  await waitFor('joe is let in again', { timeoutMs: 60_000, pollMs: 500 }, async () => ((await ec2(joe, 'describe-volumes')).code === 0 ? true : undefined));
  const log = readFileSync(join(folder, 'state', 'novact.log'), 'utf8') + said;
  for (const secret of [joe.secretAccessKey, slapdManager.password]) expect(log).not.toContain(secret);
});
