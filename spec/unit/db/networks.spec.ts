// Addresses and ports as the database knows them.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eq, sql } from 'drizzle-orm';
import {
  addressesOfInstances, claimAddress, claimHostAddress, createNetwork, deleteNetwork, dhcpHostsOfNetwork, hostsNamingGroupsOf, hostsOfGroups,
  listNetworks, neighboursOfNetwork, portOfInstance, portsOfHost, releaseAddress, releaseHostAddress,
} from '../../../src/db/networks.ts';
import { instances, instanceSecurityGroups, securityGroupRules, securityGroups } from '../../../src/db/schema/instances.ts';
import { fixedAddresses } from '../../../src/db/schema/networks.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addInstance, cloudRows, type CloudRows } from '../../support/instance-rows.ts';
import { quickestMs } from '../../support/quickest.ts';

let database: TestDatabase;
const now = new Date('2026-01-02T03:04:05Z');
const wanted = { name: 'n', manager: 'flat-dhcp', bridge: 'novact1', mtu: 1500 };

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.close();
});

describe('making a network', () => {
  it('of four thousand addresses takes under two seconds; network, gateway and broadcast address are reserved', async () => {
    const { db } = database;
    const large = { ...wanted, name: 'large', cidr: '10.45.0.0/20', reserved: ['10.45.0.2'] };
    expect(await quickestMs(async () => {
      for (const { id } of await listNetworks(db)) await deleteNetwork(db, id);
      await createNetwork(db, large, now);
    })).toBeLessThan(2_000);
    const network = await createNetwork(db, large, now);
    expect(network.gateway).toBe('10.45.0.1');
    const rows = await db.select().from(fixedAddresses).where(eq(fixedAddresses.networkId, network.id)).orderBy(fixedAddresses.position);
    expect(rows).toHaveLength(4096);
    expect(new Set(rows.map((row) => row.address)).size).toBe(4096);
    expect(rows.filter((row) => row.reserved).map((row) => row.address)).toEqual(['10.45.0.0', '10.45.0.1', '10.45.0.2', '10.45.15.255']);
    await deleteNetwork(db, network.id);
    expect(await db.$count(fixedAddresses)).toBe(0);
  });

  it('twice gives the first, and its addresses stay claimed', async () => {
    const { db } = database;
    const first = await createNetwork(db, { ...wanted, cidr: '192.168.7.0/29' }, now);
    await claimAddress(db, { networkId: first.id, instanceId: 'i-1', now });
    expect(await createNetwork(db, { ...wanted, cidr: '192.168.7.0/29' }, now)).toEqual(first);
    expect(await addressesOfInstances(db, ['i-1', 'i-2'])).toEqual(new Map([['i-1', '192.168.7.2']]));
    expect(await listNetworks(db)).toEqual([first]);
    await deleteNetwork(db, first.id);
  });

  it.each(['10.0.0.1/24', '10.0.0.0/8', '10.0.0.0/30', '10.0.0.0', 'fd00::/64', 'x'])('of %s is refused with a remedy', async (cidr) => {
    await expect(createNetwork(database.db, { ...wanted, cidr }, now)).rejects.toMatchObject({ name: 'SetupError', remedy: expect.stringContaining('/20') });
  });
});

