// Virtual private clouds of projects: the default one, made on first use, and what clients are shown of all of them.
import { and, asc, count, eq, inArray, isNull } from 'drizzle-orm';
import ipaddr from 'ipaddr.js';
import { groupBy } from '../lib/group-by.ts';
import { newId } from '../lib/ids.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { findSharedNetwork } from './networks.ts';
import { ensureDefaultNetworkOf, type ProjectNetworkPolicy } from './project-networks.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { dhcpOptions, internetGateways, networkAcls, routeTableAssociations, routeTables, routes, subnets, vpcs } from './schema/vpcs.ts';
import { ensureDefaultGroup } from './security-groups.ts';

export type Vpc = typeof vpcs.$inferSelect;
export type Subnet = typeof subnets.$inferSelect;
export type InternetGateway = typeof internetGateways.$inferSelect;
export type RouteTable = typeof routeTables.$inferSelect;
export type Route = typeof routes.$inferSelect;
export type RouteTableAssociation = typeof routeTableAssociations.$inferSelect;
export type NetworkAcl = typeof networkAcls.$inferSelect;

export interface DefaultVpc {
  readonly vpc: Vpc;
  readonly subnet: Subnet;
}

export const everywhere = '0.0.0.0/0';

export interface WishedVpc {
  readonly projectId: string;
  readonly zone: string;
  readonly now: Date;
  /** Its network is its own; undefined: the one that all projects share. */
  readonly projectNetworks?: ProjectNetworkPolicy | undefined;
}

/**
 * The project's default VPC with its one subnet, a way out, and the default group: made on first use, once, however many ask at the same moment.
 * Undefined while the cloud has no network yet, or none left for the project.
 */
export async function ensureDefaultVpc(db: Db, wish: WishedVpc): Promise<DefaultVpc | undefined> {
  return (await findDefaultVpc(db, wish.projectId)) ?? db.transaction(async (tx) => {
    await lockProject(tx, wish.projectId);
    return (await findDefaultVpc(tx, wish.projectId)) ?? makeDefaultVpc(tx, wish);
  });
}

async function findDefaultVpc(db: Queryable, projectId: string): Promise<DefaultVpc | undefined> {
  const [row] = await db.select({ vpc: vpcs, subnet: subnets }).from(vpcs).innerJoin(subnets, and(eq(subnets.vpcId, vpcs.id), subnets.isDefault))
    .where(and(eq(vpcs.projectId, projectId), vpcs.isDefault));
  return row;
}

async function makeDefaultVpc(tx: Tx, { projectId, zone, now, projectNetworks }: WishedVpc): Promise<DefaultVpc | undefined> {
  const network = projectNetworks === undefined ? await findSharedNetwork(tx) : await ensureDefaultNetworkOf(tx, projectId, projectNetworks, now);
  if (network === undefined) return undefined;
  const cidr = network.routerId === null ? network.cidr : widened(network.cidr);
  const vpc: Vpc = { id: network.routerId ?? newId('vpc'), projectId, cidr, isDefault: true, enableDnsHostnames: true, createdAt: now };
  const mainTableId = await insertVpc(tx, vpc);
  const subnet: Subnet = {
    id: newId('subnet'), projectId, vpcId: vpc.id, networkId: network.id, cidr: network.cidr, zone, isDefault: true,
    mapPublicIpOnLaunch: network.projectId === null, createdAt: now,
  };
  await tx.insert(subnets).values(subnet);
  const gateway = { id: newId('igw'), projectId, vpcId: vpc.id, createdAt: now };
  await tx.insert(internetGateways).values(gateway);
  await tx.insert(routes).values({ routeTableId: mainTableId, destination: everywhere, gatewayId: gateway.id, createdAt: now });
  await ensureDefaultGroup(tx, projectId, now);
  return { vpc, subnet };
}

/** Room for more subnets beside the default one, as at AWS. */
function widened(cidr: string): string {
  return `${ipaddr.IPv4.networkAddressFromCIDR(cidr.replace(/\/.*/, '/16')).toString()}/16`;
}

