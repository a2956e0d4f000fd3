// Hosts that fall silent, return, are drained and evacuated (M6, and the host life of issue 3), on simulated hosts.
import { randomBytes } from 'node:crypto';
import { and, eq } from 'drizzle-orm';
import { afterEach, describe, expect, it } from 'vitest';
import { downHostsWithWork, hostReturned, loseHost } from '../../src/db/host-life.ts';
import { requestHostWork, type HostOperationKind } from '../../src/db/host-work.ts';
import { fixedAddresses, hosts, instances, operations, outbox } from '../../src/db/schema/all.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { createFakeAuthDriver } from '../../src/drivers/auth/fake.ts';
import { createManage } from '../../src/api/ops/perform-manage.ts';
import { storyOf } from '../../src/db/overview.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import type { ManageDeps } from '../../src/roles/manage/deps.ts';
import { hostCommands } from '../../src/roles/manage/hosts.ts';
import { serviceCommands } from '../../src/roles/manage/services.ts';
import { createLocalDirectory } from '../../src/transport/local-directory.ts';
import { reconcileInstances } from '../../src/actors/compute/reconcile-instances.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import type { DomainSpec } from '../../src/drivers/hypervisor/driver.ts';
import { allOperations, createSimCloud, stateOf, type SimCloud, type SimCloudOptions, type SimHost } from '../support/sim-cloud.ts';
import { eventually as soon, gate } from '../support/waiting.ts';

let cloud: SimCloud;
afterEach(() => cloud.close());

const serviceDownMs = 800;

const hostNamed = (name: string): SimHost => {
  const host = cloud.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`no host ${name}`);
  return host;
};

const runsOn = (name: string, id: string): boolean => hostNamed(name).world.domains.get(id)?.state === 'running';
const stateIs = async (id: string, state: string): Promise<boolean> => (await stateOf(cloud, id))?.state === state;
const reconcile = (name: string) => reconcileInstances(hostNamed(name).compute, { hostRestarted: false, purge: true });
const isDown = async (name: string): Promise<boolean> => {
  const [row] = await cloud.database.db.select().from(hosts).where(eq(hosts.name, name));
  return row !== undefined && row.downSince !== null;
};

async function started(options: SimCloudOptions): Promise<void> {
  cloud = await createSimCloud({ serviceDownMs, ...options });
}

async function running(count: number, changes: Partial<typeof instances.$inferInsert> = {}): Promise<string[]> {
  const ids = await cloud.launch(count, changes);
  await soon(async () => (await Promise.all(ids.map((id) => stateIs(id, 'running')))).every(Boolean));
  return ids;
}

async function hostWork(kind: HostOperationKind, host: string, input: Record<string, unknown> = {}): Promise<string> {
  const wished = await requestHostWork(cloud.database.db, {
    kind, host, input, userId: 'joe', requestId: 'r', deadline: new Date(clock.now() + 60_000),
  }, clock.date());
  if ('refusal' in wished) throw new Error(wished.refusal);
  await cloud.launch(0).catch(() => undefined); // the relay looks by itself, too
  return wished.operationId;
}

const operationIs = async (id: string, state: string): Promise<boolean> =>
  (await allOperations(cloud)).some((operation) => operation.id === id && operation.state === state);

