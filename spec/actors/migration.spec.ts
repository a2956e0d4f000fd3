// Moving instances between simulated hosts (K11: migrate, K12): the flow against the generic proof, and the whole cloud with hosts and
// guests that die, users who change their minds, and targets that are not there.
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { computeActor, computeHandlers } from '../../src/actors/compute/actor.ts';
import type { InstanceContext } from '../../src/actors/compute/flows/instance-context.ts';
import { leaveHost } from '../../src/actors/compute/flows/leave-host.ts';
import { migrateInstance } from '../../src/actors/compute/flows/migrate-instance.ts';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { requestMigration, switchHost, type MigrationClaim } from '../../src/db/migrate-work.ts';
import { placeInstances } from '../../src/db/placement.ts';
import { operationsOf, unfinishedOperations } from '../../src/db/operations.ts';
import { fixedAddresses, hosts, instances, operations } from '../../src/db/schema/all.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';
import { createSimCloud, stateOf, type SimCloud, type SimHost } from '../support/sim-cloud.ts';
import { eventually } from '../support/hypervisor-contract.ts';

const never = new AbortController().signal;
const patienceMs = 40_000;
/** Long enough to be seen in the middle of it. */
const underWayMs = 2_000;

const hostNamed = (cloud: SimCloud, name: string): SimHost => {
  const host = cloud.hosts.find((one) => one.name === name);
  if (host === undefined) throw new Error(`no host ${name}`);
  return host;
};

/** How many machines run it: never more than one. */
const runningOn = (cloud: SimCloud, id: string): string[] =>
  cloud.hosts.filter((host) => host.world.domains.get(id)?.state === 'running').map((host) => host.name);

/** Everything of one instance on both hosts and in the database, with its id taken out so that two worlds can be compared. */
async function snapshot(cloud: SimCloud, id: string): Promise<unknown> {
  const { db } = cloud.database;
  const [row] = await db.select().from(instances).where(eq(instances.id, id));
  const claimed = await db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
  const wishes = (await unfinishedOperations(db, id)).filter(({ kind }) => kind !== 'instance.run' && kind !== 'instance.migrate');
  return {
    state: row?.state, reason: row?.stateReasonCode, host: row?.host, migratingTo: row?.migratingTo, fence: row?.fence, addresses: claimed.length,
    wishes: wishes.map(({ kind, owner, input }) => ({ kind, owner, input })),
    machines: cloud.hosts.map(({ name, world, files, network }) => ({
      name, domain: world.domains.get(id)?.state,
      files: files.paths().filter((path) => path.startsWith(`/instances/${id}`)).map((path) => path.replaceAll(id, '').replace(/op-[0-9a-f]+/, '')),
      ports: network.host.firewall?.ports.filter((port) => port.instanceId === id).length ?? 0,
      leases: [...network.host.networks.values()].flatMap((net) => net.hosts.filter(({ hostname }) => hostname === id)).length,
    })),
  };
}

