// What comes late or twice, and what was seen a moment ago, changes nothing about an instance that has gone on. The asks for ports were failing
// seeds of the simulation (13 and 22); the old look at a domain and the late removal of a folder were found by reading the code.
import { eq } from 'drizzle-orm';
import { afterEach, describe, expect, it } from 'vitest';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { reconcileInstances } from '../../src/actors/compute/reconcile-instances.ts';
import { endUnplaced } from '../../src/db/instance-work.ts';
import { claimAddress, listNetworks } from '../../src/db/networks.ts';
import { fixedAddresses, instances } from '../../src/db/schema/all.ts';
import { networkProtocol } from '../../src/messages/network.ts';
import { createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud | undefined;
afterEach(async () => {
  await cloud?.close();
  cloud = undefined;
});

const now = new Date('2026-01-02T03:04:05Z');

/** Two hosts whose compute roles do not run, and an instance that is said to be on the second. */
async function placedOnSecond(changes: Partial<typeof instances.$inferInsert> = {}): Promise<{ made: SimCloud; id: string }> {
  const made = await createSimCloud({ start: false, hosts: ['h1', 'h2'] });
  cloud = made;
  const [id = ''] = await made.launch(1, { host: 'h2', state: 'running', ...changes });
  return { made, id };
}

const addressesOf = (made: SimCloud, id: string) => made.database.db.select().from(fixedAddresses).where(eq(fixedAddresses.instanceId, id));
const ask = (made: SimCloud, host: string, verb: 'ensurePort' | 'removePort', instanceId: string) =>
  made.transport.ask({ role: 'network', host }, networkProtocol, verb, { instanceId });

describe('a late ask for a port', () => {
  it('to remove it, at a host that the instance has left, leaves the address to the host that has it now', async () => {
    const { made, id } = await placedOnSecond();
    await ask(made, 'h2', 'ensurePort', id);
    await ask(made, 'h1', 'removePort', id);
    expect(await addressesOf(made, id)).toHaveLength(1);
    expect(made.hosts[1]?.network.host.firewall?.ports.map((port) => port.instanceId)).toEqual([id]);
    await ask(made, 'h2', 'removePort', id);
    expect(await addressesOf(made, id)).toHaveLength(0);
  });

  it.each([
    ['at a host that the instance has left', 'h1', {}], ['of an instance that ends', 'h2', { state: 'shutting-down' }],
    ['of one that has ended', 'h2', { state: 'terminated' }],
  ] as const)('to make it, %s, claims nothing', async (_when, host, changes) => {
    const { made, id } = await placedOnSecond(changes);
    await expect(ask(made, host, 'ensurePort', id)).rejects.toThrow('is not on');
    expect(await addressesOf(made, id)).toHaveLength(0);
  });

  it('that was heard just before the instance left its last host costs no address', async () => {
    const { made, id } = await placedOnSecond({ state: 'pending', host: null });
    const { db } = made.database;
    const [network] = await listNetworks(db);
    await claimAddress(db, { networkId: network?.id ?? '', instanceId: id, now });
    expect(await endUnplaced(db, id, { code: 'Server.InternalError', message: 'no host is left' }, now)).toBe(true);
    expect(await addressesOf(made, id)).toHaveLength(0);
  });
});

describe('a late undo of a launch', () => {
  const removeDisk = runInstance.steps.find(({ name }) => name === 'disk')?.undo;

  it.each([
    ['on a folder that hosts share, of an instance that has gone on', true, { host: 'h2', fence: 2 }, true],
    ['on a folder that hosts share, of one that nobody has now', true, { host: null, fence: 2 }, true],
    ['on a folder that hosts share, of its own instance', true, { host: 'h1', fence: 1 }, false],
    ['on its own folder, of an instance that has gone on', false, { host: 'h2', fence: 2 }, false],
    ['on its own folder, of one that came back', false, { host: 'h1', fence: 3 }, true],
  ] as const)('%s', async (_when, instancesShared, change, stays) => {
    const made = await createSimCloud({ start: false, hosts: ['h1', 'h2'], moves: { instancesShared } });
    cloud = made;
    const [host] = made.hosts;
    const [id = ''] = await made.launch(1, { host: 'h1', fence: 1 });
    const instance = await stateOf(made, id);
    if (host === undefined || instance === undefined) throw new Error('the spec has no instance');
    host.files.put(`/instances/${id}/root.qcow2`, 100);
    await made.database.db.update(instances).set(change).where(eq(instances.id, id));
    const { signal } = new AbortController();
    const fetchImage = async () => '/images/none';
    await removeDisk?.({ host: host.compute, instance, operationId: 'o', requestId: 'r', input: {}, fetchImage, signal, hurry: signal }, {});
    expect(host.files.paths().includes(`/instances/${id}/root.qcow2`)).toBe(stays);
  });
});

describe('a look at the domains', () => {
  it.each([
    ['stopped', 'running', 'still ran'], ['running', 'shutoff', 'did not run yet'],
  ] as const)('that is older than the row says nothing: %s stays although the domain %s', async (state, domain, _how) => {
    const { made, id } = await placedOnSecond({ state, stateChangedAt: now });
    const host = made.hosts[1]?.compute;
    if (host === undefined) throw new Error('no host');
    await made.database.db.update(instances).set({ host: host.name }).where(eq(instances.id, id));
    const hypervisor = new Proxy(host.hypervisor, {
      get: (target, name) => (name === 'list'
        ? async () => {
          // Between the look and what is made of it, an operation ends.
          await made.database.db.update(instances).set({ stateChangedAt: new Date() }).where(eq(instances.id, id));
          return [{ instanceId: id, state: domain, reason: 'unknown' }];
        }
        : Reflect.get(target, name, target) as unknown),
    });
    await made.database.db.execute('delete from operations');
    await reconcileInstances({ ...host, hypervisor }, { hostRestarted: false, purge: false });
    expect(await stateOf(made, id)).toMatchObject({ state, stateReasonCode: null });
  });
});
