// Users per role and host, over TLS: everything works under them, and nothing else does.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { aclFile, aclUserName, type AclUser } from '../../src/transport/redis-acl.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';
import { createRedisTransport, inspectRedis, type RedisTransport } from '../../src/transport/redis-streams.ts';
import { compute, handlers, scheduler } from '../contract/transport-protocol.ts';
import { makeCertificates, startRedis, type Certificates, type RedisServer } from '../support/redis-server.ts';
import { within } from '../support/redis-cloud.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'novact-acl-'));
const users: readonly AclUser[] = (['api', 'scheduler', 'compute', 'network'] as const)
  .flatMap((role) => ['h1', 'h2'].map((host) => ({ role, host, password: `a password of ${role} ${host}` })));
let redis: RedisServer;
let certificates: Certificates;
const ends: (() => Promise<void>)[] = [];

beforeAll(async () => {
  certificates = makeCertificates(folder);
  const aclfile = join(folder, 'users.acl');
  writeFileSync(aclfile, `${aclFile(users)}user admin on >admin ~* &* +@all\n`);
  redis = await startRedis({ tls: certificates, aclfile });
});
afterAll(async () => {
  for (const end of ends.toReversed()) await end();
  await redis.close();
  rmSync(folder, { recursive: true, force: true });
});

const userOf = (role: string, host: string): AclUser => {
  const user = users.find((one) => one.role === role && one.host === host);
  if (user === undefined) throw new Error(`no user ${role} ${host}`);
  return user;
};
const urlOf = (user: AclUser): string => redis.url.replace('//', `//${aclUserName(user)}:${encodeURIComponent(user.password)}@`);

function processOf(role: string, host: string): RedisTransport {
  const options = { url: urlOf(userOf(role, host)), ca: readFileSync(certificates.ca, 'utf8'), clock: systemClock, log: silentLog };
  const directory = createRedisDirectory(options);
  const transport = createRedisTransport({
    ...options, process: `${role}@${host}#1-aa`, directory,
    maxima: { retryFirstDelayMs: 2, retryDelayMsMax: 10, blockMs: 500, keepMs: 200, claimEveryMs: 200 },
  });
  ends.push(() => directory.close(), () => transport.close());
  return transport;
}

async function redisCli(options: readonly string[], password: string, ...words: string[]): Promise<string> {
  const all = ['-p', String(redis.port), '--tls', '--cacert', certificates.ca, '--raw', '--no-auth-warning', ...options, ...words];
  const settings = { env: { ...process.env, REDISCLI_AUTH: password }, timeout: 30_000 };
  const { stdout } = await run('redis-cli', all, settings).catch((error: { stdout: string }) => error);
  return stdout.trim();
}

/** What redis-cli answers to the user. */
const says = (user: AclUser, ...words: string[]): Promise<string> => redisCli(['--user', aclUserName(user)], user.password, ...words);

it('everything works under the users over TLS: asks, tells, fan-out, shared work, dead letters, depths, the directory', async () => {
  const [api, scheduling, host1, host2] = [processOf('api', 'h1'), processOf('scheduler', 'h1'), processOf('compute', 'h1'), processOf('compute', 'h2')];
  const seen: string[] = [];
  const note = (): void => { throw new Error('never'); };
  await host1.serve({ role: 'compute', host: 'h1' }, compute, handlers({ note, mark: ({ n }) => void seen.push(`h1:${n}`) }));
  await host2.serve({ role: 'compute', host: 'h2' }, compute, handlers({ mark: ({ n }) => void seen.push(`h2:${n}`) }));
  await scheduling.serve({ role: 'scheduler' }, scheduler, { place: ({ n }) => void seen.push(`placed:${n}`) });
  await within(30_000, async () => (await api.hosts('compute')).length === 2);
  expect(await api.ask({ role: 'compute', host: 'h2' }, compute, 'double', { n: 4 })).toEqual({ n: 8 });
  expect(await host1.ask({ role: 'compute', host: 'h2' }, compute, 'double', { n: 5 })).toEqual({ n: 10 });
  expect(await api.fanOut('compute', compute, 'mark', { n: 1 })).toEqual(['h1', 'h2']);
  await host1.tell({ role: 'scheduler' }, scheduler, 'place', { n: 3 });
  await within(30_000, () => seen.length === 3);
  await api.tell({ role: 'compute', host: 'h1' }, compute, 'note', { instanceId: 'i-1', n: 1 });
  await within(30_000, async () => (await host2.deadLetters()).length === 1);
  const [letter] = await api.deadLetters();
  expect(letter).toMatchObject({ to: 'compute@h1', reason: 'poison' });
  expect(await api.requeue(letter?.id ?? '')).toBe(true);
  await within(30_000, async () => (await api.deadLetters()).length === 1);
  expect(await api.drop(letter?.id ?? '')).toBe(true);
  expect(await api.depths()).toContainEqual({ mailbox: 'compute@h1', waiting: 0, inHand: 0 });
  // Long enough for the upkeep of both kinds of mailboxes.
  await systemClock.sleep(600);
  expect(Math.max(...[api, scheduling, host1].map((each) => each.health().readerLagMs))).toBeLessThan(5000);
  await inspectRedis({ url: urlOf(userOf('compute', 'h1')), ca: readFileSync(certificates.ca, 'utf8'), clock: systemClock, log: silentLog });
  // Nothing was tried that was not allowed; node-redis introduces itself with words that Redis 7.0 does not know.
  const refusals = await redisCli(['--user', 'admin'], 'admin', 'ACL', 'LOG');
  expect(refusals.split('\n').filter((line) => /^(command|key|auth)$/.test(line))).toEqual([]);
});