describe('a host that falls silent', () => {
  it('M6: is down within serviceDownSeconds, is disabled for placements, and its instances are shown as not running, with the reason', async () => {
    await started({ hosts: ['h1'] });
    const [id = ''] = await running(1);
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'stopped', hostLost: true, stateReasonCode: 'Server.HostUnavailable' });
    expect((await stateOf(cloud, id))?.stateReasonMessage).toMatch(/host h1 has not been heard of since .*adopted or started again when it returns/);
    const [other = ''] = await cloud.launch(1);
    await soon(() => stateIs(other, 'terminated'));
    expect(await stateOf(cloud, other)).toMatchObject({ stateReasonCode: 'Server.InsufficientInstanceCapacity', host: null });
  });

  it('returns, and its guests that ran on are adopted', async () => {
    await started({ hosts: ['h1'] });
    const [id = ''] = await running(1);
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
    await reconcile('h1');
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', hostLost: false, stateReasonCode: null });
  });

  it('returns without its guests, and those that ran are started again, the stopped are not', async () => {
    await started({ hosts: ['h1'] });
    const [lost = '', resting = ''] = await running(2);
    await cloud.wish(resting, 'instance.stop', 'stopping');
    await soon(() => stateIs(resting, 'stopped'));
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    hostNamed('h1').world.domains.clear();
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
    const { wake } = await reconcile('h1'); // finds nothing to do where the host, which noticed that it had slept, was faster
    expect(wake).not.toContain(resting);
    await soon(() => stateIs(lost, 'running'));
    expect(await stateOf(cloud, lost)).toMatchObject({ hostLost: false });
    expect(runsOn('h1', lost)).toBe(true);
    expect(await stateOf(cloud, resting)).toMatchObject({ state: 'stopped', hostLost: false });
    expect(runsOn('h1', resting)).toBe(false);
  });

  it('nobody is marked down after Redis was emptied or away, before they had the time to renew', async () => {
    await started({ hosts: ['h1', 'h2'] });
    cloud.board.clear();
    const emptiedAt = performance.now();
    await soon(async () => performance.now() - emptiedAt > serviceDownMs * 2);
    expect(await isDown('h1')).toBe(false);
    cloud.board.setAway(true);
    const awayAt = performance.now();
    await soon(async () => performance.now() - awayAt > serviceDownMs * 3);
    cloud.board.setAway(false);
    const backAt = performance.now();
    await soon(async () => performance.now() - backAt > serviceDownMs * 2);
    expect(await isDown('h1')).toBe(false);
    expect(await isDown('h2')).toBe(false);
  });

  it('a host that the directory has never known counts from the beginning of the watch', async () => {
    await started({ hosts: ['h1'] });
    await cloud.database.db.insert(hosts).values({
      name: 'ghost', zone: 'nova', hypervisor: 'sim', cores: 1, memoryMiB: 1, diskGiB: 1, bootId: 'b', updatedAt: clock.date(),
    });
    await soon(() => isDown('ghost'));
    expect(await isDown('h1')).toBe(false);
  });
});

