// Networks as their operators see them: what is used of each, and taking one away that nobody uses.
import { and, asc, eq, isNotNull, ne, or, sql } from 'drizzle-orm';
import { inTransaction, type Queryable } from './db.ts';
import type { Network } from './networks.ts';
import { projects } from './schema/identity.ts';
import { instances } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';

export interface NetworkUse {
  readonly network: Network;
  /** Undefined: it is shared by all. */
  readonly project: string | undefined;
  readonly addresses: number;
  /** Held by instances or hosts. */
  readonly claimed: number;
  readonly reserved: number;
}

/** The shared one first. */
export async function usesOfNetworks(db: Queryable): Promise<NetworkUse[]> {
  const rows = await db.select({
    network: networks,
    project: projects.name,
    addresses: sql<number>`count(${fixedAddresses.address})::int`,
    claimed: sql<number>`count(${fixedAddresses.instanceId})::int`,
    reserved: sql<number>`(count(*) filter (where ${fixedAddresses.reserved}))::int`,
  }).from(networks)
    .leftJoin(projects, eq(projects.id, networks.projectId))
    .leftJoin(fixedAddresses, eq(fixedAddresses.networkId, networks.id))
    .groupBy(networks.id, projects.name).orderBy(sql`${networks.projectId} is not null`, asc(networks.createdAt), asc(networks.id));
  return rows.map((row) => ({ ...row, project: row.project ?? undefined }));
}

export interface TakenAddress {
  readonly address: string;
  readonly networkId: string;
  readonly cidr: string;
  /** An instance, or a host that is a gateway. */
  readonly holder: string;
  readonly projectId: string | null;
  readonly host: string | null;
}

/** In the order of networks and addresses. */
export async function takenAddresses(
  db: Queryable, { host, network, countMax }: { host?: string | undefined; network?: string | undefined; countMax: number },
): Promise<TakenAddress[]> {
  const rows = await db.select({
    address: fixedAddresses.address, networkId: networks.id, cidr: networks.cidr, holder: fixedAddresses.instanceId,
    projectId: instances.projectId, host: instances.host,
  }).from(fixedAddresses)
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .leftJoin(instances, eq(instances.id, fixedAddresses.instanceId))
    .where(and(
      isNotNull(fixedAddresses.instanceId), host === undefined ? undefined : eq(instances.host, host),
      network === undefined ? undefined : eq(networks.id, network),
    ))
    .orderBy(asc(networks.createdAt), asc(networks.id), asc(fixedAddresses.position)).limit(countMax);
  return rows.map((row) => ({ ...row, holder: row.holder ?? '' }));
}

/** By name or by id. */
export async function findProjectId(db: Queryable, project: string): Promise<string | undefined> {
  const [row] = await db.select({ id: projects.id }).from(projects).where(or(eq(projects.name, project), eq(projects.id, project))).limit(1);
  return row?.id;
}

/** Takes a network of a project away that no instance is on. Undefined: it is gone; otherwise why it stays. */
export function deleteUnusedNetwork(db: Queryable, networkId: string): Promise<{ refusal: string } | undefined> {
  return inTransaction(db, async (tx) => {
    // A launch that names the network holds its row: whoever comes first is seen by the other.
    const [network] = await tx.select().from(networks).where(eq(networks.id, networkId)).for('update');
    if (network === undefined) return { refusal: `there is no network ${networkId}` };
    if (network.projectId === null) return { refusal: `${networkId} is the network that all projects share` };
    const inUse = and(eq(fixedAddresses.networkId, networkId), isNotNull(fixedAddresses.instanceId));
    const members = and(eq(instances.networkId, networkId), ne(instances.state, 'terminated'));
    const [held, living] = [await tx.$count(fixedAddresses, inUse), await tx.$count(instances, members)];
    if (held + living > 0) return { refusal: `${Math.max(held, living)} instances are on ${networkId}` };
    // Those that have ended are still shown, without a place.
    await tx.update(instances).set({ subnetId: null }).where(eq(instances.networkId, networkId));
    await tx.delete(networks).where(eq(networks.id, networkId));
    return undefined;
  });
}