/** A VPC with its main route table, whose id is returned, its network ACL, and the project's DHCP options. */
export async function insertVpc(tx: Tx, vpc: Vpc): Promise<string> {
  const { projectId, createdAt } = vpc;
  const mainTableId = newId('rtb');
  await tx.insert(dhcpOptions).values({ id: newId('dopt'), projectId, createdAt }).onConflictDoNothing({ target: dhcpOptions.projectId });
  await tx.insert(vpcs).values(vpc);
  await tx.insert(routeTables).values({ id: mainTableId, projectId, vpcId: vpc.id, createdAt });
  await tx.insert(routeTableAssociations).values({ id: newId('rtbassoc'), vpcId: vpc.id, routeTableId: mainTableId, subnetId: null });
  await tx.insert(networkAcls).values({ id: newId('acl'), projectId, vpcId: vpc.id, createdAt });
  return mainTableId;
}

export const vpcsOf = (db: Queryable, projectId: string): Promise<Vpc[]> =>
  db.select().from(vpcs).where(eq(vpcs.projectId, projectId)).orderBy(asc(vpcs.createdAt), asc(vpcs.id));

export async function findVpc(db: Queryable, projectId: string, id: string): Promise<Vpc | undefined> {
  const [row] = await db.select().from(vpcs).where(and(eq(vpcs.projectId, projectId), eq(vpcs.id, id)));
  return row;
}

export async function setDnsHostnames(db: Queryable, vpcId: string, enableDnsHostnames: boolean): Promise<void> {
  await db.update(vpcs).set({ enableDnsHostnames }).where(eq(vpcs.id, vpcId));
}

export async function dhcpOptionsOf(db: Queryable, projectId: string): Promise<string | undefined> {
  const [row] = await db.select({ id: dhcpOptions.id }).from(dhcpOptions).where(eq(dhcpOptions.projectId, projectId));
  return row?.id;
}

export interface FullSubnet extends Subnet {
  /** Of the addresses of its network. Under a flat manager other projects take from the same. */
  readonly freeAddresses: number;
  /** Of its network; null: no IPv6. */
  readonly ipv6Cidr: string | null;
  /** Whether its addresses are reached from outside as they are. */
  readonly isReachable: boolean;
}

/** Under these the hosts are the gateways of one network, and know the way to it. */
const flatManagers = ['flat', 'flat-dhcp'];

export async function subnetsOf(db: Queryable, projectId: string): Promise<FullSubnet[]> {
  const rows = await db.select({ subnet: subnets, manager: networks.manager, ipv6Cidr: networks.ipv6Cidr })
    .from(subnets).innerJoin(networks, eq(networks.id, subnets.networkId))
    .where(eq(subnets.projectId, projectId)).orderBy(asc(subnets.createdAt), asc(subnets.id));
  const networkIds = rows.map(({ subnet }) => subnet.networkId);
  if (networkIds.length === 0) return [];
  const counts = await db.select({ networkId: fixedAddresses.networkId, free: count() }).from(fixedAddresses)
    .where(and(inArray(fixedAddresses.networkId, networkIds), isNull(fixedAddresses.instanceId), eq(fixedAddresses.reserved, false)))
    .groupBy(fixedAddresses.networkId);
  const free = new Map(counts.map((row) => [row.networkId, row.free]));
  return rows.map(({ subnet, manager, ipv6Cidr }) => (
    { ...subnet, ipv6Cidr, freeAddresses: free.get(subnet.networkId) ?? 0, isReachable: flatManagers.includes(manager) }));
}

export async function setPublicOnLaunch(db: Queryable, subnetId: string, mapPublicIpOnLaunch: boolean): Promise<void> {
  await db.update(subnets).set({ mapPublicIpOnLaunch }).where(eq(subnets.id, subnetId));
}

export async function findSubnet(db: Queryable, projectId: string, id: string): Promise<Subnet | undefined> {
  const [row] = await db.select().from(subnets).where(and(eq(subnets.projectId, projectId), eq(subnets.id, id)));
  return row;
}

