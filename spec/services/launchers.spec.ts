// Roles as processes: each is restarted and killed while launches go on, and all lose Redis and PostgreSQL for a minute. What a launcher does
// with signals, settings and mistakes is in launchers-start.spec.ts.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { waitFor } from '../support/patience.ts';
import { textsOf } from '../support/plain-ec2.ts';
import { countInstances, startClients, startRoleCloud, untilNothingIsLeft, type RoleCloud } from '../support/role-cloud.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const patienceMs = 60_000;
const outageMs = 60_000;
let cloud: RoleCloud;

const nothingLeft = () => untilNothingIsLeft(cloud, patienceMs);

describe.skipIf(obstacle !== undefined)(obstacle === undefined ? 'role processes' : `role processes (skipped: ${obstacle})`, () => {
  beforeAll(async () => {
    // A role needs more than 10 s for its start where all cores are busy: its host is not down for that. An outage lasts longer.
    cloud = await startRoleCloud('launchers', { serviceDownSeconds: 30 });
  }, 180_000);
  afterAll(() => cloud?.close());
  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') process.stderr.write(`${await cloud?.complaints()}\n`);
  });

  it('G6: are restarted one after another while launches go on: not one call fails, nothing is stuck', async () => {
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

  it('M3: are killed one after another while launches go on: calls may fail, but nothing is stuck or doubled', async () => {
    const before = await countInstances(cloud);
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
    expect(await countInstances(cloud)).toBe(before + clients.launched.size);
  }, 240_000);

  /** Takes a service away from roles that are at work, for longer than any lease, and than the silence after which a host counts as down. */
  async function outage(service: { stop(): Promise<void>; start(): Promise<void> }, answers: readonly number[]): Promise<void> {
    const clients = startClients(cloud, { count: 3, retries: true, patienceMs: outageMs + patienceMs });
    await waitFor('launches go on', { timeoutMs: patienceMs }, async () => (clients.launched.size >= 3 ? true : undefined));
    await service.stop();
    const seen = new Set<number>();
    try {
      await untilHealth(503, 'every role has noticed');
      for (const endsAt = Date.now() + outageMs; Date.now() < endsAt;) {
        const askedAt = Date.now();
        seen.add((await cloud.ec2.call('DescribeInstances', {})).status);
        expect(Date.now() - askedAt).toBeLessThan(30_000);
        await new Promise((resolve) => { setTimeout(resolve, 1_000); });
      }
    } finally {
      await service.start();
      await clients.stop();
    }
    expect([...seen].filter((status) => !answers.includes(status))).toEqual([]);
    expect(clients.failures.filter((text) => !/ (503|0) /.test(text))).toEqual([]);
    await nothingLeft();
    await untilHealth(200, 'every role is well again');
  }

  const untilHealth = (wanted: number, what: string) => waitFor(what, { timeoutMs: patienceMs }, async () => {
    const others = await Promise.all(cloud.roles.map(async (one) => {
      const status = await fetch(`http://127.0.0.1:${one.opsPort}/health`)
        .then((answer) => answer.status, (error: unknown) => `${String(error)}: ${one.output().slice(-800)}`);
      return status === wanted ? [] : [`${one.role}@${one.host}: ${status}`];
    }));
    if (others.flat().length > 0) throw new Error(others.flat().join('\n'));
    return true;
  });

  it('M5: go on when Redis was away for a minute: calls were answered or told 503, and what was accepted is done', () => {
    const { redis } = cloud.services;
    return outage({ stop: () => redis.kill9(), start: () => redis.start() }, [200, 503]);
  }, 300_000);

  it('D5: go on when PostgreSQL was away for a minute: calls were told 503, and what was accepted is done', () =>
    outage(cloud.services.database, [503]), 300_000);

  it('M11: one request is found in the logs of every process that had to do with it', async () => {
    const answer = await cloud.ec2.call('RunInstances', { ImageId: cloud.imageId, InstanceType: 't2.nano', MinCount: '1', MaxCount: '1' });
    const [requestId = 'none'] = textsOf(answer.text, 'requestId');
    const [id = ''] = textsOf(answer.text, 'instanceId');
    const byRole = ['api', 'compute', 'network', 'scheduler'];
    const found = await waitFor('the launch is done, and all have written of it', { timeoutMs: patienceMs }, async () => {
      const lines = await cloud.linesWith(requestId);
      const isDone = lines.some(({ msg }) => msg === 'operation done') && byRole.every((role) => lines.some(({ by }) => by.role === role));
      return isDone ? lines : undefined;
    });
    expect([...new Set(found.map(({ by }) => by.role))].toSorted()).toEqual(byRole);
    const [placed] = found.filter(({ msg }) => msg === 'instance placed');
    expect(placed).toMatchObject({ instance: id, requestId });
    for (const { by } of found) if (by.role === 'compute' || by.role === 'network') expect(by).toEqual({ ...by, host: placed?.['host'] });
    await cloud.ec2.call('TerminateInstances', { 'InstanceId.1': id });
    await nothingLeft();
  }, 120_000);
});
