// Floating addresses: public addresses that projects take from the operator's pools and lead to their instances. The rows say what is wished;
// the host that runs an instance makes it so, and is told by a message in the transaction that changes its row.
import { and, asc, eq, getTableColumns, inArray, isNotNull, isNull, ne, or, sql } from 'drizzle-orm';
import { announceRules } from '../messages/announcements.ts';
import { newId } from '../lib/ids.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockProject } from './images.ts';
import { addressesUsed, limitOf } from './quotas.ts';
import { lockInstances, type InstanceRow } from './instances.ts';
import { closedVpcOf } from './internet-gateways.ts';
import { insertOutbox } from './outbox.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { instances } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';

export type FloatingAddressRow = typeof floatingAddresses.$inferSelect;

/** The pool of those who name none. */
export const defaultPool = 'default';

/** Rules of a host that was away may name a released address until it returns: so long nobody else gets it, while there are others. */
const quarantineMs = 60_000;

export interface Allocation {
  readonly projectId: string;
  /** Addresses that a project may have at once, unless it was given a limit of its own. */
  readonly quota: number;
  readonly pool: string;
  /** This one, and no other. */
  readonly address?: string | undefined;
  readonly domain: 'vpc' | 'standard';
  readonly tags: readonly TagText[];
  readonly now: Date;
}

export type AllocationResult =
  | { readonly outcome: 'allocated'; readonly row: FloatingAddressRow }
  | { readonly outcome: 'overQuota'; readonly limit: number }
  | { readonly outcome: 'noPool' }
  | { readonly outcome: 'noneFree' };

/** Takes a free address. Projects do not wait for each other; two wishes of one project are counted one after the other. */
export function allocateFloating(db: Db, wish: Allocation): Promise<AllocationResult> {
  return db.transaction(async (tx): Promise<AllocationResult> => {
    await lockProject(tx, wish.projectId);
    const limit = await limitOf(tx, wish.projectId, 'addresses', wish.quota);
    if ((await addressesUsed(tx, wish.projectId)) >= limit) return { outcome: 'overQuota', limit };
    const row = await claimFree(tx, wish);
    if (row === undefined) return { outcome: (await poolExists(tx, wish.pool)) ? 'noneFree' : 'noPool' };
    await insertTags(tx, { projectId: wish.projectId, resourceType: 'elastic-ip', resourceIds: [row.allocationId ?? ''], tags: wish.tags });
    return { outcome: 'allocated', row };
  });
}

/** The lowest free address, in one statement that waits for no other; those released just now come last. */
async function claimFree(tx: Tx, { projectId, pool, address, domain, now }: Allocation): Promise<FloatingAddressRow | undefined> {
  const restedBefore = sql.param(new Date(now.getTime() - quarantineMs), floatingAddresses.releasedAt);
  const wanted = address === undefined ? eq(floatingAddresses.pool, pool) : eq(floatingAddresses.address, address);
  const free = tx.select({ address: floatingAddresses.address }).from(floatingAddresses).where(and(isNull(floatingAddresses.projectId), wanted))
    .orderBy(sql`coalesce(${floatingAddresses.releasedAt} >= ${restedBefore}, false)`, asc(floatingAddresses.position))
    .limit(1).for('update', { skipLocked: true });
  const [row] = await tx.update(floatingAddresses).set({ projectId, domain, allocationId: newId('eipalloc'), instanceId: null, associationId: null })
    .where(eq(floatingAddresses.address, sql`(${free})`)).returning();
  return row;
}

async function poolExists(db: Queryable, pool: string): Promise<boolean> {
  const [row] = await db.select({ pool: floatingAddresses.pool }).from(floatingAddresses).where(eq(floatingAddresses.pool, pool)).limit(1);
  return row !== undefined;
}

/** An address of a project, as its users name it. */
export type NamedAddress = { readonly allocationId: string } | { readonly associationId: string } | { readonly address: string };

function named(by: NamedAddress) {
  if ('allocationId' in by) return eq(floatingAddresses.allocationId, by.allocationId);
  if ('associationId' in by) return and(eq(floatingAddresses.associationId, by.associationId), isNotNull(floatingAddresses.instanceId));
  return eq(floatingAddresses.address, by.address);
}

