// G6: every role is restarted while launches go on. G2: what a launcher does with signals, settings and mistakes is in launchers-start.spec.ts.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { sql } from 'drizzle-orm';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { waitFor } from '../support/patience.ts';
import { startClients, startRoleCloud, type RoleCloud } from '../support/role-cloud.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const patienceMs = 60_000;
let cloud: RoleCloud;

interface Leftover {
  readonly what: string;
  readonly count: number;
}

/** What a cloud without instances must not have. */
async function leftovers(): Promise<Leftover[]> {
  const rows = await cloud.database.db.execute(sql`
    select 'operations' as what, count(*)::int as count from operations where state not in ('done', 'failed')
    union all select 'instances', count(*)::int from instances where state <> 'terminated'
    union all select 'claims', coalesce(sum(claimed_cores + claimed_memory_mib + claimed_disk_gib), 0)::int from hosts
    union all select 'addresses', count(*)::int from fixed_addresses where instance_id is not null
    union all select 'outbox', count(*)::int from outbox`);
  return (rows as unknown as Leftover[]).filter(({ count }) => count > 0);
}

async function countInstances(): Promise<number> {
  const [row] = (await cloud.database.db.execute(sql`select count(*)::int as count from instances`)) as unknown as { count: number }[];
  return row?.count ?? -1;
}

const nothingLeft = () => waitFor('nothing is left', { timeoutMs: patienceMs }, async () => {
  const left = await leftovers();
  if (left.length === 0) return true;
  throw new Error(JSON.stringify(left));
});

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'role processes' : `role processes (skipped: ${obstacle})`, () => {
  beforeAll(async () => {
    cloud = await startRoleCloud('launchers');
  }, 180_000);
  afterAll(() => cloud?.close());
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${await cloud?.complaints()}\n`);
  });

  it('are restarted one after another while launches go on: not one call fails, nothing is stuck (G6)', async () => {
    const clients = startClients(cloud, { count: 3, retries: false, patienceMs });
    await waitFor('launches go on', { timeoutMs: patienceMs }, async () => (clients.launched.size >= 3 ? true : undefined));
    try {
      for (const role of cloud.roles) {
        expect([role.role, await role.stop()]).toEqual([role.role, 0]);
        await role.start();
      }
    } finally {
      await clients.stop();
    }
    expect(clients.failures).toEqual([]);
    const expected = new Set(['pending', 'running', 'shutting-down', 'terminated']);
    for (const [id, states] of clients.launched) expect([id, states.filter((state) => !expected.has(state))]).toEqual([id, []]);
    expect(clients.launched.size).toBeGreaterThan(3);
    await nothingLeft();
  }, 240_000);

  it('are killed one after another while launches go on: calls may fail, but nothing is stuck or doubled', async () => {
    const before = await countInstances();
    const clients = startClients(cloud, { count: 3, retries: true, patienceMs });
    await waitFor('launches go on', { timeoutMs: patienceMs }, async () => (clients.launched.size >= 3 ? true : undefined));
    try {
      for (const role of cloud.roles) {
        await role.kill9();
        await role.start();
      }
    } finally {
      await clients.stop();
    }
    await nothingLeft();
    expect(await countInstances()).toBe(before + clients.launched.size);
  }, 240_000);

  it('go on when Redis was away: calls were answered or told 503, and what was accepted is done (M5)', async () => {
    const clients = startClients(cloud, { count: 3, retries: true, patienceMs });
    await waitFor('launches go on', { timeoutMs: patienceMs }, async () => (clients.launched.size >= 3 ? true : undefined));
    await cloud.services.redis.kill9();
    await waitFor('every role has noticed', { timeoutMs: patienceMs }, async () => {
      const healths = await Promise.all(cloud.roles.map(({ opsPort }) => fetch(`http://127.0.0.1:${opsPort}/health`)));
      return healths.every(({ status }) => status === 503) ? true : undefined;
    });
    // Longer than a lease of the directory and than the silence after which a host counts as down.
    await new Promise((resolve) => { setTimeout(resolve, 12_000); });
    await cloud.services.redis.start();
    await clients.stop();
    expect(clients.failures.filter((text) => !/ (503|0) /.test(text))).toEqual([]);
    await nothingLeft();
    await waitFor('every role is well again', { timeoutMs: patienceMs }, async () => {
      const healths = await Promise.all(cloud.roles.map(({ opsPort }) => fetch(`http://127.0.0.1:${opsPort}/health`)));
      return healths.every(({ status }) => status === 200) ? true : undefined;
    });
  }, 240_000);
});
