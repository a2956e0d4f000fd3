// Internet gateways: whether a VPC has a way out at all. Which of its subnets take it, their routes say.
import { and, eq, inArray } from 'drizzle-orm';
import { newId } from '../lib/ids.ts';
import { lockVpc, tellRouter, type VpcChange } from './change-vpc.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { instances } from './schema/instances.ts';
import { networks } from './schema/networks.ts';
import { internetGateways, subnets, vpcs } from './schema/vpcs.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';
import type { InternetGateway } from './vpcs.ts';

export interface NewGateway extends VpcChange {
  readonly tags: readonly TagText[];
  readonly countMax: number;
}

/** Attached to nothing. Undefined: the project has as many as it may. */
export function createGateway(db: Db, { projectId, tags, countMax, now }: NewGateway): Promise<InternetGateway | undefined> {
  return db.transaction(async (tx) => {
    await lockProject(tx, projectId);
    if ((await tx.$count(internetGateways, eq(internetGateways.projectId, projectId))) >= countMax) return undefined;
    const gateway: InternetGateway = { id: newId('igw'), projectId, vpcId: null, createdAt: now };
    await tx.insert(internetGateways).values(gateway);
    await insertTags(tx, { projectId, resourceType: 'internet-gateway', resourceIds: [gateway.id], tags });
    return gateway;
  });
}

async function lockGateway(tx: Tx, projectId: string, id: string): Promise<InternetGateway | undefined> {
  const [row] = await tx.select().from(internetGateways).where(and(eq(internetGateways.projectId, projectId), eq(internetGateways.id, id))).for('update');
  return row;
}

export interface Attachment extends VpcChange {
  readonly gatewayId: string;
  readonly vpcId: string;
}

/** `attachedTo`: the gateway has a VPC. `hasAnother`: the VPC has a gateway. */
export type GatewayAttachment = 'attached' | 'noGateway' | 'noVpc' | 'hasAnother' | { readonly attachedTo: string };

export function attachGateway(db: Db, wish: Attachment): Promise<GatewayAttachment> {
  return db.transaction(async (tx): Promise<GatewayAttachment> => {
    const vpc = await lockVpc(tx, wish.projectId, wish.vpcId);
    const gateway = await lockGateway(tx, wish.projectId, wish.gatewayId);
    if (gateway === undefined) return 'noGateway';
    if (vpc === undefined) return 'noVpc';
    if (gateway.vpcId !== null) return { attachedTo: gateway.vpcId };
    if ((await gatewayOf(tx, vpc.id)) !== undefined) return 'hasAnother';
    await tx.update(internetGateways).set({ vpcId: vpc.id }).where(eq(internetGateways.id, gateway.id));
    await tellRouter(tx, vpc.id, wish);
    return 'attached';
  });
}

export type GatewayDetachment = 'detached' | 'noGateway' | 'noVpc' | 'notAttached' | 'inUse';

/** Floating addresses that lead into the VPC keep its gateway. Routes to it stay, and lead nowhere. */
export function detachGateway(db: Db, wish: Attachment): Promise<GatewayDetachment> {
  return db.transaction(async (tx): Promise<GatewayDetachment> => {
    const vpc = await lockVpc(tx, wish.projectId, wish.vpcId);
    const gateway = await lockGateway(tx, wish.projectId, wish.gatewayId);
    if (gateway === undefined) return 'noGateway';
    if (vpc === undefined) return 'noVpc';
    if (gateway.vpcId !== vpc.id) return 'notAttached';
    if (await hasFloating(tx, vpc.id)) return 'inUse';
    await tx.update(internetGateways).set({ vpcId: null }).where(eq(internetGateways.id, gateway.id));
    await tellRouter(tx, vpc.id, wish);
    return 'detached';
  });
}

export function deleteGateway(db: Db, { projectId, gatewayId }: { readonly projectId: string; readonly gatewayId: string }) {
  return db.transaction(async (tx): Promise<'deleted' | 'absent' | 'inUse'> => {
    const gateway = await lockGateway(tx, projectId, gatewayId);
    if (gateway === undefined) return 'absent';
    if (gateway.vpcId !== null) return 'inUse';
    await tx.delete(internetGateways).where(eq(internetGateways.id, gatewayId));
    await deleteTagsOf(tx, gatewayId);
    return 'deleted';
  });
}

async function gatewayOf(db: Queryable, vpcId: string): Promise<string | undefined> {
  const [row] = await db.select({ id: internetGateways.id }).from(internetGateways).where(eq(internetGateways.vpcId, vpcId));
  return row?.id;
}

async function hasFloating(tx: Tx, vpcId: string): Promise<boolean> {
  const ofVpc = tx.select({ id: networks.id }).from(networks).where(eq(networks.routerId, vpcId));
  const [row] = await tx.select({ address: floatingAddresses.address }).from(floatingAddresses)
    .innerJoin(instances, eq(instances.id, floatingAddresses.instanceId)).where(inArray(instances.networkId, ofVpc)).limit(1);
  return row !== undefined;
}

/**
 * The VPC behind whose router a network is, if it has no gateway; it stays as it is until the transaction ends. Undefined: floating addresses may lead
 * to members of the network.
 */
export async function closedVpcOf(tx: Tx, networkId: string | null): Promise<string | undefined> {
  if (networkId === null) return undefined;
  const [vpc] = await tx.select({ id: vpcs.id }).from(vpcs).innerJoin(subnets, eq(subnets.vpcId, vpcs.id))
    .where(eq(subnets.networkId, networkId)).for('share', { of: vpcs });
  return vpc === undefined || (await gatewayOf(tx, vpc.id)) !== undefined ? undefined : vpc.id;
}
