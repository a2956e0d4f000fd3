// The directory on a real Redis: the contract, how fresh its cache is, and what happens when Redis is emptied, killed or paused, when a host
// is paused, and when its clock is wrong.
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Directory } from '../../src/transport/directory.ts';
import { createRedisDirectory, type RedisDirectoryOptions } from '../../src/transport/redis-directory.ts';
import { directorySuite, service } from '../contract/directory-suite.ts';
import { makeCertificates, startRedis, startSentinels, type RedisServer } from '../support/redis-server.ts';
import { eventually } from '../support/waiting.ts';

const root = join(import.meta.dirname, '../..');
let redis: RedisServer;
const opened: Directory[] = [];

/** Long enough that on a loaded machine nobody loses one who lives. */
const [leaseMs, renewMs] = [1_200, 150];

function open(options: Partial<RedisDirectoryOptions> = {}): Directory {
  const directory = createRedisDirectory({ url: redis.url, clock: systemClock, log: silentLog, leaseMs, renewMs, ...options });
  opened.push(directory);
  return directory;
}

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());
afterEach(async () => {
  for (const directory of opened.splice(0)) await directory.close();
  await redis.command('FLUSHALL');
});

directorySuite('redis', async () => ({
  leaseMs,
  process: () => open(),
  clear: async () => void (await redis.command('FLUSHALL')),
  close: async () => undefined,
}));

/** As `eventually`, for what takes a server its time. */
async function soon(condition: () => Promise<boolean>, msMax = 60_000): Promise<void> {
  const endsAt = performance.now() + msMax;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error(`never: ${condition.toString()}`);
    await new Promise((resolve) => { setTimeout(resolve, 5); });
  }
}

const hosts = async (directory: Directory): Promise<string[]> => (await directory.services('compute').catch(() => [])).map(({ host }) => host);