export interface Association {
  readonly projectId: string;
  readonly by: NamedAddress;
  readonly instanceId: string;
  /** May be taken from another instance, and replace another address of this one. */
  readonly mayMove: boolean;
  readonly requestId: string;
  readonly now: Date;
}

export type AssociationResult =
  | { readonly outcome: 'associated'; readonly associationId: string }
  | { readonly outcome: 'noAddress' }
  | { readonly outcome: 'noInstance' }
  /** Neither running nor stopped. */
  | { readonly outcome: 'notReady'; readonly instance: InstanceRow }
  /** The VPC of the instance has no internet gateway. */
  | { readonly outcome: 'noGateway'; readonly vpcId: string }
  /** The address leads to another instance, or the instance has the address that is told. */
  | { readonly outcome: 'taken'; readonly by: FloatingAddressRow };

/** Leads the address to the instance, from wherever it led before; an address that led to the instance is free of it. */
export function associateFloating(db: Db, wish: Association): Promise<AssociationResult> {
  const { projectId, instanceId } = wish;
  return db.transaction(async (tx): Promise<AssociationResult> => {
    const [instance] = await lockInstances(tx, projectId, [instanceId]);
    if (instance === undefined) return { outcome: 'noInstance' };
    // In the order of the addresses, so that two moves cannot wait for each other.
    const rows = await tx.select().from(floatingAddresses)
      .where(and(eq(floatingAddresses.projectId, projectId), or(named(wish.by), eq(floatingAddresses.instanceId, instanceId))))
      .orderBy(asc(floatingAddresses.position)).for('update');
    const row = rows.find((each) => isNamed(each, wish.by));
    if (row === undefined) return { outcome: 'noAddress' };
    if (instance.state !== 'running' && instance.state !== 'stopped') return { outcome: 'notReady', instance };
    if (row.instanceId === instanceId && row.associationId !== null) return { outcome: 'associated', associationId: row.associationId };
    const vpcId = await closedVpcOf(tx, instance.networkId);
    if (vpcId !== undefined) return { outcome: 'noGateway', vpcId };
    const other = rows.find((each) => each !== row);
    const inTheWay = row.instanceId === null ? other : row;
    if (inTheWay !== undefined && !wish.mayMove) return { outcome: 'taken', by: inTheWay };
    const before = rows.flatMap((each) => each.instanceId ?? []);
    if (other !== undefined) await clearAssociation(tx, [other.address]);
    const associationId = newId('eipassoc');
    await tx.update(floatingAddresses).set({ instanceId, associationId }).where(eq(floatingAddresses.address, row.address));
    await tellHostsOf(tx, [...before, instanceId], wish);
    return { outcome: 'associated', associationId };
  });
}

function isNamed(row: FloatingAddressRow, by: NamedAddress): boolean {
  if ('allocationId' in by) return row.allocationId === by.allocationId;
  return 'associationId' in by ? row.associationId === by.associationId : row.address === by.address;
}

async function clearAssociation(tx: Tx, addresses: readonly string[]): Promise<void> {
  await tx.update(floatingAddresses).set({ instanceId: null, associationId: null }).where(inArray(floatingAddresses.address, [...addresses]));
}

export interface AddressChange {
  readonly projectId: string;
  readonly by: NamedAddress;
  readonly requestId: string;
  readonly now: Date;
}

/** The address leads nowhere any more. False: the project has no such address, or no such association. */
export function disassociateFloating(db: Db, change: AddressChange): Promise<boolean> {
  return db.transaction(async (tx) => {
    const row = await lockNamed(tx, change);
    if (row === undefined) return false;
    if (row.instanceId === null) return true;
    await clearAssociation(tx, [row.address]);
    await tellHostsOf(tx, [row.instanceId], change);
    return true;
  });
}

async function lockNamed(tx: Tx, { projectId, by }: AddressChange): Promise<FloatingAddressRow | undefined> {
  const [row] = await tx.select().from(floatingAddresses).where(and(eq(floatingAddresses.projectId, projectId), named(by))).for('update');
  return row;
}

