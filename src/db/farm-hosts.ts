// Many hosts of one process at once: what a farm of simulated hosts says at its start and looks for in its sweeps, in one statement each.
import { and, inArray, sql } from 'drizzle-orm';
import type { Db, Queryable } from './db.ts';
import type { HostReport } from './hosts.ts';
import { unfinished } from './operations.ts';
import { hosts, services } from './schema/hosts.ts';
import { operations } from './schema/operations.ts';

/** A statement has at most 65 535 parameters. */
const rowsPerStatement = 1_000;

const excluded = (column: string) => sql.raw(`excluded.${column}`);

function* parts<T>(items: readonly T[]): Generator<T[]> {
  for (let start = 0; start < items.length; start += rowsPerStatement) yield items.slice(start, start + rowsPerStatement);
}

/** Announces hosts with what they can carry. Returns the boot id known of each, by name. */
export async function reportHosts(db: Db, reports: readonly HostReport[], now: Date): Promise<Map<string, string>> {
  const known = new Map<string, string>();
  for (const part of parts(reports)) {
    const rows = await db.insert(hosts).values(part.map((report) => ({ ...report, updatedAt: now })))
      .onConflictDoUpdate({
        target: hosts.name,
        set: {
          zone: excluded('zone'), hypervisor: excluded('hypervisor'), cores: excluded('cores'), memoryMiB: excluded('memory_mib'),
          diskGiB: excluded('disk_gib'), address: excluded('address'), updatedAt: now,
        },
      }).returning({ name: hosts.name, bootId: hosts.bootId });
    for (const row of rows) known.set(row.name, row.bootId);
  }
  return known;
}

/** A new start of a role on each of these hosts: the numbers that later writes must carry. */
export async function takeEpochs(db: Queryable, service: { hosts: readonly string[]; role: string }, now: Date): Promise<Map<string, number>> {
  const epochs = new Map<string, number>();
  for (const part of parts(service.hosts)) {
    const rows = await db.insert(services).values(part.map((host) => ({ host, role: service.role, epoch: 1, startedAt: now })))
      .onConflictDoUpdate({ target: [services.host, services.role], set: { epoch: sql`${services.epoch} + 1`, startedAt: now } })
      .returning({ host: services.host, epoch: services.epoch });
    for (const row of rows) epochs.set(row.host, row.epoch);
  }
  return epochs;
}

/** Unfinished work of all owners whose names begin like this: what a farm's one sweeper looks for. */
export function workOfOwners(db: Queryable, prefix: string): Promise<{ owner: string | null; resourceId: string }[]> {
  return db.selectDistinct({ owner: operations.owner, resourceId: operations.resourceId }).from(operations)
    .where(and(inArray(operations.state, [...unfinished]), sql`starts_with(${operations.owner}, ${prefix})`));
}
