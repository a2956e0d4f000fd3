// Networks of projects: segments that nobody else has, equal ranges, and what a host has to plumb.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { eq, sql } from 'drizzle-orm';
import { claimAddress, type Network } from '../../../src/db/networks.ts';
import {
  createProjectNetwork, ensureDefaultNetworkOf, networksOfHost, networksOfProject, peersOfRouters, type ProjectNetworkPolicy,
} from '../../../src/db/project-networks.ts';
import { deleteVpn, insertVpn } from '../../../src/db/vpns.ts';
import { hosts } from '../../../src/db/schema/hosts.ts';
import { projects } from '../../../src/db/schema/identity.ts';
import { instances } from '../../../src/db/schema/instances.ts';
import { fixedAddresses } from '../../../src/db/schema/networks.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addInstance, cloudRows, type CloudRows } from '../../support/instance-rows.ts';
import { quickestMs } from '../../support/quickest.ts';

let database: TestDatabase;
let cloud: CloudRows;
const now = new Date('2026-01-02T03:04:05Z');
const other = '210987654321';
const vxlan: ProjectNetworkPolicy = { manager: 'vxlan', cidr: '10.7.0.0/28', segments: { min: 5_000, max: 5_009 }, mtu: 1450 };

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.close();
});
beforeEach(async () => {
  const { db } = database;
  await db.execute(sql`truncate networks, instances, reservations, hosts cascade`);
  cloud = await cloudRows(db, { cidr: '10.45.0.0/28', gateway: '10.45.0.1' });
  await db.insert(projects).values({ id: other, name: 'other', description: '', managerId: 'u-1', createdAt: now }).onConflictDoNothing();
});

const ensure = (projectId: string, policy = vxlan) => ensureDefaultNetworkOf(database.db, projectId, policy, now);

async function made(wanted: Partial<Parameters<typeof createProjectNetwork>[1]> = {}): Promise<Network> {
  const network = await createProjectNetwork(database.db, { ...vxlan, projectId: cloud.projectId, routerId: 'vpc-1', ...wanted }, now);
  if (network === undefined) throw new Error('no segment was free');
  return network;
}

describe('a network of a project', () => {
  it('N1: of four thousand addresses is made in under two seconds, the first four and the last kept back', async () => {
    expect(await quickestMs((round) => made({ cidr: '172.31.0.0/20', routerId: `vpc-${round + 2}` }))).toBeLessThan(2_000);
    const network = await made({ cidr: '172.31.0.0/20' });
    const rows = await database.db.select().from(fixedAddresses).where(eq(fixedAddresses.networkId, network.id)).orderBy(fixedAddresses.position);
    expect(rows).toHaveLength(4096);
    expect(rows.filter((row) => row.reserved).map((row) => row.address))
      .toEqual(['172.31.0.0', '172.31.0.1', '172.31.0.2', '172.31.0.3', '172.31.15.255']);
  });

  it('asked for by many at once is made once, with the range that other projects have too', async () => {
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => ensure(n % 2 === 0 ? cloud.projectId : other)));
    expect(new Set(answers.map((network) => network?.id)).size).toBe(2);
    const [one, two] = [await networksOfProject(database.db, cloud.projectId), await networksOfProject(database.db, other)];
    expect([...one, ...two].map(({ cidr, isDefault }) => ({ cidr, isDefault }))).toEqual([
      { cidr: vxlan.cidr, isDefault: true }, { cidr: vxlan.cidr, isDefault: true },
    ]);
    expect(one[0]?.routerId).not.toBe(two[0]?.routerId);
  });

  it('N1: has the lowest free segment, never one that is taken, and none when all are', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => made()));
    expect(all.map((network) => network.segment ?? 0).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 10 }, (_, n) => 5_000 + n));
    expect(await createProjectNetwork(database.db, { ...vxlan, projectId: other, routerId: 'vpc-2' }, now)).toBeUndefined();
    await database.db.execute(sql`delete from networks where segment = 5003`);
    expect((await made()).bridge).toBe('nvbrx5003');
    expect((await made({ manager: 'vlan' })).bridge).toBe('nvbrl5000');
  });

  it('goes with its project', async () => {
    await ensure(other);
    await database.db.delete(projects).where(eq(projects.id, other));
    expect(await networksOfProject(database.db, other)).toEqual([]);
  });
});

