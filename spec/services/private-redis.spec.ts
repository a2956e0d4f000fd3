// The private Redis of `novact up --services`, really started: adoption, death, and what it keeps.
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { worksIn } from '../../src/lib/folder-processes.ts';
import { createRedisService, redisObstacle, type RedisService } from '../../src/drivers/redis/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { parseRedisUrl } from '../../src/transport/redis-url.ts';
import { waitUntil } from '../support/patience.ts';

let state: string;
const services: RedisService[] = [];
const run = createRun({ log: silentLog });
const obstacle = redisObstacle();

function service(): RedisService {
  const made = createRedisService({ directory: join(state, 'redis'), run, log: silentLog, clock: systemClock, watchIntervalMs: 50 });
  services.push(made);
  return made;
}

/** What redis-cli prints. */
async function command(url: string, ...words: string[]): Promise<string> {
  const { socketPath, password } = parseRedisUrl(url);
  return (await run('redis-cli', ['-s', socketPath ?? '', '--raw', '-e', ...words], { env: { REDISCLI_AUTH: password ?? '' } })).stdout.trimEnd();
}

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'the private Redis' : `the private Redis (skipped: ${obstacle})`, () => {
  beforeEach(async () => {
    state = await mkdtemp('/tmp/novact-spec-redis-');
    await chmod(state, 0o711);
  });

  afterEach(async () => {
    for (const one of services.splice(0).toReversed()) await one.stop();
    await rm(state, { recursive: true, force: true });
  });

  it('keeps what it was given over a stop and a start, throws nothing away, and listens nowhere but on its socket', async () => {
    const first = service();
    const { url, how } = await first.start();
    expect(how).toBe('started');
    await command(url, 'set', 'key', 'value');
    expect(await command(url, 'config', 'get', 'maxmemory-policy')).toBe('maxmemory-policy\nnoeviction');
    expect(await command(url, 'config', 'get', 'port')).toBe('port\n0');
    expect(await command(url, 'config', 'get', 'appendfsync')).toBe('appendfsync\neverysec');
    await first.stop();
    const again = await service().start();
    expect([again.how, await command(again.url, 'get', 'key')]).toEqual(['started', 'value']);
  });

  it('lets nobody in without the password, which its owner alone can read', async () => {
    const { url } = await service().start();
    await expect(command(url.replace(/:[^:@]+@/, ':wrong@'), 'ping')).rejects.toThrow(/NOAUTH|WRONGPASS/);
    expect((await stat(join(state, 'redis/password'))).mode & 0o777).toBe(0o600);
    expect((await stat(join(state, 'redis/redis.conf'))).mode & 0o077).toBe(0);
  });

  it('is adopted by the next start when its novact was killed', async () => {
    const first = service();
    const { pid } = await first.start();
    first.leave();
    expect(await service().start()).toMatchObject({ pid, how: 'adopted' });
  });

  it('is started again with what it had when it is killed', async () => {
    const { url, pid } = await service().start();
    await command(url, 'set', 'key', 'value');
    process.kill(pid, 'SIGKILL');
    await waitUntil('it serves again', { timeoutMs: 60_000, pollMs: 50 }, async () => (await command(url, 'get', 'key')) === 'value');
    expect(await worksIn(pid, join(state, 'redis/data'))).toBe(false);
  });
});
