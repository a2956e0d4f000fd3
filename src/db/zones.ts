// Availability zones are what the hosts say of themselves.
import { and, asc, eq, ne, sql } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { hosts, services } from './schema/hosts.ts';

/** Each zone that has hosts, and whether one of them is enabled and up. */
export async function zonesOfHosts(db: Queryable): Promise<ReadonlyMap<string, boolean>> {
  const rows = await db.select({ zone: hosts.zone, isOpen: sql<boolean>`bool_or(${hosts.enabled} and ${hosts.downSince} is null)` }).from(hosts)
    .groupBy(hosts.zone).orderBy(asc(hosts.zone));
  return new Map(rows.map(({ zone, isOpen }) => [zone, isOpen]));
}

/** A role on a host, as its last start was written down. */
export interface HostService {
  readonly host: string;
  /** Undefined: a host that runs no guests. */
  readonly zone: string | undefined;
  readonly role: string;
  readonly version: string;
  readonly startedAt: Date;
  readonly enabled: boolean;
  readonly downSince: Date | undefined;
}

/** The roles that belong to one host each, by host. */
export async function servicesOfHosts(db: Queryable): Promise<HostService[]> {
  const rows = await db.select({ service: services, host: hosts }).from(services).leftJoin(hosts, eq(hosts.name, services.host))
    .where(and(ne(services.host, '*'))).orderBy(asc(services.host), asc(services.role));
  return rows.map(({ service: { host, role, version, startedAt }, host: row }) => (
    { host, role, version, startedAt, zone: row?.zone, enabled: row?.enabled ?? true, downSince: row?.downSince ?? undefined }
  ));
}

/** Does such a host serve this zone? */
export async function hostIsInZone(db: Queryable, host: string, zone: string): Promise<boolean> {
  const [row] = await db.select({ name: hosts.name }).from(hosts).where(and(eq(hosts.name, host), eq(hosts.zone, zone)));
  return row !== undefined;
}
