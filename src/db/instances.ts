// The queries of instances as clients see and change them. What owners do to them while they work is in instance-work.ts.
import { and, asc, eq, inArray } from 'drizzle-orm';
import { groupBy } from '../lib/group-by.ts';
import { slaacAddress } from '../lib/ipv6.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { insertOperation, type NewOperation } from './operations.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { images } from './schema/images.ts';
import { instances, instanceSecurityGroups, reservations, securityGroups } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { volumeAttachments } from './schema/volumes.ts';
import type { Attachment } from './attachments.ts';
import type { Reservation } from './reservations.ts';
import { holdGroups } from './security-groups.ts';
import { tagsOf, type TagText } from './tags.ts';
import { subnetPlaces, type SubnetPlace } from './vpcs.ts';

export type InstanceRow = typeof instances.$inferSelect;

export interface GroupName {
  readonly id: string;
  readonly name: string;
}

/** An instance with all that a client is shown of it. */
export interface FullInstance extends InstanceRow {
  readonly reservation: Reservation;
  readonly groups: readonly GroupName[];
  readonly address: string | undefined;
  /** What it makes for itself, on a network that has IPv6. */
  readonly ipv6Address: string | undefined;
  /** The public address that leads to it. */
  readonly floating: { readonly address: string; readonly allocationId: string | null; readonly associationId: string | null } | undefined;
  readonly virtualizationType: string | undefined;
  readonly tags: readonly TagText[];
  /** Undefined before the project has a VPC, and of instances that have ended. */
  readonly place: SubnetPlace | undefined;
  /** Volumes, by device. */
  readonly volumes: readonly Attachment[];
}

export interface InstanceChoice {
  readonly ids?: readonly string[];
  readonly reservationId?: string;
}

/** Instances of a project, those of one launch together. Six statements, whatever their number. */
export async function loadInstances(db: Queryable, projectId: string, choice: InstanceChoice = {}): Promise<FullInstance[]> {
  const chosen = and(
    eq(instances.projectId, projectId),
    choice.ids === undefined ? undefined : inArray(instances.id, [...choice.ids]),
    choice.reservationId === undefined ? undefined : eq(instances.reservationId, choice.reservationId),
  );
  const rows = await db.select({ instance: instances, reservation: reservations, virtualizationType: images.virtualizationType }).from(instances)
    .innerJoin(reservations, eq(reservations.id, instances.reservationId)).leftJoin(images, eq(images.id, instances.imageId))
    .where(chosen).orderBy(asc(reservations.createdAt), asc(reservations.id), asc(instances.launchIndex));
  const members = await db.select({ instanceId: instanceSecurityGroups.instanceId, id: securityGroups.id, name: securityGroups.name })
    .from(instanceSecurityGroups)
    .innerJoin(securityGroups, eq(securityGroups.id, instanceSecurityGroups.groupId)).innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
    .where(chosen).orderBy(asc(securityGroups.name));
  const { ipv6Cidr } = networks;
  const addresses = await db.select({ instanceId: fixedAddresses.instanceId, address: fixedAddresses.address, ipv6Cidr }).from(fixedAddresses)
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId)).innerJoin(instances, eq(instances.id, fixedAddresses.instanceId)).where(chosen);
  const { address, allocationId, associationId, instanceId } = floatingAddresses;
  const floating = await db.select({ instanceId, address, allocationId, associationId }).from(floatingAddresses)
    .innerJoin(instances, eq(instances.id, floatingAddresses.instanceId)).where(chosen);
  const tags = await tagsOf(db, projectId, rows.map((row) => row.instance.id));
  const placeOf = await subnetPlaces(db, projectId);
  const attached = await db.select({ attachment: volumeAttachments }).from(volumeAttachments)
    .innerJoin(instances, eq(instances.id, volumeAttachments.instanceId)).where(chosen).orderBy(asc(volumeAttachments.device));
  const volumesOf = groupBy(attached.map(({ attachment }) => attachment), (one) => one.instanceId);
  const groups = groupBy(members, (member) => member.instanceId);
  const addressOf = new Map(addresses.map((row) => [row.instanceId, row]));
  const floatingOf = new Map(floating.map((row) => [row.instanceId, row]));
  return rows.map(({ instance, reservation, virtualizationType }) => ({
    ...instance,
    reservation,
    groups: (groups.get(instance.id) ?? []).map(({ id, name }) => ({ id, name })),
    address: addressOf.get(instance.id)?.address,
    ipv6Address: ipv6Of(addressOf.get(instance.id)?.ipv6Cidr, instance.mac),
    floating: floatingOf.get(instance.id),
    virtualizationType: virtualizationType ?? undefined,
    tags: tags.get(instance.id) ?? [],
    place: instance.state === 'terminated' ? undefined : placeOf(instance.subnetId),
    volumes: volumesOf.get(instance.id) ?? [],
  }));
}