describe('the directory on Redis', () => {
  it('answers from its cache, and shows a change within milliseconds', async () => {
    const writer = open();
    const reader = open();
    const announcement = await writer.announce(service('h1'));
    await reader.services('compute');
    const asked = await commandCalls();
    const first = await reader.services('compute');
    for (let n = 0; n < 1_000; n += 1) expect(await reader.services('compute')).toBe(first);
    expect((await commandCalls()) - asked).toBeLessThan(50); // renewals, not reads
    const delays: number[] = [];
    for (let n = 1; n <= 100; n += 1) {
      await announcement.update({ hints: { n } });
      const startedAt = performance.now();
      while ((await reader.services('compute'))[0]?.hints?.['n'] !== n) await new Promise((resolve) => { setImmediate(resolve); });
      delays.push(performance.now() - startedAt);
    }
    delays.sort((a, b) => a - b);
    expect(delays[50]).toBeLessThan(250); // a cache holds for 30 s; how few they are is the benchmark's business: here others use the machine
  });

  it('renewals do not disturb the caches', async () => {
    const writer = open();
    await writer.announce(service('h1'));
    const before = await redis.command('GET', 'nv:{dir:compute}:version');
    const lease = async () => Number(await redis.command('ZSCORE', 'nv:{dir:compute}:leases', 'h1 h1#1'));
    const firstLease = await lease();
    await soon(async () => (await lease()) > firstLease + 200);
    expect(await redis.command('GET', 'nv:{dir:compute}:version')).toBe(before);
  });

  it('survives a Redis that is killed and comes back, also without its data', async () => {
    const [writer, reader] = [open(), open()];
    const announcement = await writer.announce(service('h1'));
    await soon(async () => (await hosts(reader)).includes('h1'));
    await redis.kill9();
    await soon(async () => !announcement.held());
    await expect(reader.services('compute')).rejects.toMatchObject({ kind: 'timeout' });
    await redis.start();
    await redis.command('FLUSHALL');
    await soon(async () => (await hosts(reader)).includes('h1') && announcement.held());
  });

  it('does not wait for ever for a Redis that is paused, and goes on when it wakes', async () => {
    const [writer, reader] = [open(), open()];
    const announcement = await writer.announce(service('h1'));
    await soon(async () => (await hosts(reader)).includes('h1'));
    redis.pause();
    try {
      await soon(async () => !announcement.held());
      await expect(reader.lastSeen('compute')).rejects.toMatchObject({ kind: 'timeout' });
    } finally {
      redis.resume();
    }
    await soon(async () => (await hosts(reader)).includes('h1') && announcement.held());
  });

  it('M6: up and down go by the server\'s time: a host whose clock is wrong is neither dead nor immortal', async () => {
    const hourLate = { ...systemClock, now: () => systemClock.now() - 3_600_000, date: () => new Date(systemClock.now() - 3_600_000) };
    const reader = open();
    const wrong = open({ clock: hourLate });
    await wrong.announce(service('h1'));
    await soon(async () => (await hosts(reader)).includes('h1'));
    expect((await reader.lastSeen('compute'))[0]?.agoMs).toBeLessThan(60_000); // not an hour
    await wrong.close();
    await soon(async () => !(await hosts(reader)).includes('h1'));
    expect((await reader.lastSeen('compute'))[0]).toMatchObject({ host: 'h1' });
  });

  it('M6: a process that is paused loses its lease, knows it when it wakes, and gets it again', async () => {
    const reader = open();
    const execArgv = ['--import', join(root, 'node_modules/tsx/dist/loader.mjs')];
    const child = fork(join(root, 'spec/support/announce-in-process.mts'), [redis.url, String(leaseMs), String(renewMs)], { execArgv });
    try {
      await once(child, 'message');
      await soon(async () => (await hosts(reader)).includes('h9'));
      child.kill('SIGSTOP');
      await soon(async () => !(await hosts(reader)).includes('h9'));
      await eventually(async () => ((await reader.lastSeen('compute'))[0]?.agoMs ?? 0) > leaseMs * 1.5);
      const answer = once(child, 'message');
      child.send('held?');
      child.kill('SIGCONT');
      expect((await answer)[0]).toEqual({ heldOnWaking: false });
      await soon(async () => (await hosts(reader)).includes('h9'));
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('a host that dies while nobody announces anything is moved out by its readers, once', async () => {
    const writer = open();
    const reader = open();
    await writer.announce(service('h1'));
    await soon(async () => (await hosts(reader)).includes('h1'));
    await writer.close();
    await soon(async () => (await hosts(reader)).length === 0);
    expect(await redis.command('HLEN', 'nv:{dir:compute}:live')).toBe('0');
    expect(await redis.command('ZCARD', 'nv:{dir:compute}:leases')).toBe('0');
  });

  it('renews the leases of thousands of hosts of one process', async () => {
    const [writer, reader] = [open({ leaseMs: 8_000, renewMs: 800 }), open()];
    await Promise.all(Array.from({ length: 2_000 }, (_, n) => writer.announce(service(`sim-${n}`))));
    const startedAt = performance.now();
    await soon(async () => performance.now() - startedAt > 9_000);
    expect((await reader.services('compute')).length).toBe(2_000);
  });

  it('speaks TLS, with a password, over a unix socket', async () => {
    const certificates = makeCertificates(redis.folder);
    const secured = await startRedis({ tls: certificates, password: 'a/b@c' });
    try {
      const directory = open({ url: secured.url, ca: await readFile(certificates.ca, 'utf8') });
      const bySocket = open({ url: `redis://:${encodeURIComponent('a/b@c')}@${secured.socket}` });
      await directory.announce(service('h1'));
      await soon(async () => (await hosts(bySocket)).includes('h1'));
      const stranger = open({ url: secured.url }); // it does not know the authority
      await expect(stranger.services('compute')).rejects.toMatchObject({ name: 'TransportError', kind: 'timeout' });
    } finally {
      for (const directory of opened.splice(0)) await directory.close();
      await secured.close();
    }
  });

  it('follows a fail-over by Sentinel', async () => {
    const sentinels = await startSentinels();
    try {
      const [writer, reader] = [open({ url: sentinels.url }), open({ url: sentinels.url })];
      const announcement = await writer.announce(service('h1'));
      await soon(async () => (await hosts(reader)).includes('h1'));
      await sentinels.primary.kill9();
      await soon(async () => !announcement.held());
      await soon(async () => announcement.held() && (await hosts(reader)).includes('h1'), 90_000);
      await announcement.update({ hints: { n: 2 } });
      await soon(async () => (await reader.services('compute'))[0]?.hints?.['n'] === 2);
    } finally {
      for (const directory of opened.splice(0)) await directory.close();
      await sentinels.close();
    }
  });
});

/** All commands that the server has performed. */
async function commandCalls(): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await redis.command('INFO', 'stats'))?.[1]);
}
