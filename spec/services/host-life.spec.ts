// M6 with real processes: a compute role that is stopped for a while (SIGSTOP) or killed, on a cloud of two hosts over Redis and PostgreSQL.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { eq, inArray } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hosts, instances } from '../../src/db/schema/all.ts';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { waitFor } from '../support/patience.ts';
import { textsOf } from '../support/plain-ec2.ts';
import { productCommand } from '../support/product-command.ts';
import { startRoleCloud, type RoleCloud } from '../support/role-cloud.ts';
import type { RoleProcess } from '../support/role-process.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const patienceMs = 60_000;
let cloud: RoleCloud;

function roleOn(host: string, name: RoleProcess['role']): RoleProcess {
  const role = cloud.roles.find((one) => one.role === name && one.host === host);
  if (role === undefined) throw new Error(`no ${name} on ${host}`);
  return role;
}

const computeOn = (host: string): RoleProcess => roleOn(host, 'compute');

/** As an operator on that host. */
async function manage(host: string, ...args: readonly string[]): Promise<void> {
  const { command: [program, ...first], environment } = productCommand();
  const env = { ...environment, ...roleOn(host, 'api').settings };
  await createRun({ log: silentLog })(program, [...first, 'manage', ...args], { env, timeoutMs: patienceMs });
}

/** What runs on that host, by the files in which its simulated guests outlive their process. */
async function guestsOn(host: string): Promise<string[]> {
  const folder = join(cloud.services.folder, host, 'sim');
  const files = (await readdir(folder)).filter((file) => file.endsWith('.json'));
  const guests = await Promise.all(files.map(async (file) => JSON.parse(await readFile(join(folder, file), 'utf8')) as SimGuest));
  return guests.filter(({ isRunning }) => isRunning).map(({ spec }) => spec.instanceId);
}

interface SimGuest {
  readonly spec: { readonly instanceId: string };
  readonly isRunning: boolean;
}

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
    expect(performance.now() - startedAt).toBeLessThan(30_000); // service_down is 10 s, and 60 s where nothing is said
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

  it('M6: a host that is paused for 90 s wakes, and does nothing to instances that another host has by then', async () => {
    const ids = await launch(4);
    const here = (await rows()).filter((row) => ids.includes(row.id) && row.host === 'h1').map(({ id }) => id);
    expect(here.length).toBeGreaterThan(0);
    expect(await guestsOn('h1')).toEqual(expect.arrayContaining(here));
    const sleepers = [computeOn('h1'), roleOn('h1', 'network')];
    const wakesAt = performance.now() + 90_000;
    for (const role of sleepers) role.pause();
    await waitFor('h1 is down', { timeoutMs: patienceMs }, async () => (await isDown('h1') ? true : undefined));
    await manage('h2', 'host', 'evacuate', 'h1', '--rebuild');
    const theirs = () => cloud.database.db.select().from(instances).where(inArray(instances.id, here)).orderBy(instances.id);
    await waitFor('they run on h2', { timeoutMs: patienceMs }, async () =>
      ((await theirs()).every(({ host, state }) => host === 'h2' && state === 'running') ? true : undefined));
    await pause(wakesAt - performance.now());
    const before = await theirs();
    for (const role of sleepers) role.resume();
    await waitFor('h1 is up, and has cleared its own away', { timeoutMs: patienceMs }, async () => {
      const guests = await guestsOn('h1');
      return !(await isDown('h1')) && here.every((id) => !guests.includes(id)) ? true : undefined;
    });
    expect(await theirs()).toEqual(before);
    expect(await guestsOn('h2')).toEqual(expect.arrayContaining(here));
  }, 300_000);
});