describe('what becomes of work when its host is lost', () => {
  const lose = async (host: string) => loseHost(cloud.database.db, { host, since: clock.date() }, clock.date());

  it('C7: a launch that was not at its start goes to another host; the paused host wakes, changes nothing, and clears away what it had made', async () => {
    await started({ hosts: ['h1', 'h2'] });
    const { opened, open } = gate();
    const inHand: string[] = [];
    for (const name of ['h1', 'h2']) {
      const hypervisor = hostNamed(name).compute.hypervisor as { ensureDefined(domain: DomainSpec): Promise<void> };
      const ensureDefined = hypervisor.ensureDefined.bind(hypervisor);
      hypervisor.ensureDefined = async (domain) => {
        inHand.push(name);
        if (inHand[0] === name) await opened;
        await ensureDefined(domain);
      };
    }
    const [id = ''] = await cloud.launch(1);
    await soon(async () => inHand.length === 1);
    const [lost = ''] = inHand;
    const other = lost === 'h1' ? 'h2' : 'h1';
    hostNamed(lost).directory.setPaused(true);
    await soon(() => stateIs(id, 'running'));
    expect(await stateOf(cloud, id)).toMatchObject({ host: other, failedHosts: [lost], fence: 3 });
    open();
    await soon(async () => hostNamed(lost).world.domains.has(id));
    hostNamed(lost).directory.setPaused(false);
    await soon(async () => hostNamed(lost).compute.system.tree().every(({ kind, state }) => kind !== 'instance-work' || state !== 'busy'));
    expect(runsOn(lost, id)).toBe(false);
    await reconcile(lost);
    expect(hostNamed(lost).world.domains.has(id)).toBe(false);
    expect(hostNamed(lost).files.paths().filter((path) => path.includes(id))).toEqual([]);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: other });
    expect(runsOn(other, id)).toBe(true);
    expect(await cloud.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id))).toHaveLength(1);
    const [row] = await cloud.database.db.select().from(hosts).where(eq(hosts.name, lost));
    expect(row).toMatchObject({ claimedCores: 0, claimedMemoryMiB: 0, claimedDiskGiB: 0 });
  });

  it('several watchers at once do no more than one', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    const { db } = cloud.database;
    const ids = await cloud.launch(5);
    await db.update(instances).set({ host: 'h1', fence: 1 });
    await db.update(operations).set({ owner: 'compute@h1' });
    await db.delete(outbox);
    const results = await Promise.all([1, 2, 3, 4].map(() => lose('h1')));
    expect(results.filter((result) => result !== undefined)).toEqual([{ stopped: 0, handedBack: 5, ended: 0 }]);
    expect(await db.select().from(outbox)).toHaveLength(5);
    expect((await stateOf(cloud, ids[0] ?? ''))?.fence).toBe(2);
    expect(await Promise.all([1, 2, 3].map(() => hostReturned(db, 'h1', clock.date())))).toEqual(expect.arrayContaining([true, false, false]));
  });

  it('one that was stopping is stopped, also after the host returned with its guest running', async () => {
    await started({ hosts: ['h1'], sim: () => ({ deaf: () => true }), limits: { shutdownMs: 60_000 } });
    const [id = ''] = await running(1);
    await cloud.wish(id, 'instance.stop', 'stopping');
    hostNamed('h1').directory.setPaused(true);
    await soon(() => stateIs(id, 'stopped'));
    expect(await stateOf(cloud, id)).toMatchObject({ hostLost: false });
    expect(runsOn('h1', id)).toBe(true);
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
    await reconcile('h1');
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'stopped' }); // its stop is still at work
  });

  it('one that was to end has ended for its user; the host ends its guest when it returns, and only then its address is free', async () => {
    await started({ hosts: ['h1'] });
    const [id = ''] = await running(1);
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    const { db } = cloud.database;
    // The host cannot hear of it: the wish is written, and nobody performs it.
    await db.update(instances).set({ state: 'shutting-down', stateChangedAt: new Date(clock.now() - 60_000) }).where(eq(instances.id, id));
    await soon(() => stateIs(id, 'terminated'));
    expect(runsOn('h1', id)).toBe(true);
    const addresses = () => db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
    expect(await addresses()).toHaveLength(1);
    const [h1] = await db.select().from(hosts).where(eq(hosts.name, 'h1'));
    expect(h1).toMatchObject({ claimedCores: 0 });
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
    await reconcile('h1');
    expect(hostNamed('h1').world.domains.has(id)).toBe(false);
    expect(await addresses()).toHaveLength(0);
  });

  it('what is wished of a host that is down already is answered with what is known', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    const { db } = cloud.database;
    const [id = ''] = await cloud.launch(1);
    await db.update(instances).set({ host: 'h1', fence: 1, state: 'stopped' });
    await db.update(operations).set({ state: 'done' });
    await lose('h1');
    await cloud.wish(id, 'instance.start', 'pending');
    expect(await downHostsWithWork(db, clock.date())).toEqual([]);
    const later = new Date(clock.now() + 10_000);
    expect(await downHostsWithWork(db, later)).toEqual(['h1']);
    expect(await loseHost(db, { host: 'h1', since: null }, later)).toEqual({ stopped: 1, handedBack: 0, ended: 0 });
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'stopped', hostLost: true, stateReasonCode: 'Server.HostUnavailable' });
    expect(await downHostsWithWork(db, later)).toEqual([]);
  });
});