const ipv6Of = (cidr: string | null | undefined, mac: string): string | undefined =>
  (cidr === null || cidr === undefined ? undefined : slaacAddress(cidr, mac));

export async function findInstance(db: Queryable, projectId: string, id: string): Promise<InstanceRow | undefined> {
  const [row] = await db.select().from(instances).where(and(eq(instances.projectId, projectId), eq(instances.id, id)));
  return row;
}

/** What is to become of one locked instance; undefined leaves it as it is. */
export interface Transition {
  readonly set?: Partial<
    Pick<InstanceRow, 'state' | 'stateReasonCode' | 'stateReasonMessage' | 'stateChangedAt' | 'stateDeadline' | 'launchedAt' | 'hostLost'>
  >;
  readonly operation: NewOperation;
}

export interface Transitioned {
  readonly before: InstanceRow;
  readonly after: InstanceRow;
  readonly operation: { readonly id: string; readonly owner: string | null } | undefined;
}

/**
 * Changes the states of instances in one transaction, all of them or, when `decide` throws, none. Rows are held in the order of their
 * ids, so that two requests cannot wait for each other. `missing` is called with the ids that are not there.
 */
export function transitionInstances(
  db: Db,
  which: { readonly projectId: string; readonly ids: readonly string[]; readonly now: Date },
  decide: { readonly missing: (ids: readonly string[]) => never; readonly each: (row: InstanceRow) => Transition | undefined },
): Promise<Transitioned[]> {
  return db.transaction(async (tx) => {
    const rows = await lockInstances(tx, which.projectId, which.ids);
    const found = new Map(rows.map((row) => [row.id, row]));
    const missing = which.ids.filter((id) => !found.has(id));
    if (missing.length > 0) decide.missing(missing);
    const decided = rows.map((row) => ({ row, transition: decide.each(row) }));
    const done = new Map<string, Transitioned>();
    for (const { row, transition } of decided) done.set(row.id, await applyTransition(tx, row, transition, which.now));
    return [...new Set(which.ids)].map((id) => done.get(id)).filter((each) => each !== undefined);
  });
}

export function lockInstances(tx: Tx, projectId: string, ids: readonly string[]): Promise<InstanceRow[]> {
  return tx.select().from(instances).where(and(eq(instances.projectId, projectId), inArray(instances.id, [...ids]))).orderBy(asc(instances.id)).for('update');
}

async function applyTransition(tx: Tx, row: InstanceRow, transition: Transition | undefined, now: Date): Promise<Transitioned> {
  if (transition === undefined) return { before: row, after: row, operation: undefined };
  if (transition.set !== undefined) await tx.update(instances).set(transition.set).where(eq(instances.id, row.id));
  const id = await insertOperation(tx, transition.operation, now);
  return { before: row, after: { ...row, ...transition.set }, operation: { id, owner: transition.operation.owner } };
}

export type AttributeChange = Partial<Pick<InstanceRow, 'disableApiTermination' | 'shutdownBehavior' | 'userData' | 'metadataEndpoint' | 'metadataTokens'>>;

/** Changes attributes of an instance, when `check` lets its locked row pass. False: there is no such instance. */
export function changeInstance(
  db: Db,
  which: { readonly projectId: string; readonly id: string },
  change: { readonly set: AttributeChange; readonly check: (row: InstanceRow) => void },
): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [row] = await lockInstances(tx, which.projectId, [which.id]);
    if (row === undefined) return false;
    change.check(row);
    if (Object.keys(change.set).length > 0) await tx.update(instances).set(change.set).where(eq(instances.id, which.id));
    return true;
  });
}

export type GroupReplacement =
  | { readonly outcome: 'replaced'; readonly touched: readonly string[] }
  | { readonly outcome: 'absent' }
  | { readonly outcome: 'groupGone' };

/** Puts an instance into exactly these groups. Answers with the ids of all groups whose members changed. */
export function replaceGroups(db: Db, which: { readonly projectId: string; readonly id: string }, groupIds: readonly string[]): Promise<GroupReplacement> {
  return db.transaction(async (tx): Promise<GroupReplacement> => {
    const [row] = await lockInstances(tx, which.projectId, [which.id]);
    if (row === undefined || row.state === 'terminated') return { outcome: 'absent' };
    const held = await holdGroups(tx, which.projectId, groupIds);
    if (held.length < new Set(groupIds).size) return { outcome: 'groupGone' };
    const before = await tx.delete(instanceSecurityGroups).where(eq(instanceSecurityGroups.instanceId, which.id))
      .returning({ groupId: instanceSecurityGroups.groupId });
    await tx.insert(instanceSecurityGroups).values(held.map((group) => ({ instanceId: which.id, groupId: group.id })));
    return { outcome: 'replaced', touched: [...new Set([...before.map((member) => member.groupId), ...held.map((group) => group.id)])] };
  });
}
