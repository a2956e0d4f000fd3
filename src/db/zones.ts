// Availability zones are what the hosts say of themselves.
import { sql } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { hosts } from './schema/hosts.ts';

/** Each zone that has hosts, and whether one of them is enabled. */
export async function zonesOfHosts(db: Queryable): Promise<ReadonlyMap<string, boolean>> {
  const rows = await db.select({ zone: hosts.zone, isOpen: sql<boolean>`bool_or(${hosts.enabled})` }).from(hosts).groupBy(hosts.zone);
  return new Map(rows.map(({ zone, isOpen }) => [zone, isOpen]));
}