describe('the flow of a migration', () => {
  let cloud: SimCloud;
  beforeAll(async () => {
    cloud = await createSimCloud({
      hosts: ['h1', 'h2'], cores: 1_000, memoryMiB: 2 ** 30, start: false, limits: { sweepIntervalMs: 3_600_000, reconcileIntervalMs: 3_600_000 },
    });
    // Both answer what a target is asked; nothing is performed by itself.
    for (const { compute } of cloud.hosts) {
      const ref = compute.system.spawn(computeActor, 'compute', { host: compute, hostRestarted: undefined });
      const idle = { ...computeHandlers(compute, ref), performOperation: () => undefined };
      await cloud.transport.serve({ role: 'compute', host: compute.name }, computeProtocol, idle);
    }
  });
  afterAll(() => cloud.close());

  async function running(input: { live: boolean }, state: 'running' | 'stopped' = 'running'): Promise<InstanceContext> {
    const { db } = cloud.database;
    const [id = ''] = await cloud.launch(1);
    const load = async () => (await loadInstance(db, id)) ?? Promise.reject(new Error('the instance vanished'));
    const [run] = await unfinishedOperations(db, id);
    const claim = await claimOfRow(db, await load());
    await placeInstances(db, [{ instanceId: id, operationId: run?.id ?? '', host: 'h1', claim }], { cores: 1, memory: 1, disk: 1 }, new Date());
    const host = hostNamed(cloud, 'h1').compute;
    const fetchImage = async (imageId: string) => `/images/${imageId}`;
    const common = { host, requestId: 'spec', fetchImage, signal: never, hurry: never };
    await runFlow(runInstance, { ...common, instance: await load(), operationId: run?.id ?? '', input: {} }, memoryJournal());
    await db.update(operations).set({ state: 'done' }).where(eq(operations.resourceId, id));
    if (state === 'stopped') await host.hypervisor.ensureStopped(id);
    await db.update(instances).set({ state }).where(eq(instances.id, id));
    const deadline = new Date(Date.now() + 600_000);
    const wished = await requestMigration(db, { instanceId: id, ...input, userId: 'u', requestId: 'spec', deadline }, new Date());
    if ('refusal' in wished) throw new Error(wished.refusal);
    return { ...common, instance: await load(), operationId: wished.operationId, input: { ...input } };
  }
  const world = (context: InstanceContext): World<InstanceContext> => ({
    context, snapshot: () => snapshot(cloud, context.instance.id), close: async () => {
      expect(runningOn(cloud, context.instance.id).length).toBeLessThanOrEqual(1);
    },
  });

  for (const live of [false, true]) {
    const name = live ? 'live' : 'cold';
    // The switch is done or not done: what can be undone ends before it.
    const undoable = { ...migrateInstance, steps: migrateInstance.steps.filter((step) => step.name !== 'switch' && (step.name !== 'move' || !live)) };
    describe(`${name}, before it is given over`, () => checkFlow(undoable, async () => world(await running({ live }))));
    describe(`${name}, to its end`, () => checkFlow(migrateInstance, async () => world(await running({ live })), { undoable: false }));
  }
  describe('cold, of a stopped instance', () => checkFlow(migrateInstance, async () => world(await running({ live: false }, 'stopped')), { undoable: false }));

  describe('leaving a host', () => checkFlow(leaveHost, async () => {
    const context = await running({ live: false });
    await runFlow(migrateInstance, context, memoryJournal());
    return world(context);
  }, { undoable: false }));

  it('lets the row follow a live guest that went over before its move was given up', async () => {
    const context = await running({ live: true });
    const failing = {
      ...migrateInstance,
      steps: migrateInstance.steps.map((step) => (step.name === 'switch' ? { ...step, do: async () => Promise.reject(new Error('too late')) } : step)),
    };
    expect(await runFlow(failing, context, memoryJournal())).toMatchObject({ done: false });
    expect(await snapshot(cloud, context.instance.id)).toMatchObject({ state: 'running', host: 'h2', migratingTo: null });
    expect(runningOn(cloud, context.instance.id)).toEqual(['h2']);
  });

  it('removes nothing of an instance that has come back', async () => {
    const context = await running({ live: false });
    const before = await snapshot(cloud, context.instance.id);
    expect(await runFlow(leaveHost, context, memoryJournal())).toMatchObject({ done: true });
    expect(await snapshot(cloud, context.instance.id)).toEqual(before);
  });

  it('gives over only what it has claimed', async () => {
    const { db } = cloud.database;
    const { instance, operationId } = await running({ live: false });
    const change = { instanceId: instance.id, source: 'h1', operationId, requestId: 'spec', deadline: new Date() };
    const claim: MigrationClaim = { target: 'h2', fence: instance.fence, running: true };
    expect(await switchHost(db, { ...change, claim }, new Date())).toBe(false);
    await db.update(instances).set({ migratingTo: 'h2' }).where(eq(instances.id, instance.id));
    expect(await switchHost(db, { ...change, claim: { ...claim, fence: claim.fence - 1 } }, new Date())).toBe(false);
    expect(await switchHost(db, { ...change, claim }, new Date())).toBe(true);
    expect(await switchHost(db, { ...change, claim }, new Date())).toBe(true);
    expect((await stateOf(cloud, instance.id))?.fence).toBe(claim.fence + 1);
  });
});