/** Gives the address back to its pool. One of the old kind may lead to an instance, and does so no more; another is `inUse`. */
export function releaseFloating(db: Db, change: AddressChange): Promise<FloatingAddressRow | 'absent' | 'inUse'> {
  return db.transaction(async (tx) => {
    const row = await lockNamed(tx, change);
    if (row === undefined) return 'absent';
    if (row.instanceId !== null && row.domain === 'vpc') return 'inUse';
    await tx.update(floatingAddresses)
      .set({ projectId: null, allocationId: null, instanceId: null, associationId: null, domain: 'vpc', releasedAt: change.now })
      .where(eq(floatingAddresses.address, row.address));
    if (row.allocationId !== null) await deleteTagsOf(tx, row.allocationId);
    if (row.instanceId !== null) await tellHostsOf(tx, [row.instanceId], change);
    return row;
  });
}

/** For an instance that ends. Its host has taken the rules away with its port. */
export async function freeFloatingOf(tx: Tx, instanceId: string): Promise<void> {
  await tx.update(floatingAddresses).set({ instanceId: null, associationId: null }).where(eq(floatingAddresses.instanceId, instanceId));
}

/** The hosts of these instances look at the database again, as soon as this transaction is done. */
async function tellHostsOf(tx: Tx, instanceIds: readonly string[], { requestId, now }: { readonly requestId: string; readonly now: Date }): Promise<void> {
  const rows = await tx.selectDistinct({ host: instances.host }).from(instances).where(inArray(instances.id, [...instanceIds]));
  await insertOutbox(tx, rows.flatMap(({ host }) => (host === null ? [] : [announceRules(host, requestId)])), now);
}

/** As `tellHostsOf`, where an address leads to an instance that went from one host to another. */
export async function tellOfMovedFloating(
  tx: Tx, moved: { readonly instanceId: string; readonly hosts: readonly string[]; readonly requestId: string; readonly now: Date },
): Promise<void> {
  const [row] = await tx.select({ address: floatingAddresses.address }).from(floatingAddresses).where(eq(floatingAddresses.instanceId, moved.instanceId));
  if (row !== undefined) await insertOutbox(tx, moved.hosts.map((host) => announceRules(host, moved.requestId)), moved.now);
}

/** An address with the instance that it leads to. */
export interface FullAddress extends FloatingAddressRow {
  readonly fixed: string | undefined;
  readonly networkId: string | undefined;
}

export async function loadFloating(db: Queryable, projectId: string): Promise<FullAddress[]> {
  const rows = await db.select({ ...getTableColumns(floatingAddresses), fixed: fixedAddresses.address, networkId: fixedAddresses.networkId })
    .from(floatingAddresses).leftJoin(fixedAddresses, eq(fixedAddresses.instanceId, floatingAddresses.instanceId))
    .where(eq(floatingAddresses.projectId, projectId)).orderBy(asc(floatingAddresses.position));
  return rows.map((row) => ({ ...row, fixed: row.fixed ?? undefined, networkId: row.networkId ?? undefined }));
}

/** The public addresses of these instances, by instance. */
export async function floatingOfInstances(db: Queryable, instanceIds: readonly string[]): Promise<Map<string, FloatingAddressRow>> {
  if (instanceIds.length === 0) return new Map();
  const rows = await db.select().from(floatingAddresses).where(inArray(floatingAddresses.instanceId, [...instanceIds]));
  return new Map(rows.map((row) => [row.instanceId ?? '', row]));
}

export interface HostFloating {
  readonly address: string;
  readonly fixed: string;
  readonly bridge: string;
}

/** What a host is to make real: the public addresses of the instances that live on it. One on its way elsewhere keeps its address here until it is there. */
export function floatingOfHost(db: Queryable, host: string): Promise<HostFloating[]> {
  return db.select({ address: floatingAddresses.address, fixed: fixedAddresses.address, bridge: networks.bridge }).from(floatingAddresses)
    .innerJoin(instances, eq(instances.id, floatingAddresses.instanceId))
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .where(and(eq(instances.host, host), ne(instances.state, 'terminated'))).orderBy(asc(floatingAddresses.position));
}
