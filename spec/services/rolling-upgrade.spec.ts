// From the last release to this one, process by process: all roles of the kept build, of which one after another ends and starts as today's, while
// customers use EC2 and S3 without pause. In the order that the guide gives (who is asked before who asks) and in the other one, so that
// messages go from old to new and from new to old.
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { sql } from 'drizzle-orm';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RoleName } from '../../src/config/options.ts';
import { postgresObstacle } from '../../src/drivers/postgres/cluster.ts';
import { redisObstacle } from '../../src/drivers/redis/server.ts';
import { groupBy } from '../../src/lib/group-by.ts';
import { builtReleases, lastMigration, unpackRelease, type ReleaseBuild } from '../support/kept-release.ts';
import { waitFor } from '../support/patience.ts';
import { textsOf } from '../support/plain-ec2.ts';
import type { PlainAnswer } from '../support/plain-http.ts';
import type { RoleProcess } from '../support/role-process.ts';
import { countInstances, startClients, startRoleCloud, untilNothingIsLeft, type RoleCloud } from '../support/role-cloud.ts';

const obstacle = postgresObstacle() ?? redisObstacle();
const patienceMs = 120_000;
const today = (JSON.parse(readFileSync(resolve(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }).version;

let old: ReleaseBuild | undefined;
let cloud: RoleCloud | undefined;
afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') process.stderr.write(`${await cloud?.complaints()}\n`);
  await cloud?.close();
  old?.remove();
});

type Rows = readonly Readonly<Record<string, unknown>>[];

/** SQL, not tables of today's schema: until the first role of today's has started, the schema is the old one. */
const rowsOf = async (of: RoleCloud, query: ReturnType<typeof sql>): Promise<Rows> => (await of.database.db.execute(query)) as unknown as Rows;

/**
 * Calls without an answer. A connection that the kernel has taken for a process in the moment in which the process closes its socket is reset, and
 * whoever made it repeats the call, as all clients of AWS do.
 */
let resets: string[] = [];
beforeEach(() => {
  resets = [];
});

async function unlessReset(what: string, ask: () => Promise<PlainAnswer>): Promise<PlainAnswer> {
  try {
    return await ask();
  } catch (error) {
    resets.push(`${what}: ${String(error)}`);
    return ask();
  }
}

/** A call that may not fail. */
async function call(of: RoleCloud, action: string, parameters: Readonly<Record<string, string>>): Promise<string> {
  const answer = await unlessReset(action, () => of.ec2.call(action, parameters));
  expect([action, answer.status, answer.code]).toEqual([action, 200, undefined]);
  return answer.text;
}

async function untilState(of: RoleCloud, id: string, wanted: string): Promise<void> {
  await waitFor(`${id} is ${wanted}`, { timeoutMs: patienceMs }, async () => {
    const text = await call(of, 'DescribeInstances', { 'InstanceId.1': id });
    return textsOf(/<instanceState>.*?<\/instanceState>/s.exec(text)?.[0] ?? '', 'name')[0] === wanted ? true : undefined;
  });
}

async function launch(of: RoleCloud, group: string): Promise<string> {
  const text = await call(of, 'RunInstances', { ImageId: of.imageId, InstanceType: 't2.nano', MinCount: '1', MaxCount: '1', 'SecurityGroup.1': group });
  const [id = ''] = textsOf(text, 'instanceId');
  await untilState(of, id, 'running');
  return id;
}

/** What the API has done for it by others: messages to each role, and answers from them. */
async function useInstance(of: RoleCloud, id: string): Promise<void> {
  expect(textsOf(await call(of, 'GetConsoleOutput', { InstanceId: id }), 'output').join('')).not.toBe('');
  await call(of, 'RebootInstances', { 'InstanceId.1': id });
  await waitFor(`${id} is rebooted`, { timeoutMs: patienceMs }, async () => {
    const rows = await rowsOf(of, sql`select state from operations where resource_id = ${id} and kind = 'instance.reboot'`);
    return rows.every(({ state }) => state === 'done') ? true : undefined;
  });
  await call(of, 'StopInstances', { 'InstanceId.1': id });
  await untilState(of, id, 'stopped');
  await call(of, 'StartInstances', { 'InstanceId.1': id });
  await untilState(of, id, 'running');
}

