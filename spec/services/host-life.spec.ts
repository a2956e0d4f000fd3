// M6 with real processes: a compute role that is stopped for a while (SIGSTOP) or killed, on a cloud of two hosts over Redis and PostgreSQL.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hosts, instances } from '../../src/db/schema/all.ts';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { waitFor } from '../support/patience.ts';
import { textsOf } from '../support/plain-ec2.ts';
import { startRoleCloud, type RoleCloud } from '../support/role-cloud.ts';
import type { RoleProcess } from '../support/role-process.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const patienceMs = 60_000;
let cloud: RoleCloud;

const computeOn = (host: string): RoleProcess => {
  const role = cloud.roles.find((one) => one.role === 'compute' && one.host === host);
  if (role === undefined) throw new Error(`no compute on ${host}`);
  return role;
};

async function rows(): Promise<(typeof instances.$inferSelect)[]> {
  return cloud.database.db.select().from(instances);
}

async function launch(count: number): Promise<string[]> {
  const { text } = await cloud.ec2.call('RunInstances', { ImageId: cloud.imageId, InstanceType: 'm1.tiny', MinCount: String(count), MaxCount: String(count) });
  const ids = textsOf(text, 'instanceId');
  await waitFor('they run', { timeoutMs: patienceMs }, async () => (
    (await rows()).filter((row) => ids.includes(row.id) && row.state === 'running').length === count ? true : undefined
  ));
  return ids;
}

const isDown = async (host: string): Promise<boolean> => {
  const [row] = await cloud.database.db.select().from(hosts).where(eq(hosts.name, host));
  return row !== undefined && row.downSince !== null;
};

describe.skipIf(obstacle !== undefined)(`hosts of role processes${obstacle === undefined ? '' : ` (skipped: ${obstacle})`}`, () => {
  beforeAll(async () => {
    cloud = await startRoleCloud('hostlife');
  }, 180_000);
  afterAll(() => cloud?.close());

  const ends = ['paused', 'killed'] as const;
  it.each(ends)('M6: a compute role that is %s is down in time, its guests are shown truly, and run again when it is back', async (how) => {
    const ids = await launch(4);
    const here = (await rows()).filter((row) => ids.includes(row.id) && row.host === 'h1').map(({ id }) => id);
    const there = ids.filter((id) => !here.includes(id));
    expect(here.length).toBeGreaterThan(0);
    const startedAt = performance.now();
    if (how === 'paused') computeOn('h1').pause();
    else await computeOn('h1').kill9();
    await waitFor('h1 is down', { timeoutMs: patienceMs }, async () => (await isDown('h1') ? true : undefined));
    expect(performance.now() - startedAt).toBeLessThan(20_000); // service_down is 10 s
    const { text } = await cloud.ec2.call('DescribeInstances', { 'Filter.1.Name': 'instance-id', 'Filter.1.Value.1': here[0] ?? '' });
    expect(text).toContain('<name>stopped</name>');
    expect(text).toContain('Server.HostUnavailable');
    expect((await rows()).filter((row) => there.includes(row.id)).every(({ state }) => state === 'running')).toBe(true);
    for (const id of await launch(2)) expect((await rows()).find((row) => row.id === id)?.host).toBe('h2');
    if (how === 'paused') computeOn('h1').resume();
    else await computeOn('h1').start();
    await waitFor('h1 is up, and its guests run', { timeoutMs: patienceMs }, async () => {
      const lost = (await rows()).filter((row) => here.includes(row.id));
      return !(await isDown('h1')) && lost.every(({ state, hostLost, host }) => state === 'running' && !hostLost && host === 'h1') ? true : undefined;
    });
  }, 180_000);
});
