// G2: a launcher for each role: its help, its settings, the mistakes it refuses with a remedy, its lock, its end.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { roleNames, type RoleName } from '../../src/config/options.ts';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { productCommand, withoutNovact } from '../support/product-command.ts';
import { freePort } from '../support/free-port.ts';
import { startRole, startSharedServices, type SharedServices } from '../support/role-process.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
let services: SharedServices;

/** Runs it to its end, which must come soon. */
function run(role: RoleName | undefined, args: readonly string[], settings: Readonly<Record<string, string>> = {}) {
  const { command: [file, ...first], environment } = productCommand(role);
  const { status, stdout, stderr } = spawnSync(file, [...first, ...args], {
    encoding: 'utf8', timeout: 30_000, cwd: services.folder, env: { ...withoutNovact(process.env), ...environment, ...settings },
  });
  return { code: status, text: stdout + stderr };
}

const built = roleNames.filter((role) => role !== 'volume');

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'a launcher' : `a launcher (skipped: ${obstacle})`, () => {
  beforeAll(async () => {
    services = await startSharedServices({ name: 'launchers-start' });
  });
  afterAll(() => services?.close());

  it.each(built)('G2: novact-%s describes every setting', (role) => {
    const { code, text } = run(role, ['--help']);
    expect(code).toBe(0);
    for (const flag of ['--state', '--database-url', '--redis-url', '--ops-port', '--master-key', '--config']) expect(text).toContain(flag);
    expect(text).toContain(`Usage: novact-${role}`);
  });

  it('needs a PostgreSQL and a Redis, and says which is missing', async () => {
    const { NOVACT_REDIS_URL: _, ...without } = services.host('h1');
    expect(run('scheduler', [], without)).toMatchObject({ code: 2, text: expect.stringMatching(/to mend it: Set NOVACT_REDIS_URL=/) });
    const trial = run('api', ['--database-url', 'pglite:memory'], services.host('h1'));
    expect(trial).toMatchObject({ code: 2, text: expect.stringContaining('PGlite is for one process') });
    // Another novact may have the usual ports.
    const ports = ['API', 'S3', 'METADATA', 'DASHBOARD', 'OPS'].map(async (name) => [`NOVACT_${name}_PORT`, String(await freePort())]);
    const own = Object.fromEntries(await Promise.all(ports));
    expect(run(undefined, ['up', '--database-url', 'pglite:memory'], { ...services.host('h1'), ...own })).toMatchObject({
      code: 2, text: expect.stringContaining('PGlite is for one process'),
    });
  });

  it('refuses a Redis that throws messages away when its memory is short', async () => {
    await services.redis.command('CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru');
    const answer = run('scheduler', [], services.host('h1'));
    await services.redis.command('CONFIG', 'SET', 'maxmemory-policy', 'noeviction');
    expect(answer).toMatchObject({ code: 2, text: expect.stringContaining('noeviction') });
  });

  it('G2: takes settings from file, environment and flags; is alone on its host; is seen by status; ends with SIGTERM', async () => {
    const { NOVACT_MASTER_KEY: masterKey = '', ...settings } = services.host('h1');
    const file = join(services.folder, 'settings.toml');
    const opsPort = await freePort();
    writeFileSync(file, `master_key = "${masterKey}"\nops_port = 1\n`);
    const role = await startRole({ role: 'network', host: 'h1', settings: { ...settings, NOVACT_CONFIG: file, NOVACT_OPS_PORT: String(opsPort) } });
    const health = await fetch(`http://127.0.0.1:${opsPort}/health`);
    expect([health.status, await health.json()]).toEqual([200, {
      status: 'ok', checks: ['database', 'mailboxes', 'directory'].map((name) => ({ name, ok: true })),
    }]);
    const second = run('network', ['--ops-port', String(await freePort())], services.host('h1'));
    expect(second).toMatchObject({ code: 2, text: expect.stringContaining(`in use by process ${role.pid()} (novact role network)`) });
    expect(run(undefined, ['up', '--api-port', String(await freePort())], services.host('h1'))).toMatchObject({
      code: 2, text: expect.stringContaining('novact role network'),
    });
    const status = JSON.parse(run(undefined, ['status', '--json'], services.host('h1')).text) as { role: string; pid: number; isReady: boolean };
    expect(status).toMatchObject({ role: 'network', pid: role.pid(), isReady: true });
    expect(await services.redis.command('HVALS', 'nv:{dir:network}:live')).toContain('"host":"h1"');
    expect(await role.stop()).toBe(0);
    expect(await services.redis.command('HVALS', 'nv:{dir:network}:live')).toBe('');
    expect(run(undefined, ['status'], services.host('h1'))).toMatchObject({ code: 3 });
  });

  it('refuses a master key that is not the cloud\'s, and makes none where the cloud has one', () => {
    const other = join(services.folder, 'other.key');
    writeFileSync(other, randomBytes(32), { mode: 0o600 });
    const known = readFileSync(other);
    expect(run('compute', ['--master-key', other], services.host('h2'))).toMatchObject({ code: 2, text: expect.stringContaining('not the one of this cloud') });
    expect(readFileSync(other)).toEqual(known);
    const missing = join(services.folder, 'none.key');
    expect(run('compute', ['--master-key', missing], services.host('h2'))).toMatchObject({ code: 2, text: expect.stringContaining('there is no master key') });
    expect(() => readFileSync(missing)).toThrow('ENOENT');
  });
});
