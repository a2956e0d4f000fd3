// Route tables: made, filled, and followed by subnets. Beside the route to the VPC itself, which every table has, routes lead to internet gateways.
import { and, asc, eq, inArray, isNull } from 'drizzle-orm';
import { alias } from 'drizzle-orm/pg-core';
import { groupBy } from '../lib/group-by.ts';
import { newId } from '../lib/ids.ts';
import { lockVpc, tellRouter, type VpcChange } from './change-vpc.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { internetGateways, routeTableAssociations, routeTables, routes, subnets } from './schema/vpcs.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';
import type { RouteTable, RouteTableAssociation, Vpc } from './vpcs.ts';

export interface NewTable extends VpcChange {
  readonly vpcId: string;
  readonly tags: readonly TagText[];
  /** Tables that a VPC may have. */
  readonly countMax: number;
}

export function createTable(db: Db, { projectId, vpcId, tags, countMax, now }: NewTable): Promise<RouteTable | 'noVpc' | 'tooMany'> {
  return db.transaction(async (tx) => {
    if ((await lockVpc(tx, projectId, vpcId)) === undefined) return 'noVpc';
    if ((await tx.$count(routeTables, eq(routeTables.vpcId, vpcId))) >= countMax) return 'tooMany';
    const table: RouteTable = { id: newId('rtb'), projectId, vpcId, createdAt: now };
    await tx.insert(routeTables).values(table);
    await insertTags(tx, { projectId, resourceType: 'route-table', resourceIds: [table.id], tags });
    return table;
  });
}

interface LockedTable {
  readonly table: RouteTable;
  readonly vpc: Vpc;
}

async function findTable(db: Queryable, projectId: string, id: string): Promise<RouteTable | undefined> {
  const [row] = await db.select().from(routeTables).where(and(eq(routeTables.projectId, projectId), eq(routeTables.id, id)));
  return row;
}

/** By its VPC, as everything in one. */
async function lockTable(tx: Tx, projectId: string, id: string): Promise<LockedTable | undefined> {
  const seen = await findTable(tx, projectId, id);
  const vpc = seen === undefined ? undefined : await lockVpc(tx, projectId, seen.vpcId);
  const table = await findTable(tx, projectId, id);
  return vpc === undefined || table === undefined ? undefined : { table, vpc };
}

/** The main one, and one that subnets follow, stay. */
export function deleteTable(db: Db, { projectId, tableId }: { readonly projectId: string; readonly tableId: string }) {
  return db.transaction(async (tx): Promise<'deleted' | 'absent' | 'inUse'> => {
    if ((await lockTable(tx, projectId, tableId)) === undefined) return 'absent';
    if ((await tx.$count(routeTableAssociations, eq(routeTableAssociations.routeTableId, tableId))) > 0) return 'inUse';
    await tx.delete(routeTables).where(eq(routeTables.id, tableId));
    await deleteTagsOf(tx, tableId);
    return 'deleted';
  });
}

export interface RouteChange extends VpcChange {
  readonly tableId: string;
  readonly destination: string;
}

export interface NewRoute extends RouteChange {
  readonly gatewayId: string;
  /** Routes that a table may have. */
  readonly countMax: number;
  /** One that is there already is turned, or else made. */
  readonly replaces: boolean;
}

export type RouteSetting =
  | 'set' | 'noTable' | 'noGateway' | 'exists' | 'absent' | 'tooMany'
  /** The gateway is not attached to the table's VPC. */
  | 'elsewhere';

export function setRoute(db: Db, wish: NewRoute): Promise<RouteSetting> {
  const { projectId, tableId, destination, gatewayId, replaces } = wish;
  return db.transaction(async (tx): Promise<RouteSetting> => {
    const locked = await lockTable(tx, projectId, tableId);
    if (locked === undefined) return 'noTable';
    const [gateway] = await tx.select().from(internetGateways).where(and(eq(internetGateways.projectId, projectId), eq(internetGateways.id, gatewayId)));
    if (gateway === undefined) return 'noGateway';
    if (gateway.vpcId !== locked.vpc.id) return 'elsewhere';
    const which = and(eq(routes.routeTableId, tableId), eq(routes.destination, destination));
    const isThere = (await tx.$count(routes, which)) > 0;
    if (isThere !== replaces) return replaces ? 'absent' : 'exists';
    if (!replaces && (await tx.$count(routes, eq(routes.routeTableId, tableId))) >= wish.countMax) return 'tooMany';
    if (replaces) await tx.update(routes).set({ gatewayId }).where(which);
    else await tx.insert(routes).values({ routeTableId: tableId, destination, gatewayId, createdAt: wish.now });
    await tellRouter(tx, locked.vpc.id, wish);
    return 'set';
  });
}

export function deleteRoute(db: Db, wish: RouteChange): Promise<'deleted' | 'noTable' | 'absent'> {
  return db.transaction(async (tx) => {
    const locked = await lockTable(tx, wish.projectId, wish.tableId);
    if (locked === undefined) return 'noTable';
    const gone = await tx.delete(routes).where(and(eq(routes.routeTableId, wish.tableId), eq(routes.destination, wish.destination)))
      .returning({ destination: routes.destination });
    if (gone.length === 0) return 'absent';
    await tellRouter(tx, locked.vpc.id, wish);
    return 'deleted';
  });
}