/** A life from beginning to end, with a firewall that is changed meanwhile. */
async function liveOnce(of: RoleCloud, group: string): Promise<string> {
  await call(of, 'CreateSecurityGroup', { GroupName: group, GroupDescription: 'of one stage' });
  const id = await launch(of, group);
  await call(of, 'AuthorizeSecurityGroupIngress', {
    GroupName: group, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': '22', 'IpPermissions.1.ToPort': '22',
    'IpPermissions.1.IpRanges.1.CidrIp': '192.0.2.0/24',
  });
  await useInstance(of, id);
  await call(of, 'TerminateInstances', { 'InstanceId.1': id });
  await untilState(of, id, 'terminated');
  await call(of, 'DeleteSecurityGroup', { GroupName: group });
  return id;
}

/** Which release each process is of, by its own word; a role whose processes are not of one release is named with all. */
function releasesOf(of: RoleCloud): Record<string, string> {
  const releaseOf = (one: RoleProcess): string => [...one.output().matchAll(new RegExp(`^novact-${one.role} (\\d\\S*)`, 'gm'))].at(-1)?.[1] ?? 'none';
  const byRole = [...groupBy(of.roles, ({ role }) => role)];
  return Object.fromEntries(byRole.map(([role, processes]) => [role, [...new Set(processes.map(releaseOf))].join(' and ')]));
}

interface Storing {
  readonly failures: readonly string[];
  objects(): number;
  stop(): Promise<void>;
}

/** Stores an object, reads it, lists it, removes it, and begins again. */
function startStoring(of: RoleCloud, bucket: string): Storing {
  const failures: string[] = [];
  let objects = 0;
  const stopping = new AbortController();
  const ask = async (method: string, path: string, wanted: number, body?: string): Promise<string> => {
    const answer = await unlessReset(`${method} ${path}`, () => of.s3.call(method, path, body)).catch((error: unknown) => ({ status: 0, text: String(error) }));
    if (answer.status !== wanted) failures.push(`${method} ${path}: ${answer.status} ${answer.text.slice(0, 200)}`);
    return answer.text;
  };
  const work = async (): Promise<void> => {
    while (!stopping.signal.aborted) {
      const [key, content] = [randomUUID(), randomUUID().repeat(100)];
      await ask('PUT', `/${bucket}/${key}`, 200, content);
      if ((await ask('GET', `/${bucket}/${key}`, 200)) !== content) failures.push(`${key} has another content`);
      if (!(await ask('GET', `/${bucket}?prefix=${key}`, 200)).includes(key)) failures.push(`${key} is not listed`);
      await ask('DELETE', `/${bucket}/${key}`, 204);
      objects += 1;
      await pause(100); // or one core of the machine does nothing else
    }
  };
  const done = work();
  return {
    failures, objects: () => objects,
    async stop() {
      stopping.abort();
      await done;
    },
  };
}

/** What somebody did not understand or could not do. An ask that came too late is none of it: who asked asks again. */
async function deadLetters({ services: { redis } }: RoleCloud): Promise<readonly string[]> {
  const keys = (await redis.command('KEYS', 'nv:*:dlq')).split('\n').filter((key) => key !== '');
  const lines = await Promise.all(keys.map(async (key) => (await redis.command('XRANGE', key, '-', '+')).split('\n').filter((line) => line.startsWith('{'))));
  return lines.flat().filter((line) => (JSON.parse(line) as { reason: string }).reason !== 'expired');
}

const guestsOn = ({ services }: RoleCloud, host: string): string[] => readdirSync(join(services.folder, host, 'sim'));

const workersFirst: readonly RoleName[] = ['network', 'compute', 'scheduler', 'api', 'objectstore'];

interface Upgrade {
  readonly name: string;
  readonly order: readonly RoleName[];
  readonly layout: readonly (readonly [RoleName, string])[];
}

const upgrades: readonly Upgrade[] = [
  {
    name: 'in the order of the guide', order: workersFirst,
    layout: workersFirst.flatMap((role) => [[role, 'h1'], [role, role === 'objectstore' ? 'h1' : 'h2']] as const), // of objects there is one folder
  },
  {
    name: 'in the other order', order: workersFirst.toReversed(),
    layout: [...workersFirst.map((role) => [role, 'h1'] as const), ['api', 'h2'], ['objectstore', 'h1']],
  },
];

