// VPCs and subnets beside the default ones: made, each subnet with a network of its own behind the router of its VPC, and taken away again when
// nothing hangs on them.
import { and, eq, ne } from 'drizzle-orm';
import { newId } from '../lib/ids.ts';
import { rangeOfCidr, rangesMeet, type AddressRange } from '../lib/ipv4.ts';
import { lockVpc, tellRouter, type VpcChange } from './change-vpc.ts';
import type { Db, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { deleteUnusedNetwork } from './network-admin.ts';
import { createProjectNetwork, type ProjectNetworkPolicy } from './project-networks.ts';
import { securityGroups } from './schema/instances.ts';
import { internetGateways, networkAcls, routeTables, subnets, vpcs } from './schema/vpcs.ts';
import { defaultGroupName, deleteGroup, ensureDefaultGroup, findGroup } from './security-groups.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';
import { insertVpc, type Subnet, type Vpc } from './vpcs.ts';

export interface NewVpc extends VpcChange {
  readonly cidr: string;
  readonly tags: readonly TagText[];
  /** VPCs that the project may have, the default one included. */
  readonly countMax: number;
}

/** With its main route table, which leads to the VPC itself only, its ACL and its default group. Undefined: the project has as many as it may. */
export function createVpc(db: Db, { projectId, cidr, tags, countMax, now }: NewVpc): Promise<Vpc | undefined> {
  return db.transaction(async (tx) => {
    await lockProject(tx, projectId);
    if ((await tx.$count(vpcs, eq(vpcs.projectId, projectId))) >= countMax) return undefined;
    const vpc: Vpc = { id: newId('vpc'), projectId, cidr, isDefault: false, enableDnsHostnames: false, createdAt: now };
    await insertVpc(tx, vpc);
    await ensureDefaultGroup(tx, projectId, now, vpc.id);
    await insertTags(tx, { projectId, resourceType: 'vpc', resourceIds: [vpc.id], tags });
    return vpc;
  });
}

/** What was made with the VPC goes with it; whatever else is in it keeps it. */
export function deleteVpc(db: Db, { projectId, vpcId }: { readonly projectId: string; readonly vpcId: string }): Promise<'deleted' | 'absent' | 'inUse'> {
  return db.transaction(async (tx) => {
    if ((await lockVpc(tx, projectId, vpcId)) === undefined) return 'absent';
    if (await hasDependants(tx, vpcId)) return 'inUse';
    const group = await findGroup(tx, projectId, { name: defaultGroupName, vpcId });
    if (group !== undefined) await deleteGroup(tx, group.id);
    const made = [
      ...(await tx.select({ id: routeTables.id }).from(routeTables).where(eq(routeTables.vpcId, vpcId))),
      ...(await tx.select({ id: networkAcls.id }).from(networkAcls).where(eq(networkAcls.vpcId, vpcId))),
    ];
    for (const id of [vpcId, ...made.map((row) => row.id)]) await deleteTagsOf(tx, id);
    await tx.delete(vpcs).where(eq(vpcs.id, vpcId));
    return 'deleted';
  });
}

async function hasDependants(tx: Tx, vpcId: string): Promise<boolean> {
  const counts = [
    await tx.$count(subnets, eq(subnets.vpcId, vpcId)),
    await tx.$count(internetGateways, eq(internetGateways.vpcId, vpcId)),
    // But for the main one.
    (await tx.$count(routeTables, eq(routeTables.vpcId, vpcId))) - 1,
    await tx.$count(securityGroups, and(eq(securityGroups.vpcId, vpcId), ne(securityGroups.name, defaultGroupName))),
  ];
  return counts.some((count) => count > 0);
}

export interface NewSubnet extends VpcChange {
  readonly vpcId: string;
  readonly cidr: string;
  readonly range: AddressRange;
  readonly zone: string;
  readonly tags: readonly TagText[];
  /** Subnets that a VPC may have. */
  readonly countMax: number;
  readonly policy: ProjectNetworkPolicy;
}

export type SubnetCreation =
  | { readonly outcome: 'made'; readonly subnetId: string }
  | { readonly outcome: 'noVpc' }
  /** Not within the VPC's range. */
  | { readonly outcome: 'outside' }
  | { readonly outcome: 'conflict' }
  | { readonly outcome: 'tooMany' }
  /** No number is left for its network. */
  | { readonly outcome: 'noSegment' };

export function createSubnet(db: Db, wish: NewSubnet): Promise<SubnetCreation> {
  const { projectId, vpcId, cidr, zone, now } = wish;
  return db.transaction(async (tx): Promise<SubnetCreation> => {
    const vpc = await lockVpc(tx, projectId, vpcId);
    if (vpc === undefined) return { outcome: 'noVpc' };
    const others = await tx.select({ cidr: subnets.cidr }).from(subnets).where(eq(subnets.vpcId, vpcId));
    const refused = refusalOf(wish, vpc, others.map((other) => other.cidr));
    if (refused !== undefined) return { outcome: refused };
    const network = await createProjectNetwork(tx, { ...wish.policy, projectId, routerId: vpcId, cidr }, now);
    if (network === undefined) return { outcome: 'noSegment' };
    const subnet: Subnet = {
      id: newId('subnet'), projectId, vpcId, networkId: network.id, cidr, zone, isDefault: false, mapPublicIpOnLaunch: false, createdAt: now,
    };
    await tx.insert(subnets).values(subnet);
    await insertTags(tx, { projectId, resourceType: 'subnet', resourceIds: [subnet.id], tags: wish.tags });
    await tellRouter(tx, vpcId, wish);
    return { outcome: 'made', subnetId: subnet.id };
  });
}

function refusalOf({ range, countMax }: NewSubnet, vpc: Vpc, others: readonly string[]): 'outside' | 'conflict' | 'tooMany' | undefined {
  const whole = rangeOfCidr(vpc.cidr);
  if (range.first < whole.first || range.last > whole.last) return 'outside';
  if (others.some((cidr) => rangesMeet(rangeOfCidr(cidr), range))) return 'conflict';
  return others.length >= countMax ? 'tooMany' : undefined;
}

/** An instance that has not ended keeps it. */
export function deleteSubnet(db: Db, change: VpcChange & { readonly subnetId: string }): Promise<'deleted' | 'absent' | 'inUse'> {
  const { projectId, subnetId } = change;
  return db.transaction(async (tx) => {
    const which = and(eq(subnets.projectId, projectId), eq(subnets.id, subnetId));
    const [subnet] = await tx.select().from(subnets).where(which);
    if (subnet === undefined || (await lockVpc(tx, projectId, subnet.vpcId)) === undefined) return 'absent';
    const [found] = await tx.select().from(subnets).where(which);
    if (found === undefined) return 'absent';
    if ((await deleteUnusedNetwork(tx, found.networkId)) !== undefined) return 'inUse';
    await deleteTagsOf(tx, subnetId);
    await tellRouter(tx, found.vpcId, change);
    return 'deleted';
  });
}