describe('what a host has to plumb', () => {
  const member = async (number: number, host: string, network: Network, changes: Partial<typeof instances.$inferInsert> = {}) => {
    const id = `i-${number}`;
    await addInstance(database.db, cloud, { id, mac: `02:16:3e:00:00:0${number}`, host, networkId: network.id, ...changes });
    await claimAddress(database.db, { networkId: network.id, instanceId: id, now });
  };
  const idsOf = async (host: string) => (await networksOfHost(database.db, host)).map((network) => network.id).toSorted();
  const sorted = (...networks: readonly Network[]) => networks.map((network) => network.id).toSorted();

  it('is the default network of a project whose VPN ends there, without any member', async () => {
    const network = await ensure(cloud.projectId);
    await made({ routerId: 'vpc-2' });
    const sealed = { sealedAuthorityKey: '', sealedKey: '', sealedControlKey: '' };
    const texts = { authority: '', certificate: '', revocations: '' };
    const vpn = { projectId: cloud.projectId, host: 'h3', address: '192.0.2.1', port: 1194, createdAt: now, ...texts };
    expect(await insertVpn(database.db, { id: 'vpn-1', ...vpn, ...sealed })).toMatchObject({ outcome: 'made', vpn: { number: 0 } });
    expect(await insertVpn(database.db, { id: 'vpn-2', ...vpn, ...sealed })).toEqual({ outcome: 'exists' });
    expect(await insertVpn(database.db, { id: 'vpn-2', ...vpn, ...sealed, projectId: other })).toEqual({ outcome: 'portTaken' });
    expect(await idsOf('h3')).toEqual([cloud.network.id, network?.id ?? ''].toSorted());
    await deleteVpn(database.db, 'vpn-1');
    expect(await idsOf('h3')).toEqual([cloud.network.id]);
  });

  it('is the shared network, and those of projects with a member there, until that has gone', async () => {
    const [network, elsewhere] = [await made(), await made({ routerId: 'vpc-2' })];
    await member(1, 'h1', network);
    await member(2, 'h2', elsewhere);
    expect(await idsOf('h1')).toEqual(sorted(cloud.network, network));
    expect(await idsOf('h3')).toEqual(sorted(cloud.network));
    await database.db.update(instances).set({ state: 'terminated' }).where(eq(instances.id, 'i-1'));
    expect(await idsOf('h1')).toEqual(sorted(cloud.network));
  });

  it('is every network of a router that has one member there, and that of an instance on its way', async () => {
    const [first, second, third] = [await made(), await made(), await made({ routerId: 'vpc-2' })];
    await member(1, 'h1', first);
    await member(3, 'h2', third, { migratingTo: 'h1' });
    expect(await idsOf('h1')).toEqual(sorted(cloud.network, first, second, third));
    expect(await idsOf('h2')).toEqual(sorted(cloud.network, third));
  });

  it('has as its peers the addresses of the other hosts that plumb networks of the same router', async () => {
    const { db } = database;
    const host = (name: string, address: string | null) =>
      ({ name, zone: 'nova', hypervisor: 'sim', cores: 1, memoryMiB: 1, diskGiB: 1, bootId: 'b', updatedAt: now, address });
    await db.insert(hosts).values([host('h1', '192.0.2.1'), host('h2', '192.0.2.2'), host('h3', '192.0.2.3'), host('h4', null)]);
    const [first, second, third] = [await made(), await made(), await made({ routerId: 'vpc-2' })];
    await member(1, 'h1', first);
    await member(2, 'h2', second);
    await member(3, 'h2', second);
    await member(4, 'h3', third);
    await member(5, 'h4', first);
    expect(await peersOfRouters(db, { host: 'h1', routerIds: ['vpc-1', 'vpc-2'] })).toEqual(new Map([['vpc-1', ['192.0.2.2']], ['vpc-2', ['192.0.2.3']]]));
    expect(await peersOfRouters(db, { host: 'h2', routerIds: ['vpc-1'] })).toEqual(new Map([['vpc-1', ['192.0.2.1']]]));
    expect(await peersOfRouters(db, { host: 'h1', routerIds: [] })).toEqual(new Map());
  });
});