describe('claiming an address', () => {
  let networkId = '';
  beforeEach(async () => {
    const { db } = database;
    await db.execute(sql`delete from networks`);
    networkId = (await createNetwork(db, { ...wanted, cidr: '10.1.0.0/25' }, now)).id;
  });

  it('gives the lowest free one, the same to the same instance', async () => {
    const { db } = database;
    const claim = (instanceId: string) => claimAddress(db, { networkId, instanceId, now });
    expect(await claim('i-1')).toEqual({ address: '10.1.0.2' });
    expect(await claim('i-2')).toEqual({ address: '10.1.0.3' });
    expect(await claim('i-1')).toEqual({ address: '10.1.0.2' });
    expect(await releaseAddress(db, 'i-1', now)).toEqual(['10.1.0.2']);
    expect(await releaseAddress(db, 'i-1', now)).toEqual([]);
  });

  it('gives a freed one to another only after a minute, while there are others', async () => {
    const { db } = database;
    const claim = (instanceId: string, afterMs: number) => claimAddress(db, { networkId, instanceId, now: new Date(now.getTime() + afterMs) });
    await claim('i-1', 0);
    await releaseAddress(db, 'i-1', new Date(now.getTime() + 1_000));
    expect(await claim('i-2', 60_999)).toEqual({ address: '10.1.0.3' });
    expect(await claim('i-3', 61_001)).toEqual({ address: '10.1.0.2' });
  });

  it('gives a host an address of its own, and takes it back', async () => {
    const { db } = database;
    const own = await claimHostAddress(db, { networkId, host: 'one', now });
    expect(await claimHostAddress(db, { networkId, host: 'one', now })).toBe(own);
    expect(await claimHostAddress(db, { networkId, host: 'two', now })).not.toBe(own);
    expect(await releaseHostAddress(db, 'one', now)).toEqual([own]);
  });

  it('by a hundred at once gives a hundred addresses, and nothing when the network is full', async () => {
    const { db } = database;
    const claims = await Promise.all(Array.from({ length: 100 }, (_, n) => claimAddress(db, { networkId, instanceId: `i-${n}`, now })));
    expect(new Set(claims.map((claim) => claim?.address)).size).toBe(100);
    for (let n = 100; n < 125; n += 1) expect(await claimAddress(db, { networkId, instanceId: `i-${n}`, now })).toBeDefined();
    expect(await claimAddress(db, { networkId, instanceId: 'i-last', now })).toBeUndefined();
    expect(await claimAddress(db, { networkId, instanceId: 'i-7', now })).toEqual(claims[7]);
    await releaseAddress(db, 'i-50', now);
    expect(await claimAddress(db, { networkId, instanceId: 'i-last', now })).toEqual(claims[50]);
  });

  it('ten times at once for one instance gives it one address', async () => {
    const { db } = database;
    const claims = await Promise.all(Array.from({ length: 10 }, () => claimAddress(db, { networkId, instanceId: 'i-1', now })));
    // Which one depends on who was first: the others skipped the rows that were locked then.
    expect(claims[0]?.address).toMatch(/^10\.1\.0\.\d+$/);
    expect(claims).toEqual(claims.map(() => claims[0]));
    expect(await db.$count(fixedAddresses, eq(fixedAddresses.instanceId, 'i-1'))).toBe(1);
  });

  it('in a transaction that fails claims nothing', async () => {
    const { db } = database;
    const failing = db.transaction(async (tx) => {
      await claimAddress(tx, { networkId, instanceId: 'i-1', now });
      throw new Error('undo');
    });
    await expect(failing).rejects.toThrow('undo');
    expect(await addressesOfInstances(db, ['i-1'])).toEqual(new Map());
  });
});