export type Association = RouteTableAssociation | 'noTable' | 'noSubnet' | 'noAssociation'
  /** Table and subnet, or table and association, are not of one VPC. */
  | 'elsewhere'
  /** The subnet follows a table already. */
  | 'taken';

export function associateTable(db: Db, wish: VpcChange & { readonly tableId: string; readonly subnetId: string }): Promise<Association> {
  const { projectId, tableId, subnetId } = wish;
  return db.transaction(async (tx): Promise<Association> => {
    const locked = await lockTable(tx, projectId, tableId);
    if (locked === undefined) return 'noTable';
    const [subnet] = await tx.select().from(subnets).where(and(eq(subnets.projectId, projectId), eq(subnets.id, subnetId)));
    if (subnet === undefined) return 'noSubnet';
    if (subnet.vpcId !== locked.vpc.id) return 'elsewhere';
    if ((await tx.$count(routeTableAssociations, eq(routeTableAssociations.subnetId, subnetId))) > 0) return 'taken';
    const association: RouteTableAssociation = { id: newId('rtbassoc'), vpcId: locked.vpc.id, routeTableId: tableId, subnetId };
    await tx.insert(routeTableAssociations).values(association);
    await tellRouter(tx, locked.vpc.id, wish);
    return association;
  });
}

async function lockAssociation(tx: Tx, projectId: string, id: string): Promise<RouteTableAssociation | undefined> {
  const find = async (): Promise<RouteTableAssociation | undefined> =>
    (await tx.select().from(routeTableAssociations).where(eq(routeTableAssociations.id, id)))[0];
  const seen = await find();
  return seen === undefined || (await lockVpc(tx, projectId, seen.vpcId)) === undefined ? undefined : find();
}

/** After: the subnet follows the main table. That one is followed for ever, if not replaced. */
export function disassociateTable(db: Db, wish: VpcChange & { readonly associationId: string }): Promise<'gone' | 'absent' | 'isMain'> {
  return db.transaction(async (tx) => {
    const association = await lockAssociation(tx, wish.projectId, wish.associationId);
    if (association === undefined) return 'absent';
    if (association.subnetId === null) return 'isMain';
    await tx.delete(routeTableAssociations).where(eq(routeTableAssociations.id, association.id));
    await tellRouter(tx, association.vpcId, wish);
    return 'gone';
  });
}

/** The subnet, or the whole VPC in the case of the main one, follows another table; the association has a new id. */
export function replaceAssociation(db: Db, wish: VpcChange & { readonly associationId: string; readonly tableId: string }): Promise<Association> {
  return db.transaction(async (tx): Promise<Association> => {
    const old = await lockAssociation(tx, wish.projectId, wish.associationId);
    if (old === undefined) return 'noAssociation';
    const table = await findTable(tx, wish.projectId, wish.tableId);
    if (table === undefined) return 'noTable';
    if (table.vpcId !== old.vpcId) return 'elsewhere';
    const association: RouteTableAssociation = { ...old, id: newId('rtbassoc'), routeTableId: table.id };
    await tx.update(routeTableAssociations).set(association).where(eq(routeTableAssociations.id, old.id));
    await tellRouter(tx, old.vpcId, wish);
    return association;
  });
}

/**
 * Where networks of projects lead to outside, by network: destinations whose route is to a gateway that is attached. Nothing is said of a network that
 * no subnet lies on.
 */
export async function waysOut(db: Queryable, networkIds: readonly string[]): Promise<Map<string, string[]>> {
  if (networkIds.length === 0) return new Map();
  const [main, own] = [alias(routeTableAssociations, 'main'), alias(routeTableAssociations, 'own')];
  const lying = await db.select({ networkId: subnets.networkId, own: own.routeTableId, main: main.routeTableId }).from(subnets)
    .innerJoin(main, and(eq(main.vpcId, subnets.vpcId), isNull(main.subnetId))).leftJoin(own, eq(own.subnetId, subnets.id))
    .where(inArray(subnets.networkId, [...networkIds]));
  const tableIds = lying.map((subnet) => subnet.own ?? subnet.main);
  if (tableIds.length === 0) return new Map();
  const leading = await db.select({ tableId: routes.routeTableId, destination: routes.destination }).from(routes)
    .innerJoin(routeTables, eq(routeTables.id, routes.routeTableId))
    .innerJoin(internetGateways, and(eq(internetGateways.id, routes.gatewayId), eq(internetGateways.vpcId, routeTables.vpcId)))
    .where(inArray(routes.routeTableId, tableIds)).orderBy(asc(routes.destination));
  const destinations = groupBy(leading, (route) => route.tableId);
  return new Map(lying.map((subnet) => [subnet.networkId, (destinations.get(subnet.own ?? subnet.main) ?? []).map((route) => route.destination)]));
}