describe('moving instances in a cloud', () => {
  let cloud: SimCloud;
  afterEach(async () => cloud.close());

  const limits = { sweepIntervalMs: 100, reconcileIntervalMs: 200 };
  const start = async (options: Parameters<typeof createSimCloud>[0] = {}): Promise<string> => {
    cloud = await createSimCloud({ hosts: ['h1', 'h2'], limits, ...options });
    const [id = ''] = await cloud.launch(1);
    await reaches(id, (row) => row?.state === 'running');
    return id;
  };
  const reaches = (id: string, holds: (row: Awaited<ReturnType<typeof stateOf>>) => boolean) =>
    eventually(() => stateOf(cloud, id), holds, patienceMs, 20);
  const move = async (id: string, wish: { live: boolean; target?: string }): Promise<string> => {
    const deadline = new Date(Date.now() + 600_000);
    const wished = await requestMigration(cloud.database.db, { instanceId: id, ...wish, userId: 'u', requestId: 'move', deadline }, new Date());
    if ('refusal' in wished) throw new Error(wished.refusal);
    cloud.hosts[0]?.compute.relay.kick();
    return wished.operationId;
  };
  const ends = async (operationId: string): Promise<{ state: string; error: string | null }> => {
    const read = async () => (await cloud.database.db.select().from(operations).where(eq(operations.id, operationId)))[0];
    const row = await eventually(read, (one) => one?.state === 'done' || one?.state === 'failed', patienceMs, 20);
    return { state: row?.state ?? '', error: row?.error ?? null };
  };
  const other = (name: string | null | undefined): string => (name === 'h1' ? 'h2' : 'h1');
  /** No wish is left, and what each machine and the room of each host say is what the row says. */
  const settled = async (id: string): Promise<void> => {
    await eventually(() => unfinishedOperations(cloud.database.db, id), (rows) => rows.length === 0, patienceMs, 20);
    const row = await stateOf(cloud, id);
    const lives = row?.state === 'terminated' ? undefined : (row?.host ?? undefined);
    await eventually(async () => cloud.hosts.map(({ name, world, files, network }) => ({
      name, domain: world.domains.has(id), files: files.paths().some((path) => path.startsWith(`/instances/${id}`)),
      port: network.host.firewall?.ports.some((port) => port.instanceId === id) ?? false,
    })), (machines) => machines.every((one) => (one.name === lives || (!one.domain && !one.files && !one.port))), patienceMs, 20);
    for (const host of await cloud.database.db.select().from(hosts)) expect(host.claimedCores, host.name).toBe(host.name === lives ? 1 : 0);
    expect(runningOn(cloud, id)).toEqual(row?.state === 'running' ? [lives] : []);
    expect(row?.migratingTo).toBeNull();
  };

  it('K12: moves a running guest, which goes on running, and back', async () => {
    const id = await start();
    const first = (await stateOf(cloud, id))?.host;
    const states = new Set<string | undefined>();
    const launchedAt = (await stateOf(cloud, id))?.launchedAt;
    for (const target of [other(first), first ?? '']) {
      const operationId = await move(id, { live: true, target });
      const seen = setInterval(() => void stateOf(cloud, id).then((row) => states.add(row?.state)), 5);
      expect(await ends(operationId)).toEqual({ state: 'done', error: null });
      clearInterval(seen);
      await settled(id);
      expect(await stateOf(cloud, id)).toMatchObject({ host: target, state: 'running', launchedAt });
    }
    expect([...states]).toEqual(['running']);
  });

  it('K11: moves an instance cold: stopped, copied, started there, with its address and its launch time', async () => {
    const id = await start();
    const before = await stateOf(cloud, id);
    const address = await cloud.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
    expect(await ends(await move(id, { live: false }))).toEqual({ state: 'done', error: null });
    await reaches(id, (row) => row?.state === 'running' && row.host !== before?.host);
    await settled(id);
    expect(await stateOf(cloud, id)).toMatchObject({ launchedAt: before?.launchedAt, stateReasonCode: null });
    expect(await cloud.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id))).toEqual(address);
  });

  it('moves a stopped instance, which stays stopped, and starts where it is then', async () => {
    const id = await start();
    await cloud.wish(id, 'instance.stop', 'stopping');
    const before = await reaches(id, (row) => row?.state === 'stopped');
    expect(await ends(await move(id, { live: true }))).toEqual({ state: 'done', error: null });
    await settled(id);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'stopped', host: other(before?.host) });
    await cloud.wish(id, 'instance.start', 'pending');
    await reaches(id, (row) => row?.state === 'running');
    await settled(id);
  });

  it('leaves the instance untouched when no host can take it, with the reason', async () => {
    const id = await start({ hosts: ['h1'] });
    expect(await ends(await move(id, { live: true }))).toMatchObject({ state: 'failed', error: expect.stringContaining('no host can take it') });
    expect(await ends(await move(id, { live: false, target: 'h9' }))).toMatchObject({ state: 'failed' });
    await settled(id);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: 'h1', stateReasonCode: null });
  });

  it('refuses a target without room, and one that is disabled', async () => {
    const id = await start();
    const target = other((await stateOf(cloud, id))?.host);
    await cloud.database.db.update(hosts).set({ enabled: false }).where(eq(hosts.name, target));
    expect(await ends(await move(id, { live: true, target }))).toMatchObject({ state: 'failed' });
    await cloud.database.db.update(hosts).set({ enabled: true, memoryMiB: 100 }).where(eq(hosts.name, target));
    expect(await ends(await move(id, { live: true, target }))).toMatchObject({ state: 'failed' });
    await settled(id);
  });

  it('lets the guest run on where it was when the other hypervisor dies in the middle of it', async () => {
    const id = await start({ sim: () => ({ migrateDelayMs: underWayMs }) });
    const from = (await stateOf(cloud, id))?.host;
    const operationId = await move(id, { live: true });
    await eventually(() => hostNamed(cloud, from ?? '').world.moves.size, (size) => size === 1, patienceMs, 5);
    hostNamed(cloud, other(from)).world.disconnect();
    // When the move has failed, and not at a time.
    const back = eventually(() => hostNamed(cloud, from ?? '').world.moves.size, (size) => size === 0, patienceMs, 5)
      .then(() => hostNamed(cloud, other(from)).world.reconnect());
    expect(await ends(operationId)).toMatchObject({ state: 'failed', error: expect.stringContaining('nobody answers') });
    await back;
    await settled(id);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: from });
  });

  it('starts the guest again where it was when its disk cannot be copied', async () => {
    const id = await start({ moves: { transfer: { info: { name: 'broken' }, fetch: async () => Promise.reject(new Error('the wire is cut')) } } });
    const from = (await stateOf(cloud, id))?.host;
    expect(await ends(await move(id, { live: false }))).toMatchObject({ state: 'failed', error: expect.stringContaining('the wire is cut') });
    await settled(id);
    expect(await stateOf(cloud, id)).toMatchObject({ state: 'running', host: from, stateReasonCode: null });
  });

  it('ends an instance that its user terminates while it is on its way, live', async () => {
    const id = await start({ sim: () => ({ migrateDelayMs: 5_000 }) });
    const from = (await stateOf(cloud, id))?.host;
    const operationId = await move(id, { live: true });
    await eventually(() => hostNamed(cloud, from ?? '').world.moves.size, (size) => size === 1, patienceMs, 5);
    await cloud.wish(id, 'instance.terminate', 'shutting-down');
    expect(await ends(operationId)).toMatchObject({ state: 'failed' });
    await reaches(id, (row) => row?.state === 'terminated');
    await settled(id);
  });

  it('ends an instance that its user terminates while it is on its way, cold', async () => {
    const id = await start({ sim: () => ({ deaf: () => true }), limits: { ...limits, shutdownMs: 5_000 } });
    const operationId = await move(id, { live: false });
    await reaches(id, (row) => row?.state === 'pending');
    await cloud.wish(id, 'instance.terminate', 'shutting-down');
    expect(await ends(operationId)).toMatchObject({ state: 'failed' });
    await reaches(id, (row) => row?.state === 'terminated');
    await settled(id);
  });

  it('takes the user\'s wish of meanwhile along to the other host', async () => {
    const id = await start({ sim: () => ({ migrateDelayMs: underWayMs }) });
    const from = (await stateOf(cloud, id))?.host;
    const operationId = await move(id, { live: true });
    await eventually(() => hostNamed(cloud, from ?? '').world.moves.size, (size) => size === 1, patienceMs, 5);
    await cloud.wish(id, 'instance.stop', 'stopping');
    expect(await ends(operationId)).toEqual({ state: 'done', error: null });
    await reaches(id, (row) => row?.state === 'stopped');
    await settled(id);
    expect((await stateOf(cloud, id))?.host).toBe(other(from));
  });

  it('adopts a guest that runs on its target when its move was given up without knowing', async () => {
    const id = await start();
    const from = (await stateOf(cloud, id))?.host ?? '';
    const target = other(from);
    const [domain] = [hostNamed(cloud, from).world.domains.get(id)];
    await cloud.database.db.update(instances).set({ migratingTo: target }).where(eq(instances.id, id));
    await cloud.database.db.update(hosts).set({ claimedCores: 1 }).where(eq(hosts.name, target));
    if (domain !== undefined) hostNamed(cloud, target).world.domains.set(id, domain);
    hostNamed(cloud, from).world.domains.delete(id);
    // Its old host may have seen first that it is not there, and called it stopped: the new one sees that it runs.
    await reaches(id, (row) => row?.host === target && row.state === 'running');
    await settled(id);
  });

  it('keeps a second move waiting until the first is over', async () => {
    const id = await start({ sim: () => ({ migrateDelayMs: underWayMs }) });
    await move(id, { live: true });
    await expect(move(id, { live: true })).rejects.toThrow('is being moved already');
    await eventually(() => operationsOf(cloud.database.db, id, 10), (rows) => rows.every((row) => row.state === 'done'), patienceMs, 20);
    await settled(id);
  });
});