export const gatewaysOf = (db: Queryable, projectId: string): Promise<InternetGateway[]> =>
  db.select().from(internetGateways).where(eq(internetGateways.projectId, projectId)).orderBy(asc(internetGateways.createdAt), asc(internetGateways.id));

export interface FullRouteTable extends RouteTable {
  /** Of its VPC. */
  readonly cidr: string;
  /** Those that lead to a gateway, with whether it is attached to the table's VPC. */
  readonly routes: readonly (Route & { readonly isActive: boolean })[];
  readonly associations: readonly RouteTableAssociation[];
}

export async function routeTablesOf(db: Queryable, projectId: string): Promise<FullRouteTable[]> {
  const tables = await db.select({ table: routeTables, cidr: vpcs.cidr }).from(routeTables).innerJoin(vpcs, eq(vpcs.id, routeTables.vpcId))
    .where(eq(routeTables.projectId, projectId)).orderBy(asc(routeTables.createdAt), asc(routeTables.id));
  const ids = tables.map(({ table }) => table.id);
  if (ids.length === 0) return [];
  const out = await db.select({ route: routes, attachedTo: internetGateways.vpcId }).from(routes)
    .leftJoin(internetGateways, eq(internetGateways.id, routes.gatewayId)).where(inArray(routes.routeTableId, ids)).orderBy(asc(routes.destination));
  const followed = await db.select().from(routeTableAssociations).where(inArray(routeTableAssociations.routeTableId, ids))
    .orderBy(asc(routeTableAssociations.id));
  const routesOf = groupBy(out, ({ route }) => route.routeTableId);
  const associationsOf = groupBy(followed, (association) => association.routeTableId);
  return tables.map(({ table, cidr }) => ({
    ...table,
    cidr,
    routes: (routesOf.get(table.id) ?? []).map(({ route, attachedTo }) => ({ ...route, isActive: attachedTo === table.vpcId })),
    associations: associationsOf.get(table.id) ?? [],
  }));
}

export interface FullAcl extends NetworkAcl {
  /** Of its VPC. */
  readonly isDefaultVpc: boolean;
  readonly subnetIds: readonly string[];
}

export async function networkAclsOf(db: Queryable, projectId: string): Promise<FullAcl[]> {
  const rows = await db.select({ acl: networkAcls, isDefaultVpc: vpcs.isDefault, subnetId: subnets.id }).from(networkAcls)
    .innerJoin(vpcs, eq(vpcs.id, networkAcls.vpcId)).leftJoin(subnets, eq(subnets.vpcId, networkAcls.vpcId))
    .where(eq(networkAcls.projectId, projectId)).orderBy(asc(networkAcls.createdAt), asc(networkAcls.id), asc(subnets.id));
  return [...groupBy(rows, ({ acl }) => acl.id).values()].flatMap((group) => {
    const [first] = group;
    return first === undefined ? [] : [{ ...first.acl, isDefaultVpc: first.isDefaultVpc, subnetIds: group.flatMap(({ subnetId }) => subnetId ?? []) }];
  });
}

/** Where an instance is, as clients are told. */
export interface SubnetPlace {
  readonly subnetId: string;
  readonly vpcId: string;
  readonly enableDnsHostnames: boolean;
}

/** Reads the place of an instance's row, whose null means the project's default subnet. */
export async function subnetPlaces(db: Queryable, projectId: string): Promise<(subnetId: string | null) => SubnetPlace | undefined> {
  const rows = await db.select({
    subnetId: subnets.id, vpcId: vpcs.id, enableDnsHostnames: vpcs.enableDnsHostnames, isDefault: subnets.isDefault,
  }).from(subnets).innerJoin(vpcs, eq(vpcs.id, subnets.vpcId)).where(eq(subnets.projectId, projectId));
  const places = new Map(rows.map(({ isDefault: _ofNoUse, ...place }) => [place.subnetId, place]));
  const standard = rows.find((row) => row.isDefault)?.subnetId;
  return (subnetId) => places.get(subnetId ?? standard ?? '');
}
