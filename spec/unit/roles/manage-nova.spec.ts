// What `novact manage` has because nova-manage had it: its categories, and what the smaller ones do.
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createManage, type ManageAnswer } from '../../../src/api/ops/perform-manage.ts';
import { AuthManager } from '../../../src/auth/manager.ts';
import { expandWords } from '../../../src/cli/manage.ts';
import { instanceSecurityGroups } from '../../../src/db/schema/instances.ts';
import { ensureDefaultGroup, insertGroup } from '../../../src/db/security-groups.ts';
import { createDbAuthDriver } from '../../../src/drivers/auth/db.ts';
import { systemClock as clock } from '../../../src/lib/clock.ts';
import { newId } from '../../../src/lib/ids.ts';
import { createLog } from '../../../src/lib/log.ts';
import { createSealer } from '../../../src/lib/sealed.ts';
import type { ManageDeps } from '../../../src/roles/manage/deps.ts';
import { manageCommands } from '../../../src/roles/manage/index.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addInstance, cloudRows, type CloudRows } from '../../support/instance-rows.ts';
import { waitFor } from '../../support/patience.ts';

let database: TestDatabase;
let cloud: CloudRows;
let state: string;
let ask: (category: string, verb: string, args?: Record<string, unknown>) => Promise<ManageAnswer>;

beforeAll(async () => {
  database = await createTestDatabase();
  state = mkdtempSync(join(tmpdir(), 'novact-manage-nova-'));
  cloud = await cloudRows(database.db, { cidr: '10.45.0.0/28', gateway: '10.45.0.1' });
  await addInstance(database.db, cloud, { id: 'i-00000000000000001', mac: '02:16:3e:00:00:01', address: '10.45.0.2', host: 'h1' });
  await addInstance(database.db, cloud, { id: 'i-00000000000000002', mac: '02:16:3e:00:00:02', address: '10.45.0.3', host: 'h2' });
  const auth = new AuthManager({ driver: createDbAuthDriver({ db: database.db, clock }), sealer: createSealer(Buffer.alloc(32, 7)) });
  const perform = createManage(manageCommands, { db: database.db, auth, clock, settings: { state } } as unknown as ManageDeps);
  ask = (category, verb, args = {}) => perform({ category, verb, args });
});
afterAll(async () => {
  await database.close();
  rmSync(state, { recursive: true, force: true });
});

async function done(...wanted: Parameters<typeof ask>): Promise<unknown> {
  const answer = await ask(...wanted);
  return answer.outcome === 'done' ? answer.result : answer;
}

/** nova-manage's categories and what each did, by what it is called here. */
const ofNova: Readonly<Record<string, readonly string[]>> = {
  user: ['create', 'delete', 'exports', 'list', 'modify', 'revoke'],
  project: ['add', 'create', 'modify', 'delete', 'environment', 'list', 'remove', 'scrub', 'zipfile'],
  role: ['add', 'has', 'remove'],
  shell: ['run', 'script'],
  vpn: ['list', 'create'],
  fixed: ['list'],
  floating: ['create', 'delete', 'list'],
  network: ['create', 'list', 'delete'],
  vm: ['list', 'live_migration'],
  service: ['list'],
  host: ['enable', 'disable', 'resources'],
  log: ['request', 'errors'],
  db: ['sync', 'version'],
  volume: ['delete'],
  instance_type: ['create', 'delete', 'list'],
  config: ['list'],
  image: ['all_register', 'image_register', 'kernel_register', 'ramdisk_register'],
};

it.each(Object.entries(ofNova))('G1: %s is a category, with what Nova had in it', (category, verbs) => {
  const known = new Set([...manageCommands.map((each) => `${each.category} ${each.verb}`), 'shell run', 'shell script']);
  expect(verbs.map((verb) => expandWords([category, verb], manageCommands).join(' ')).filter((words) => !known.has(words))).toEqual([]);
});