describe('draining and evacuating', () => {
  it('a drain moves every instance away, a few at a time, and nothing new comes', async () => {
    await started({ hosts: ['h1', 'h2'], serviceDownMs: 60_000 });
    await cloud.database.db.update(hosts).set({ enabled: false }).where(eq(hosts.name, 'h2'));
    const ids = await running(5);
    await cloud.database.db.update(hosts).set({ enabled: true }).where(eq(hosts.name, 'h2'));
    const drain = await hostWork('host.drain', 'h1', { live: true });
    await soon(() => operationIs(drain, 'done'));
    for (const id of ids) {
      expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: 'h2' });
      expect(runsOn('h2', id)).toBe(true);
      expect(runsOn('h1', id)).toBe(false);
    }
    const [h1] = await cloud.database.db.select().from(hosts).where(eq(hosts.name, 'h1'));
    expect(h1).toMatchObject({ enabled: false, disabledReason: 'drained by joe', claimedCores: 0 });
  });

  it('a drain that cannot move an instance says which and why', async () => {
    await started({ hosts: ['h1'], serviceDownMs: 60_000 });
    const [id = ''] = await running(1);
    const drain = await hostWork('host.drain', 'h1', { live: false });
    await soon(() => operationIs(drain, 'failed'));
    const [operation] = (await allOperations(cloud)).filter((one) => one.id === drain);
    expect(operation?.error).toContain(id);
    expect(operation?.error).toContain('no host can take it');
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: 'h1' });
  });

  it('a host is not drained twice at once, nor evacuated while it is up', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    await hostWork('host.drain', 'h1');
    await expect(hostWork('host.drain', 'h1')).rejects.toThrow('already');
    await cloud.database.db.delete(operations);
    await expect(hostWork('host.evacuate', 'h1')).rejects.toThrow('not down');
    await expect(hostWork('host.drain', 'h9')).rejects.toThrow('there is no host h9');
  });

  it('an evacuation gives lost instances to other hosts with a fresh disk; the old host clears its own away when it returns', async () => {
    await started({ hosts: ['h1', 'h2'] });
    await cloud.database.db.update(hosts).set({ enabled: false }).where(eq(hosts.name, 'h2'));
    const ids = await running(3);
    const [address] = await cloud.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, ids[0] ?? ''));
    await cloud.database.db.update(hosts).set({ enabled: true }).where(eq(hosts.name, 'h2'));
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    const evacuation = await hostWork('host.evacuate', 'h1', { rebuild: true });
    await soon(() => operationIs(evacuation, 'done'));
    await soon(async () => (await Promise.all(ids.map((id) => stateIs(id, 'running')))).every(Boolean));
    for (const id of ids) expect(await stateOf(cloud, id)).toMatchObject({ host: 'h2', hostLost: false });
    const [after] = await cloud.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, ids[0] ?? ''));
    expect(after?.address).toBe(address?.address);
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
    await reconcile('h1');
    for (const id of ids) expect(hostNamed('h1').world.domains.has(id)).toBe(false);
    for (const id of ids) expect(runsOn('h2', id)).toBe(true);
    const claims = await cloud.database.db.select({ name: hosts.name, cores: hosts.claimedCores }).from(hosts).orderBy(hosts.name);
    expect(claims).toEqual([{ name: 'h1', cores: 0 }, { name: 'h2', cores: 3 }]);
  });

  it('an evacuation on shared disks starts them where there is room, and waits with the rest', async () => {
    await started({ hosts: ['h1', 'h2'], cores: 2 });
    await cloud.database.db.update(hosts).set({ enabled: false }).where(eq(hosts.name, 'h2'));
    const ids = await running(2);
    await cloud.database.db.update(hosts).set({ enabled: true, claimedCores: 1 }).where(eq(hosts.name, 'h2'));
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    const evacuation = await hostWork('host.evacuate', 'h1');
    await soon(async () => (await allOperations(cloud)).some((one) => one.id === evacuation && one.error?.includes('no host has room') === true));
    await soon(async () => (await Promise.all(ids.map((id) => stateIs(id, 'running')))).filter(Boolean).length === 1);
    expect(await cloud.database.db.select().from(instances).where(and(eq(instances.host, 'h2'), eq(instances.fence, 2)))).toHaveLength(1);
    hostNamed('h1').directory.setPaused(false);
    await soon(async () => !(await isDown('h1')));
  });
});

