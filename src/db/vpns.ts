// The queries of VPNs into projects, and of the certificates that they have given out.
import { and, asc, eq, isNull, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { projects } from './schema/identity.ts';
import { networks } from './schema/networks.ts';
import { subnets, vpcs } from './schema/vpcs.ts';
import { vpnCertificates, vpns } from './schema/vpns.ts';

export type Vpn = typeof vpns.$inferSelect;
export type VpnCertificate = typeof vpnCertificates.$inferSelect;

/** The third number of the clients' addresses: as many VPNs as a cloud can have. */
const numbersMax = 255;

export type VpnInsertion =
  | { readonly outcome: 'made'; readonly vpn: Vpn }
  | { readonly outcome: 'exists' }
  | { readonly outcome: 'portTaken' }
  | { readonly outcome: 'full' };

/** Takes the lowest free number; who inserts at the same moment waits. */
export function insertVpn(db: Db, row: Omit<Vpn, 'number'>): Promise<VpnInsertion> {
  return db.transaction(async (tx): Promise<VpnInsertion> => {
    await tx.execute(sql`select pg_advisory_xact_lock(hashtextextended('vpn numbers', 0))`);
    const present = await tx.select({ number: vpns.number, projectId: vpns.projectId, host: vpns.host, port: vpns.port }).from(vpns);
    if (present.some((each) => each.projectId === row.projectId)) return { outcome: 'exists' };
    if (present.some((each) => each.host === row.host && each.port === row.port)) return { outcome: 'portTaken' };
    const taken = new Set(present.map(({ number }) => number));
    const number = Array.from({ length: numbersMax }, (_, index) => index).find((candidate) => !taken.has(candidate));
    if (number === undefined) return { outcome: 'full' };
    const vpn = { ...row, number };
    await tx.insert(vpns).values(vpn);
    return { outcome: 'made', vpn };
  });
}

/** The tunnel's device, and the addresses of its clients. */
export const vpnDevice = ({ number }: Pick<Vpn, 'number'>): string => `novpn${number}`;
export const vpnClients = ({ number }: Pick<Vpn, 'number'>): string => `172.27.${number}.0/24`;

export async function findVpn(db: Queryable, projectId: string): Promise<Vpn | undefined> {
  const [row] = await db.select().from(vpns).where(eq(vpns.projectId, projectId));
  return row;
}

export interface ListedVpn {
  readonly project: string;
  readonly vpn: Vpn;
}

export const listVpns = (db: Queryable): Promise<ListedVpn[]> =>
  db.select({ project: projects.name, vpn: vpns }).from(vpns).innerJoin(projects, eq(projects.id, vpns.projectId)).orderBy(asc(projects.name));

export async function deleteVpn(db: Queryable, id: string): Promise<void> {
  await db.delete(vpns).where(eq(vpns.id, id));
}

export const certificatesOf = (db: Queryable, vpnId: string): Promise<VpnCertificate[]> =>
  db.select().from(vpnCertificates).where(eq(vpnCertificates.vpnId, vpnId)).orderBy(asc(vpnCertificates.createdAt), asc(vpnCertificates.serial));

/** False: a certificate of that name is in use. */
export function insertVpnCertificate(db: Db, row: VpnCertificate): Promise<boolean> {
  return db.transaction(async (tx) => {
    await lockVpn(tx, row.vpnId);
    const [used] = await tx.select({ serial: vpnCertificates.serial }).from(vpnCertificates)
      .where(and(eq(vpnCertificates.vpnId, row.vpnId), eq(vpnCertificates.name, row.name), isNull(vpnCertificates.revokedAt)));
    if (used !== undefined) return false;
    await tx.insert(vpnCertificates).values(row);
    return true;
  });
}

/**
 * Takes back the certificate of that name; `list` signs what is taken back, while nobody else changes it. False: no certificate of that name is
 * in use.
 */
export function revokeVpnCertificate(
  db: Db, which: { readonly vpnId: string; readonly name: string; readonly now: Date }, list: (revoked: readonly VpnCertificate[]) => Promise<string>,
): Promise<boolean> {
  return db.transaction(async (tx) => {
    await lockVpn(tx, which.vpnId);
    const inUse = and(eq(vpnCertificates.vpnId, which.vpnId), eq(vpnCertificates.name, which.name), isNull(vpnCertificates.revokedAt));
    const rows = await tx.update(vpnCertificates).set({ revokedAt: which.now }).where(inUse).returning({ serial: vpnCertificates.serial });
    if (rows.length === 0) return false;
    const revoked = (await certificatesOf(tx, which.vpnId)).filter((row) => row.revokedAt !== null);
    await tx.update(vpns).set({ revocations: await list(revoked) }).where(eq(vpns.id, which.vpnId));
    return true;
  });
}

async function lockVpn(tx: Tx, id: string): Promise<void> {
  await tx.select({ id: vpns.id }).from(vpns).where(eq(vpns.id, id)).for('update');
}

export interface PlacedVpn {
  readonly vpn: Vpn;
  readonly network: { readonly cidr: string; readonly bridge: string; readonly routerId: string | null };
  /** Names whose certificates were all taken back. */
  readonly revokedNames: readonly string[];
}

/** The VPNs whose end point is on a host, each with the network of its project's default subnet. */
export async function vpnsOfHost(db: Queryable, host: string): Promise<PlacedVpn[]> {
  const rows = await db.select({ vpn: vpns, network: { cidr: networks.cidr, bridge: networks.bridge, routerId: networks.routerId } }).from(vpns)
    .innerJoin(vpcs, and(eq(vpcs.projectId, vpns.projectId), vpcs.isDefault)).innerJoin(subnets, and(eq(subnets.vpcId, vpcs.id), subnets.isDefault))
    .innerJoin(networks, eq(networks.id, subnets.networkId)).where(eq(vpns.host, host)).orderBy(asc(vpns.number));
  return Promise.all(rows.map(async (row) => ({ ...row, revokedNames: revokedIn(await certificatesOf(db, row.vpn.id)) })));
}

function revokedIn(certificates: readonly VpnCertificate[]): string[] {
  const inUse = new Set(certificates.filter((each) => each.revokedAt === null).map(({ name }) => name));
  return [...new Set(certificates.map(({ name }) => name))].filter((name) => !inUse.has(name));
}
