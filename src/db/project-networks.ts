// Networks of projects: each with a segment of its own, so that the same range of addresses can be in use in many projects. Which of them a
// host has to plumb, and where else their members are.
import { and, asc, eq, inArray, isNull, ne, or, sql, type SQL } from 'drizzle-orm';
import { newId } from '../lib/ids.ts';
import { inTransaction, type Queryable, type Tx } from './db.ts';
import { checkCidr, insertAddresses, nthAddress, type Network } from './networks.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { vpns } from './schema/vpns.ts';

/** How projects get their networks, by the settings of the cloud. */
export interface ProjectNetworkPolicy {
  readonly manager: 'vlan' | 'vxlan';
  /** Of a project's default network: the same for all. */
  readonly cidr: string;
  /** The numbers of VLANs or VXLANs that may be used, both ends included. */
  readonly segments: { readonly min: number; readonly max: number };
  readonly mtu: number;
}

export interface NewProjectNetwork extends ProjectNetworkPolicy {
  readonly projectId: string;
  /** Networks of one router reach each other, whatever host they are on; their ranges must not overlap. */
  readonly routerId: string;
  readonly isDefault?: boolean;
}

const bridgePrefixes = { vlan: 'nvbrl', vxlan: 'nvbrx' } as const;

/** As at AWS the first four addresses (network, router, two kept back) and the last are for no instance. */
const keptBack = [1, 2, 3];

/**
 * Makes a network of a project with the lowest free segment, which is found and claimed in one statement, and a row for each of its addresses.
 * Undefined: all segments are in use.
 */
export async function createProjectNetwork(db: Queryable, wanted: NewProjectNetwork, now: Date): Promise<Network | undefined> {
  const { base, size } = checkCidr(wanted.cidr);
  return inTransaction(db, async (tx) => {
    const made = await claimSegment(tx, { ...wanted, id: newId('net'), gateway: nthAddress(base, 1) }, now);
    if (made !== undefined) await insertAddresses(tx, { networkId: made.id, base, size, reserved: keptBack.map((n) => nthAddress(base, n)) });
    return made;
  });
}

/** One claim at a time: of two at the same moment the later one would fail by the unique index. */
async function claimSegment(tx: Tx, wanted: NewProjectNetwork & { id: string; gateway: string }, now: Date): Promise<Network | undefined> {
  const { id, manager, segments } = wanted;
  await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`segments:${manager}`}, 0))`);
  const n = networks;
  await tx.execute(sql`
    insert into ${n} (id, name, manager, cidr, gateway, mtu, created_at, project_id, router_id, is_default, segment, bridge)
    select ${id}::text, ${id}::text, ${manager}::text, ${wanted.cidr}::text, ${wanted.gateway}::text, ${wanted.mtu}::int,
           ${sql.param(now, n.createdAt)}::timestamptz, ${wanted.projectId}::text, ${wanted.routerId}::text, ${wanted.isDefault ?? false}::boolean,
           free, ${bridgePrefixes[manager]}::text || free
    from generate_series(${segments.min}::int, ${segments.max}::int) as free
    where not exists (select 1 from ${n} where ${n.manager} = ${manager} and ${n.segment} = free)
    order by free limit 1`);
  const [made] = await tx.select().from(n).where(eq(n.id, id));
  return made;
}

/** The network of a project on which instances live that name no other: made at the first question. Undefined: all segments are in use. */
export async function ensureDefaultNetworkOf(db: Queryable, projectId: string, policy: ProjectNetworkPolicy, now: Date): Promise<Network | undefined> {
  const known = await defaultNetworkOf(db, projectId);
  if (known !== undefined) return known;
  return inTransaction(db, async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended(${`default network:${projectId}`}, 0))`);
    return (await defaultNetworkOf(tx, projectId))
      ?? createProjectNetwork(tx, { ...policy, projectId, routerId: newId('vpc'), isDefault: true }, now);
  });
}

export async function defaultNetworkOf(db: Queryable, projectId: string): Promise<Network | undefined> {
  const [row] = await db.select().from(networks).where(and(eq(networks.projectId, projectId), eq(networks.isDefault, true)));
  return row;
}

/** By age: the default one first. */
export const networksOfProject = (db: Queryable, projectId: string): Promise<Network[]> =>
  db.select().from(networks).where(eq(networks.projectId, projectId)).orderBy(asc(networks.createdAt), asc(networks.id));

/** Placed on a host, or on its way there, with an address on the network and not terminated. */
const membersOn = (host: string) => and(or(eq(instances.host, host), eq(instances.migratingTo, host)), ne(instances.state, 'terminated'));

/**
 * What a host has to plumb: the networks that all projects share, and of those of projects the ones with a member on this host, together with
 * all others of the same router, for that one leads to them from here; and the default ones of projects whose VPN ends here.
 */
export async function networksOfHost(db: Queryable, host: string): Promise<Network[]> {
  const inhabited = db.selectDistinct({ id: networks.id, routerId: networks.routerId }).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId)).where(membersOn(host)).as('inhabited');
  const byVpn = db.select({ projectId: vpns.projectId }).from(vpns).where(eq(vpns.host, host));
  const wanted = or(
    isNull(networks.projectId),
    and(networks.isDefault, inArray(networks.projectId, byVpn)),
    inArray(networks.id, db.select({ id: inhabited.id }).from(inhabited)),
    inArray(networks.routerId, db.select({ routerId: inhabited.routerId }).from(inhabited)),
  );
  return db.select().from(networks).where(wanted).orderBy(asc(networks.name));
}

/** Where the other hosts are that plumb networks of these routers too, by router: frames for members that nobody has heard of go there. */
export async function peersOfRouters(db: Queryable, of: { host: string; routerIds: readonly string[] }): Promise<Map<string, string[]>> {
  const peers = new Map<string, string[]>();
  if (of.routerIds.length === 0) return peers;
  const rows = await db.selectDistinct({ routerId: networks.routerId, address: hosts.address }).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .innerJoin(hosts, or(eq(hosts.name, instances.host), eq(hosts.name, instances.migratingTo)))
    .where(and(inArray(networks.routerId, [...of.routerIds]), ne(hosts.name, of.host), ne(instances.state, 'terminated')))
    .orderBy(asc(hosts.address));
  for (const { routerId, address } of rows) {
    if (routerId !== null && address !== null) peers.set(routerId, [...(peers.get(routerId) ?? []), address]);
  }
  return peers;
}

/** The hosts that have members of the networks of a router. */
export function hostsOfRouter(db: Queryable, routerId: string): Promise<string[]> {
  return hostsOfNetworks(db, eq(networks.routerId, routerId));
}

/** The hosts that have members of the networks of an instance's router; none for one on the shared network. */
export function peersOfInstance(db: Queryable, instanceId: string): Promise<string[]> {
  const own = db.select({ routerId: networks.routerId }).from(fixedAddresses)
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId)).where(eq(fixedAddresses.instanceId, instanceId));
  return hostsOfNetworks(db, inArray(networks.routerId, own));
}

async function hostsOfNetworks(db: Queryable, which: SQL): Promise<string[]> {
  const rows = await db.selectDistinct({ host: instances.host }).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .where(and(which, ne(instances.state, 'terminated')));
  return rows.flatMap((row) => row.host ?? []);
}