describe.skipIf(obstacle !== undefined)(`an upgrade process by process${obstacle === undefined ? '' : ` (skipped: ${obstacle})`}`, () => {
  it.each(upgrades)('G6: $name: no call is answered by an error, nothing is lost, doubled or stuck; the old starts no more', async ({ order, layout }) => {
    const release = (old = unpackRelease(builtReleases.at(-1) ?? ''));
    const running = (cloud = await startRoleCloud('rolling', { layout, release, serviceDownSeconds: 60 }));
    expect(releasesOf(running)).toEqual(Object.fromEntries(order.map((role) => [role, release.release])));
    await call(running, 'CreateSecurityGroup', { GroupName: 'kept', GroupDescription: 'of before' });
    const kept = await launch(running, 'kept');
    const [before] = await rowsOf(running, sql`select host, mac, state_changed_at from instances where id = ${kept}`);
    expect((await running.s3.call('PUT', '/upgrade')).status).toBe(200);
    expect((await running.s3.call('PUT', '/upgrade/kept', 'of before')).status).toBe(200);

    const clients = startClients(running, { count: 2, retries: true, patienceMs });
    const storing = startStoring(running, 'upgrade');
    const lives: string[] = [];
    const upgraded = new Set<RoleName>();
    try {
      for (const role of order) {
        for (const one of running.roles.filter((each) => each.role === role)) {
          expect([role, await one.stop()]).toEqual([role, 0]);
          await one.start();
        }
        upgraded.add(role);
        expect(releasesOf(running)).toEqual(Object.fromEntries(order.map((each) => [each, upgraded.has(each) ? today : release.release])));
        lives.push(await liveOnce(running, `after-${role}`));
      }
    } finally {
      await Promise.all([clients.stop(), storing.stop()]);
    }
    expect(storing.failures).toEqual([]);
    const isReset = (failure: string): boolean => /: 0 Error: (socket hang up|read ECONNRESET|write ECONNRESET|write EPIPE)/.test(failure);
    expect(clients.failures.filter((failure) => !isReset(failure))).toEqual([]);
    const servers = layout.filter(([role]) => role === 'api' || role === 'objectstore');
    expect(resets.length + clients.failures.length, resets.join('\n')).toBeLessThanOrEqual(servers.length);
    expect(storing.objects()).toBeGreaterThan(order.length);
    expect(clients.launched.size).toBeGreaterThan(order.length);
    const expected = new Set(['pending', 'running', 'shutting-down', 'terminated']);
    for (const [id, states] of clients.launched) expect([id, states.filter((state) => !expected.has(state))]).toEqual([id, []]);

    // What the old release made is today's as well.
    expect((await rowsOf(running, sql`select host, mac, state_changed_at from instances where id = ${kept}`))[0]).toEqual(before);
    await useInstance(running, kept);
    expect((await running.s3.call('GET', '/upgrade/kept')).text).toBe('of before');
    await call(running, 'TerminateInstances', { 'InstanceId.1': kept });
    await untilNothingIsLeft(running, patienceMs);
    expect(await countInstances(running)).toBe(clients.launched.size + lives.length + 1);
    expect(await deadLetters(running)).toEqual([]);
    for (const [role, host] of layout) if (role === 'compute') expect([host, guestsOn(running, host)]).toEqual([host, []]);

    await expectRefusal(running, release);
  }, 1_200_000);
});

/** On the schema of today, a process of the old release does not even begin. */
async function expectRefusal(of: RoleCloud, release: ReleaseBuild): Promise<void> {
  // Right after a release both have the same one: then it is marked as changed by a later one.
  if (release.lastMigration === lastMigration) {
    await rowsOf(of, sql`insert into drizzle.__drizzle_migrations (hash, created_at) values ('of the future', 4000000000000)`);
  }
  const [one] = of.roles;
  expect(await one?.stop()).toBe(0);
  await expect(one?.start(release)).rejects.toThrow(/the database has the schema of a newer release[\s\S]*Start that release or a later one/);
}