it('a host reads neither the mailbox of another nor its answers, and may empty and configure nothing', async () => {
  const user = userOf('compute', 'h1');
  expect(await says(user, 'XADD', 'nv:{compute@h3}:mb', '*', 'm', '{}')).toMatch(/^\d+-\d+$/);
  expect(await says(user, 'XLEN', 'nv:{compute@h3}:mb')).toBe('1');
  const refused = [
    ['XRANGE', 'nv:{compute@h3}:mb', '-', '+'], ['XREAD', 'STREAMS', 'nv:{compute@h3}:mb', '0'], ['XDEL', 'nv:{compute@h3}:mb', '1-1'],
    ['XREADGROUP', 'GROUP', 'g', 'owner', 'STREAMS', 'nv:{compute@h3}:mb', '>'], ['XTRIM', 'nv:{compute@h3}:mb', 'MAXLEN', '0'],
    ['DEL', 'nv:{compute@h3}:mb'], ['SET', 'nv:{compute@h3}:own', 'me'], ['SET', 'nv:{compute@h3}:max', '0'], ['XRANGE', 'nv:{p:compute@h2#1-aa}:re', '-', '+'],
    ['XDEL', 'nv:{compute@h3}:dlq', '1-1'], ['XGROUP', 'DELCONSUMER', 'nv:{compute@h3}:mb', 'g', 'owner'],
    ['EVAL', 'return redis.call("XRANGE", KEYS[1], "-", "+")', '1', 'nv:{compute@h3}:mb'],
    ['EVAL', 'return redis.call("DEL", KEYS[1])', '1', 'nv:{compute@h3}:mb'],
    ['EVAL', 'return redis.call("DEL", "nv:{compute@h3}:mb")', '0'],
    ['FLUSHALL'], ['FLUSHDB'], ['CONFIG', 'GET', '*'], ['KEYS', '*'], ['ACL', 'LIST'], ['SHUTDOWN'], ['CLIENT', 'KILL', 'TYPE', 'normal'], ['CLIENT', 'LIST'],
    ['DEBUG', 'SLEEP', '0'], ['MONITOR'], ['SCRIPT', 'FLUSH'], ['REPLICAOF', 'NO', 'ONE'], ['MODULE', 'LIST'], ['SWAPDB', '0', '1'],
  ];
  for (const words of refused) expect(await says(user, ...words), words.join(' ')).toMatch(/NOPERM|permission|can't (run|access)/i);
  expect(await says(user, 'XLEN', 'nv:{compute@h3}:mb')).toBe('1');
});

it('nobody gets in without a name, with a wrong password, or with the certificate of another authority', async () => {
  expect(await redis.command('PING')).toContain('NOAUTH');
  expect(await says({ ...userOf('compute', 'h1'), password: 'wrong and long enough' }, 'PING')).toMatch(/WRONGPASS|NOAUTH/);
  const other = mkdtempSync(join(folder, 'other-'));
  const options = { url: urlOf(userOf('compute', 'h1')), clock: systemClock, log: silentLog };
  await expect(inspectRedis({ ...options, ca: readFileSync(makeCertificates(other).ca, 'utf8') })).rejects.toMatchObject({ kind: 'unavailable' });
});

it('the file shows no password, and refuses names that would match others and passwords that can be guessed', () => {
  for (const { password } of users) expect(aclFile(users)).not.toContain(password);
  expect(() => aclFile([{ role: 'compute', host: 'h*', password: 'long enough for all' }])).toThrow(/pattern/);
  expect(() => aclFile([{ role: 'compute', host: 'h1', password: 'short' }])).toThrow(/too short/);
});
