// Networks of projects on hosts that plumb them on demand: there with the first member, gone with the last, and apart from each other.
import { and, eq, inArray } from 'drizzle-orm';
import { afterEach, describe, expect, it } from 'vitest';
import { networksToPlumb } from '../../src/actors/network/network-spec.ts';
import { startNetworkActors } from '../../src/actors/network/start.ts';
import { addressesOfInstances } from '../../src/db/networks.ts';
import { ensureDefaultNetworkOf, type ProjectNetworkPolicy } from '../../src/db/project-networks.ts';
import { projects } from '../../src/db/schema/identity.ts';
import { instances, type InstanceState } from '../../src/db/schema/instances.ts';
import { createFakeNetwork } from '../../src/drivers/network/fake.ts';
import type { NetworkDriver } from '../../src/drivers/network/driver.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newProjectId } from '../../src/lib/ids.ts';
import { silentLog } from '../../src/lib/log.ts';
import { waitUntil } from '../support/patience.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud | undefined;
afterEach(async () => {
  await cloud?.close();
  cloud = undefined;
});

const patience = { timeoutMs: 200_000, pollMs: 50 };
const now = new Date();
const policy = (cidr: string): ProjectNetworkPolicy => ({ manager: 'vxlan', cidr, segments: { min: 5_000, max: 5_100 }, mtu: 1450 });

async function start(cidr: string, hosts: readonly string[] = ['h1']) {
  const made = await createSimCloud({ hosts, cores: 200, memoryMiB: 100_000 });
  cloud = made;
  const { db } = made.database;
  const other = newProjectId();
  await db.insert(projects).values({ id: other, name: 'other', description: '', managerId: 'u', createdAt: now });
  const networkOf = async (projectId: string) => {
    const network = await ensureDefaultNetworkOf(db, projectId, policy(cidr), now);
    if (network === undefined) throw new Error('no segment');
    return network;
  };
  const reach = (ids: readonly string[], state: InstanceState) => waitUntil(`${ids.length} instances ${state}`, patience, async () =>
    (await db.$count(instances, and(inArray(instances.id, [...ids]), eq(instances.state, state)))) === ids.length);
  const run = async (count: number, networkId: string): Promise<string[]> => {
    const ids = await made.launch(count, { networkId });
    await reach(ids, 'running');
    return ids;
  };
  const end = async (ids: readonly string[]): Promise<void> => {
    await Promise.all(ids.map((id) => made.wish(id, 'instance.terminate', 'shutting-down')));
    await reach(ids, 'terminated');
  };
  const plumbed = () => made.hosts.map((host) => [...host.network.host.networks.keys()]);
  return { made, db, other, networkOf, run, end, plumbed };
}

describe('a network of a project', () => {
  it('is on a host with its first member, with all rules of it, and gone with its last', async () => {
    const { made, networkOf, run, end, plumbed } = await start('10.7.0.0/24');
    const network = await networkOf(made.projectId);
    const shared = plumbed()[0]?.length;
    expect(plumbed()[0]).not.toContain(network.id);
    const [first = '', second = ''] = await run(2, network.id);
    const fake = made.hosts[0]?.network.host;
    expect(plumbed()[0]).toContain(network.id);
    expect(fake?.networks.get(network.id)?.hosts.map((host) => host.hostname).toSorted()).toEqual([first, second].toSorted());
    expect(fake?.firewall?.networks.find((one) => one.id === network.id)).toMatchObject({
      segment: { kind: 'vxlan', id: 5_000 }, router: { id: network.routerId, namespace: `novact-h1-${network.routerId}` },
    });
    await end([first]);
    expect(plumbed()[0]).toContain(network.id);
    await end([second]);
    await waitUntil('the network to be gone', patience, async () => plumbed()[0]?.length === shared);
    expect(fake?.firewall?.networks.map((one) => one.id)).not.toContain(network.id);
    await run(1, network.id);
    expect(plumbed()[0]).toContain(network.id);
  }, 240_000);

  it('has the same range and addresses as that of another project on the same host', async () => {
    const { made, db, other, networkOf, run } = await start('10.7.0.0/28');
    const [one, two] = [await networkOf(made.projectId), await networkOf(other)];
    const mine = await run(1, one.id);
    const theirs = await run(1, two.id);
    const addresses = await addressesOfInstances(db, [...mine, ...theirs]);
    expect([...addresses.values()]).toEqual(['10.7.0.4', '10.7.0.4']);
    const ports = made.hosts[0]?.network.host.firewall?.ports ?? [];
    expect(new Set(ports.map((port) => port.bridge)).size).toBe(2);
  }, 240_000);

  it('is plumbed when its host starts anew, though that of another project cannot be: that one follows as soon as it can', async () => {
    const { made, db, other, networkOf, run } = await start('10.7.0.0/24');
    const [one, two] = [await networkOf(made.projectId), await networkOf(other)];
    await Promise.all([run(1, one.id), run(1, two.id)]);
    const [host] = made.hosts;
    if (host === undefined) throw new Error('no host');
    const driver = createFakeNetwork();
    let broken = true;
    const ensureNetwork: NetworkDriver['ensureNetwork'] = async (network, ...rest) => {
      if (network.id === one.id && broken) throw new Error('no such link');
      await driver.ensureNetwork(network, ...rest);
    };
    const networks = networksToPlumb({ db, clock: systemClock }, { host: host.name, dnsDomain: 'spec', leaseSeconds: 3_600 });
    const { system } = host.compute;
    const settings = { name: host.name, db, clock: systemClock, log: silentLog, system, networks, metadataPort: 1, reconcileIntervalMs: 100 };
    await startNetworkActors({ ...settings, driver: { ...driver, ensureNetwork } }, 'anew');
    expect([...driver.host.networks.keys()]).toContain(two.id);
    expect([...driver.host.networks.keys()]).not.toContain(one.id);
    broken = false;
    await waitUntil('it has followed', patience, async () => driver.host.networks.has(one.id));
  }, 240_000);

  it('N6: a hundred launches at once get a hundred addresses', async () => {
    const { made, db, networkOf, run } = await start('10.7.0.0/24');
    const network = await networkOf(made.projectId);
    const ids = await run(100, network.id);
    expect(new Set((await addressesOfInstances(db, ids)).values()).size).toBe(100);
  }, 240_000);

  it('N5: thirty instances come and go on a range of eleven addresses, and all are free in the end', async () => {
    const { made, db, networkOf, run, end } = await start('10.7.0.0/28');
    const network = await networkOf(made.projectId);
    for (let round = 0; round < 3; round += 1) {
      const ids = await run(10, network.id);
      expect(new Set((await addressesOfInstances(db, ids)).values()).size).toBe(10);
      await end(ids);
      expect((await addressesOfInstances(db, ids)).size).toBe(0);
    }
  }, 240_000);
});