describe('G1: of instances and addresses', () => {
  it('it says who has which address, and which instances a host has', async () => {
    const taken = (await done('fixed', 'list')) as object[];
    expect(taken).toMatchObject([
      { address: '10.45.0.2', cidr: '10.45.0.0/28', holder: 'i-00000000000000001', project: cloud.projectId, host: 'h1' },
      { address: '10.45.0.3', holder: 'i-00000000000000002', host: 'h2' },
    ]);
    expect(await done('fixed', 'list', { host: 'h2' })).toEqual([taken[1]]);
    expect(await done('fixed', 'list', { network: 'another' })).toEqual([]);
    expect(await done('vm', 'list', { host: 'h1' })).toMatchObject([{ id: 'i-00000000000000001', host: 'h1', address: '10.45.0.2' }]);
    expect(await ask('vm', 'live-migration', { id: 'i-0000000000000000f', to: 'h2' })).toMatchObject({ outcome: 'refused' });
  });

  it('it takes away what a project has left, but nothing that is used', async () => {
    const { projectId } = cloud;
    const used = await ensureDefaultGroup(database.db, projectId, clock.date());
    await database.db.insert(instanceSecurityGroups).values({ instanceId: 'i-00000000000000001', groupId: used.id });
    await insertGroup(database.db, { id: newId('sg'), projectId, name: 'one', description: '', vpcId: null, createdAt: clock.date() },
      { tags: [], quota: 10 });
    expect(await ask('project', 'scrub', { project: 'project' })).toMatchObject({
      outcome: 'refused', message: `project: no network and 1 security groups are gone, but the group default (${used.id}) is used`,
    });
    await database.db.delete(instanceSecurityGroups);
    expect(await done('project', 'scrub', { project: 'project' })).toBe('project: no network and 1 security groups are gone');
    expect(await ask('project', 'scrub', { project: 'nobodys' })).toMatchObject({ outcome: 'refused' });
  });

  it('it says whether the schema is that of this release', async () => {
    expect(await done('db', 'sync')).toBe(`the schema is that of this release: ${String(await done('db', 'version'))}`);
  });
});

/** Written, and on disk: a log takes its time. */
const untilWritten = (name: string, lines: number) => waitFor(`${name} has ${lines} lines`, { timeoutMs: 40_000 }, async () => (
  readFileSync(join(state, name), 'utf8').split('\n').length === lines + 1 ? true : undefined
));

describe('G4: of logs', { timeout: 60_000 }, () => {
  it('it shows all lines of one request, of whichever process, and the last errors', async () => {
    const [api, compute] = ['novact-api.log', 'novact-compute.log'].map((name) => createLog({ level: 'debug', file: join(state, name) }));
    api?.info({ requestId: 'req-11111111', userName: 'ann', projectId: cloud.projectId, action: 'RunInstances', secretKey: 'geheim' }, 'request');
    compute?.error({ requestId: 'req-11111111', err: new Error('no disk') }, 'the flow failed');
    compute?.warn({ requestId: 'req-22222222' }, 'slow');
    for (const log of [api, compute]) log?.flush();
    await untilWritten('novact-api.log', 1);
    await untilWritten('novact-compute.log', 2);
    appendFileSync(join(state, 'novact-compute.log'), '{"level":50,"time":"cut of');
    writeFileSync(join(state, 'novact.log.1'), `${JSON.stringify({ level: 50, time: '2020-01-01T00:00:00.000Z', msg: 'an old one' })}\n`);
    writeFileSync(join(state, 'other.log'), `${JSON.stringify({ level: 50, time: '2020-01-01T00:00:00.000Z', msg: 'not ours' })}\n`);
    const lines = (await done('logs', 'request', { requestId: 'req-11111111' })) as { more: string }[];
    expect(lines).toMatchObject([
      { level: 'info', from: 'novact-api', message: 'request', more: expect.stringContaining(`userName=ann projectId=${cloud.projectId} action=RunInstances`) },
      { level: 'error', from: 'novact-compute', message: 'the flow failed: no disk' },
    ]);
    expect(JSON.stringify(lines)).not.toContain('geheim');
    expect(await done('logs', 'errors')).toMatchObject([{ message: 'an old one' }, { requestId: 'req-11111111' }]);
    expect(await done('logs', 'errors', { count: 1, warnings: true })).toMatchObject([{ requestId: 'req-22222222', level: 'warn' }]);
    expect(await ask('logs', 'request', { requestId: '.*' })).toMatchObject({ outcome: 'refused' });
  });

  it('they go on in a file that logrotate has copied and cut, from its beginning', async () => {
    const log = createLog({ level: 'info', file: join(state, 'novact-network.log') });
    for (const message of ['before', 'after']) {
      log.info(message);
      log.flush();
      await untilWritten('novact-network.log', 1);
      expect(readFileSync(join(state, 'novact-network.log'), 'utf8')).toMatch(new RegExp(`^\\{.*"msg":"${message}"\\}\n$`));
      truncateSync(join(state, 'novact-network.log'));
    }
  });
});