describe('what a host makes real', () => {
  let cloud: CloudRows;
  const group = async (id: string, members: readonly string[], rules: readonly Partial<typeof securityGroupRules.$inferInsert>[]) => {
    const { db } = database;
    await db.insert(securityGroups).values({ id, projectId: cloud.projectId, name: id, description: '', createdAt: now });
    for (const instanceId of members) await db.insert(instanceSecurityGroups).values({ instanceId, groupId: id });
    for (const [n, rule] of rules.entries()) {
      await db.insert(securityGroupRules).values({ id: `${id}-${n}`, groupId: id, direction: 'ingress', protocol: 'tcp', fromPort: 22, toPort: 22, ...rule });
    }
  };

  beforeAll(async () => {
    const { db } = database;
    await db.execute(sql`delete from networks`);
    cloud = await cloudRows(db, { cidr: '10.2.0.0/24', gateway: '10.2.0.1' });
    await addInstance(db, cloud, { id: 'i-a', host: 'one', address: '10.2.0.9', mac: '02:16:3e:00:00:0a' });
    await addInstance(db, cloud, { id: 'i-b', host: 'two', address: '10.2.0.5', mac: '02:16:3e:00:00:0b' });
    await addInstance(db, cloud, { id: 'i-c', host: 'one', address: '10.2.0.3', mac: '02:16:3e:00:00:0c', state: 'stopped' });
    await addInstance(db, cloud, { id: 'i-no-address', host: 'one', mac: '02:16:3e:00:00:0d' });
    await addInstance(db, cloud, { id: 'i-ended', host: 'one', address: '10.2.0.7', mac: '02:16:3e:00:00:0e', state: 'terminated' });
    await group('sg-empty', [], []);
    await group('sg-peers', ['i-a', 'i-b', 'i-no-address'], []);
    await db.insert(securityGroupRules).values({ id: 'self', groupId: 'sg-peers', direction: 'ingress', protocol: '-1', fromPort: -1, toPort: -1, sourceGroupId: 'sg-peers' });
    await group('sg-ssh', ['i-a', 'i-c'], [
      { cidr: '192.0.2.0/24' }, { cidr: '10.0.0.7/32' }, { sourceGroupId: 'sg-empty' }, { protocol: 'udp', fromPort: 53, toPort: 53, sourceGroupId: 'sg-empty' },
      { protocol: 'icmp', fromPort: 8, toPort: -1, cidr: '0.0.0.0/0' }, { direction: 'egress', protocol: '-1', fromPort: -1, toPort: -1, cidr: '0.0.0.0/0' },
    ]);
  });

  it('ports are those of the instances placed there that have an address, each with the rules of all its groups', async () => {
    const ports = await portsOfHost(database.db, 'one');
    const ssh = [
      { protocol: 'icmp', fromPort: 8, toPort: -1, cidrs: ['0.0.0.0/0'] },
      { protocol: 'tcp', fromPort: 22, toPort: 22, cidrs: ['10.0.0.7/32', '192.0.2.0/24'] },
      { protocol: 'udp', fromPort: 53, toPort: 53, cidrs: [] },
    ];
    expect(ports.map(({ instanceId, address, bridge, tap }) => ({ instanceId, address, bridge, tap }))).toEqual([
      { instanceId: 'i-a', address: '10.2.0.9', bridge: 'br-default', tap: 'nva' }, { instanceId: 'i-c', address: '10.2.0.3', bridge: 'br-default', tap: 'nvc' },
    ]);
    expect(ports[0]?.ingress).toEqual([{ protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['10.2.0.5/32', '10.2.0.9/32'] }, ...ssh]);
    expect(ports[1]?.ingress).toEqual(ssh);
    expect(await portsOfHost(database.db, 'three')).toEqual([]);
  });

  it('DHCP serves those that live there', async () => {
    expect(await dhcpHostsOfNetwork(database.db, { host: 'one', networkId: cloud.network.id })).toEqual([
      { mac: '02:16:3e:00:00:0c', address: '10.2.0.3', hostname: 'i-c' }, { mac: '02:16:3e:00:00:0a', address: '10.2.0.9', hostname: 'i-a' },
    ]);
  });

  it('the port of an instance is found wherever it is', async () => {
    expect(await portOfInstance(database.db, 'i-b')).toEqual({
      instanceId: 'i-b', networkId: cloud.network.id, tap: 'nvb', bridge: 'br-default', mac: '02:16:3e:00:00:0b', address: '10.2.0.5',
    });
    expect(await portOfInstance(database.db, 'i-no-address')).toBeUndefined();
  });

  it('a change of a group concerns the hosts of its members and of those that name it', async () => {
    expect((await hostsOfGroups(database.db, ['sg-peers'])).toSorted()).toEqual(['one', 'two']);
    expect(await hostsOfGroups(database.db, ['sg-empty'])).toEqual(['one']);
    expect(await hostsOfGroups(database.db, ['sg-none'])).toEqual([]);
  });

  it('an instance that comes or goes concerns the hosts of those whose rules name a group of it', async () => {
    const of = async (id: string) => {
      const { hosts, groupIds } = await hostsNamingGroupsOf(database.db, id);
      return { hosts: hosts.toSorted(), groupIds };
    };
    expect(await of('i-a')).toEqual({ hosts: ['one', 'two'], groupIds: ['sg-peers'] });
    expect(await of('i-c')).toEqual({ hosts: [], groupIds: [] });
  });

  it('neighbours are the instances of other hosts', async () => {
    expect(await neighboursOfNetwork(database.db, { host: 'two', networkId: cloud.network.id })).toEqual([
      { address: '10.2.0.3', hostname: 'i-c' }, { address: '10.2.0.9', hostname: 'i-a' },
    ]);
  });

  it('two hundred ports with groups take one look', async () => {
    const { db } = database;
    for (let n = 0; n < 200; n += 1) {
      await addInstance(db, cloud, { id: `i-x${n}`, host: 'many', address: `10.2.0.${20 + n}`, mac: `02:16:3e:01:00:${n}` });
      await db.insert(instanceSecurityGroups).values({ instanceId: `i-x${n}`, groupId: 'sg-peers' });
    }
    const ports = await portsOfHost(db, 'many');
    expect(await quickestMs(() => portsOfHost(db, 'many'))).toBeLessThan(1_000);
    expect(ports).toHaveLength(200);
    expect(ports[0]?.ingress[0]?.cidrs).toHaveLength(202);
    expect(await db.$count(instances, eq(instances.host, 'many'))).toBe(200);
  });
});
