// The life of instances over every role, with the named sims: message in, world changed.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { reconcileInstances } from '../../src/actors/compute/reconcile-instances.ts';
import { endUnplaced } from '../../src/db/instance-work.ts';
import { fixedAddresses, hosts } from '../../src/db/schema/all.ts';
import type { HypervisorDriver } from '../../src/drivers/hypervisor/driver.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { allOperations, createSimCloud, stateOf, type SimCloud, type SimCloudOptions } from '../support/sim-cloud.ts';
import { eventually } from '../support/waiting.ts';

let cloud: SimCloud | undefined;
const start = async (options?: SimCloudOptions): Promise<SimCloud> => (cloud = await createSimCloud(options));
afterEach(async () => {
  await cloud?.close();
  cloud = undefined;
});

const reaches = (made: SimCloud, id: string, state: string) => eventually(async () => (await stateOf(made, id))?.state === state, `${id} to be ${state}`);
const claimed = async (made: SimCloud) => (await made.database.db.select().from(fixedAddresses)).filter((row) => row.instanceId !== null);

describe('an instance', () => {
  it('runs, stops, starts and ends, and nothing of it remains', async () => {
    const made = await start();
    const [host] = made.hosts;
    if (host === undefined) throw new Error('the cloud has no host');
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'running');
    expect(host.world.domains.get(id)?.state).toBe('running');
    expect(host.network.host.firewall?.ports.map((port) => port.instanceId)).toEqual([id]);
    const [before] = await claimed(made);
    await made.wish(id, 'instance.stop', 'stopping');
    await reaches(made, id, 'stopped');
    expect(host.world.domains.get(id)?.state).toBe('shutoff');
    expect(host.files.paths()).toContain(`/instances/${id}/root.qcow2`);
    await made.wish(id, 'instance.start', 'pending');
    await reaches(made, id, 'running');
    expect((await claimed(made))[0]?.address).toBe(before?.address);
    await made.wish(id, 'instance.terminate', 'shutting-down');
    await reaches(made, id, 'terminated');
    expect(host.world.domains.size).toBe(0);
    expect(host.files.paths().filter((path) => path.startsWith('/instances/i-'))).toEqual([]);
    expect(await claimed(made)).toEqual([]);
    expect(host.network.host.firewall?.ports).toEqual([]);
    expect(await made.database.db.select().from(hosts)).toMatchObject([{ claimedCores: 0, claimedMemoryMiB: 0, claimedDiskGiB: 0 }]);
    // The operation's own end is recorded after the row's.
    await eventually(async () => (await allOperations(made)).every((operation) => operation.state === 'done'));
    expect(await allOperations(made)).toHaveLength(4);
  });

  it('that fits nowhere ends with its reason, and everything is free', async () => {
    const made = await start({ cores: 2 });
    const ids = await made.launch(3);
    await eventually(async () => {
      const rows = await Promise.all(ids.map((id) => stateOf(made, id)));
      return rows.every((row) => row?.state === 'running' || row?.state === 'terminated');
    });
    const rows = await Promise.all(ids.map((id) => stateOf(made, id)));
    expect(rows.map((row) => row?.state).toSorted()).toEqual(['running', 'running', 'terminated']);
    expect(rows.find((row) => row?.state === 'terminated')).toMatchObject({ stateReasonCode: 'Server.InsufficientInstanceCapacity', host: null });
    expect(await made.database.db.select().from(hosts)).toMatchObject([{ claimedCores: 2 }]);
  });

  it('leaves a host that fails to spawn it, and runs on another', async () => {
    const made = await start({ hosts: ['a', 'b'], sim: (host) => (host === 'a' ? { failSpawnOn: () => 'broken' } : {}) });
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'running');
    expect(await stateOf(made, id)).toMatchObject({ host: 'b', failedHosts: ['a'], placements: 2 });
    expect(made.hosts[0]?.world.domains.size).toBe(0);
    expect(made.hosts[0]?.files.paths().filter((path) => path.startsWith('/instances/i-'))).toEqual([]);
    expect((await claimed(made)).length).toBe(1);
    expect((await made.database.db.select().from(hosts).orderBy(hosts.name)).map((row) => row.claimedCores)).toEqual([0, 1]);
  });

  it('that fails on every host ends after three of them, with the reason', async () => {
    const made = await start({ hosts: ['a', 'b', 'c', 'd'], sim: () => ({ failSpawnOn: () => 'broken' }) });
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'terminated');
    const row = await stateOf(made, id);
    expect(row).toMatchObject({ placements: 3, stateReasonCode: 'Server.InternalError' });
    expect(row?.stateReasonMessage).toContain('broken');
    expect(await claimed(made)).toEqual([]);
    expect((await made.database.db.select().from(hosts)).map((host) => host.claimedCores)).toEqual([0, 0, 0, 0]);
  });

  it('that no host can take is ended by the scheduler', async () => {
    const made = await start({ hosts: [] });
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'terminated');
    expect((await stateOf(made, id))?.stateReasonCode).toBe('Server.InsufficientInstanceCapacity');
  });

  it('whose end is wished while the scheduler gives it up leaves no wish behind', async () => {
    const made = await start({ hosts: [], start: false });
    const [id = ''] = await made.launch(1);
    await made.wish(id, 'instance.terminate', 'shutting-down');
    expect(await endUnplaced(made.database.db, id, { code: 'Server.InsufficientInstanceCapacity', message: 'full' }, new Date())).toBe(true);
    expect(await stateOf(made, id)).toMatchObject({ state: 'terminated', stateReasonCode: null });
    expect((await allOperations(made)).map(({ kind, state }) => `${kind} ${state}`).toSorted()).toEqual(['instance.run failed', 'instance.terminate done']);
  });

  it('that does not listen is stopped by force after its time', async () => {
    const made = await start({ sim: () => ({ deaf: () => true }) });
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'running');
    await made.wish(id, 'instance.stop', 'stopping');
    await reaches(made, id, 'stopped');
    expect(made.hosts[0]?.world.domains.get(id)).toMatchObject({ state: 'shutoff', reason: 'destroyed' });
  });

  it('that is being stopped patiently is ended at once when the user ends it', async () => {
    const made = await start({ sim: () => ({ deaf: () => true }), limits: { shutdownMs: 3_600_000 } });
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'running');
    await made.wish(id, 'instance.stop', 'stopping');
    await eventually(async () => (await allOperations(made)).some((operation) => operation.kind === 'instance.stop' && operation.state === 'running'));
    await made.wish(id, 'instance.terminate', 'shutting-down');
    await reaches(made, id, 'terminated');
  });

  it('that powers itself off is shown as stopped, or ends if that is its wish', async () => {
    const made = await start();
    const [stops = '', ends = ''] = [...(await made.launch(1)), ...(await made.launch(1, { shutdownBehavior: 'terminate' }))];
    await reaches(made, stops, 'running');
    await reaches(made, ends, 'running');
    made.hosts[0]?.world.powerOff(stops);
    made.hosts[0]?.world.powerOff(ends);
    await reaches(made, stops, 'stopped');
    expect(await stateOf(made, stops)).toMatchObject({ stateReasonCode: 'Client.InstanceInitiatedShutdown' });
    await reaches(made, ends, 'terminated');
  });

  it('that powers itself off and is to end is never left with the state and without the wish', async () => {
    const made = await start();
    const [host] = made.hosts;
    if (host === undefined) throw new Error('the cloud has no host');
    const [id = ''] = await made.launch(1, { shutdownBehavior: 'terminate' });
    await reaches(made, id, 'running');
    const { hypervisor } = host.compute;
    const list = async () => [{ instanceId: id, state: 'shutoff', reason: 'guest' }] as const;
    const off: HypervisorDriver = { ...hypervisor, list, trimConsole: async () => undefined };
    // An owner that nobody knows cannot be told: the wish fails after the state was written, as in a crash between the two.
    const owner = { ...host.compute.owner, name: 'nobody@h1' };
    const fails = reconcileInstances({ ...host.compute, hypervisor: off, owner }, { hostRestarted: false, purge: false });
    await expect(fails).rejects.toThrow();
    expect((await stateOf(made, id))?.state).toBe('running');
  });

  it('destroyed behind our back is noticed and shown truly, and can be started again', async () => {
    const made = await start();
    const [id = ''] = await made.launch(1);
    await reaches(made, id, 'running');
    made.hosts[0]?.world.destroy(id);
    await reaches(made, id, 'stopped');
    expect(await stateOf(made, id)).toMatchObject({ stateReasonCode: 'Server.InternalError' });
    await made.wish(id, 'instance.start', 'pending');
    await reaches(made, id, 'running');
  });

  it('twenty at once fetch their image once and get an address each', async () => {
    const made = await start({ cores: 32 });
    const ids = await made.launch(20);
    for (const id of ids) await reaches(made, id, 'running');
    expect(made.hosts[0]?.imageSource.fetches.get(made.imageId)).toBe(1);
    expect(new Set((await claimed(made)).map((row) => row.address)).size).toBe(20);
  });

  it('M9: has one thing done to it at a time, while twenty of a host are worked on side by side', async () => {
    const made = await start({ cores: 32 });
    const [host] = made.hosts;
    if (host === undefined) throw new Error('the cloud has no host');
    const busy = watchWork(host.compute.hypervisor);
    const ids = await made.launch(20);
    for (const id of ids) await reaches(made, id, 'running');
    for (const kind of ['instance.stop', 'instance.start', 'instance.reboot']) await Promise.all(ids.map((id) => made.wish(id, kind, undefined)));
    await Promise.all(ids.map((id) => made.wish(id, 'instance.terminate', 'shutting-down')));
    for (const id of ids) await reaches(made, id, 'terminated');
    expect(busy.calls).toBeGreaterThan(60);
    expect(busy.ofOneMost).toBe(1);
    expect(busy.ofAllMost).toBeGreaterThan(1);
  });
});

/** Counts how many changes of domains are in hand at once, of one instance and of all. Each is made to last a moment. */
function watchWork(driver: HypervisorDriver): { calls: number; ofOneMost: number; ofAllMost: number } {
  const counts = { calls: 0, ofOneMost: 0, ofAllMost: 0 };
  const inHand: string[] = [];
  for (const method of ['ensureDefined', 'ensureRunning', 'ensureStopped', 'requestShutdown', 'reboot', 'ensureAbsent'] as const) {
    const original = driver[method].bind(driver) as (...args: unknown[]) => Promise<void>;
    vi.spyOn(driver, method).mockImplementation(async (...args: unknown[]) => {
      const [first] = args as [string | { instanceId: string }];
      const id = typeof first === 'string' ? first : first.instanceId;
      inHand.push(id);
      counts.calls += 1;
      counts.ofOneMost = Math.max(counts.ofOneMost, inHand.filter((one) => one === id).length);
      counts.ofAllMost = Math.max(counts.ofAllMost, inHand.length);
      try {
        await systemClock.sleep(20);
        return await original(...args);
      } finally {
        inHand.splice(inHand.indexOf(id), 1);
      }
    });
  }
  return counts;
}