describe('what operators are told and may do', () => {
  const manage = (category: string, verb: string, args: Record<string, unknown> = {}) => {
    const { database: { db }, transport } = cloud;
    const sealer = createSealer(randomBytes(32));
    const deps = {
      db, transport, directory: createLocalDirectory({ clock, board: cloud.board }), relay: { kick: () => undefined, accepts: () => true }, clock,
      log: silentLog,
      settings: { instancesShared: 'no' } as unknown as ManageDeps['settings'],
      auth: new AuthManager({ driver: createFakeAuthDriver(), sealer }), sealer, run: () => Promise.reject(new Error('no command is run')),
    };
    return createManage([...hostCommands, ...serviceCommands], deps)({ category, verb, args });
  };
  const done = async (category: string, verb: string, args: Record<string, unknown> = {}): Promise<unknown> => {
    const answer = await manage(category, verb, args);
    if (answer.outcome !== 'done') throw new Error(answer.message);
    return answer.result;
  };

  it('C8: resources tells what each host has, what is promised, and what each project uses', async () => {
    await started({ hosts: ['h1', 'h2'], serviceDownMs: 60_000 });
    await running(3);
    const rows = (await done('host', 'resources')) as { host: string; project: string; cores: number; instances: number }[];
    const of = (host: string, project: string) => rows.find((row) => row.host === host && row.project === project);
    expect(of('h1', '(total)')).toMatchObject({ cores: 16, memoryMiB: 65_536, diskGiB: 1_000 });
    expect((of('h1', '(promised)')?.cores ?? 0) + (of('h2', '(promised)')?.cores ?? 0)).toBe(3);
    expect((of('h1', cloud.projectId)?.instances ?? 0) + (of('h2', cloud.projectId)?.instances ?? 0)).toBe(3);
    expect(of('h1', '(promised)')?.cores).toBe(of('h1', cloud.projectId)?.cores);
  });

  it('M6: a disabled host gets nothing new until it is enabled', async () => {
    await started({ hosts: ['h1'], serviceDownMs: 60_000 });
    expect(await done('host', 'disable', { name: 'h1', reason: 'a fan is loud' })).toContain('takes no new instances');
    const [id = ''] = await cloud.launch(1);
    await soon(() => stateIs(id, 'terminated'));
    expect(await done('host', 'list')).toMatchObject([{ name: 'h1', state: 'disabled', note: 'a fan is loud' }]);
    await done('host', 'enable', { name: 'h1' });
    await running(1);
    expect(await manage('host', 'disable', { name: 'h9' })).toMatchObject({ outcome: 'refused', message: 'there is no host h9' });
  });

  it('a dead host and its instances are told in words, and it is removed only when it is down and empty', async () => {
    await started({ hosts: ['h1', 'h2'] });
    await done('host', 'disable', { name: 'h2' });
    const [id = ''] = await running(1);
    expect(await manage('host', 'remove', { name: 'h1' })).toMatchObject({ outcome: 'refused', message: expect.stringContaining('not down') });
    const listed = async () => (await done('service', 'list', { host: 'h1' })) as Record<string, unknown>[];
    // A machine that stood still for a moment has been silent for as long.
    await soon(async () => (await listed()).every(({ state }) => state === 'up'));
    expect((await listed()).map(({ host, role, enabled }) => ({ host, role, enabled }))).toEqual(
      [{ host: 'h1', role: 'compute', enabled: true }, { host: 'h1', role: 'volume', enabled: true }],
    );
    hostNamed('h1').directory.setPaused(true);
    await soon(() => isDown('h1'));
    const { db } = cloud.database;
    expect(await done('service', 'list', { host: 'h1' })).toMatchObject([{ role: 'compute', state: 'down' }, { role: 'volume', state: 'down' }]);
    expect(await done('host', 'show', { name: 'h1' })).toMatchObject({ state: 'down', instances: `${id} stopped (ran when the host was lost)` });
    expect((await storyOf(db, 'h1'))?.reason).toMatch(/not heard of since .*; 1 instance ran there: to go on when it returns, or elsewhere after/);
    expect((await storyOf(db, id))?.reason).toMatch(/host h1 has not been heard of since .*evacuate/);
    expect(await storyOf(db, 'h9')).toBeUndefined();
    expect(await manage('host', 'remove', { name: 'h1' })).toMatchObject({ outcome: 'refused', message: expect.stringContaining('has instances') });
    expect(await manage('host', 'evacuate', { name: 'h1' })).toMatchObject({ outcome: 'refused', message: expect.stringContaining('are on h1 alone') });
    expect(await manage('host', 'drain', { name: 'h1' })).toMatchObject({ outcome: 'refused', message: expect.stringContaining('is down') });
    await done('host', 'enable', { name: 'h2' });
    await done('host', 'evacuate', { name: 'h1', rebuild: true });
    await soon(() => stateIs(id, 'running'));
    await done('host', 'remove', { name: 'h1' });
    expect(await done('host', 'list')).toMatchObject([{ name: 'h2' }]);
    expect((await createLocalDirectory({ clock, board: cloud.board }).lastSeen('compute')).map(({ host }) => host)).toEqual(['h2']);
  });

  it('enabling a host gives up its drain', async () => {
    cloud = await createSimCloud({ hosts: ['h1'], start: false });
    await done('host', 'drain', { name: 'h1', live: true });
    expect(await done('host', 'enable', { name: 'h1' })).toContain('given up: op-');
    expect(await allOperations(cloud)).toMatchObject([{ kind: 'host.drain', state: 'failed', error: 'given up by operator' }]);
  });
});
