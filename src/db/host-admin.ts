// What operators change and ask of hosts.
import { and, asc, eq, inArray, isNotNull, like, ne, sql } from 'drizzle-orm';
import type { Db, Queryable } from './db.ts';
import { hostWork, isInhabited } from './host-work.ts';
import { releaseAddress, releaseHostAddress } from './networks.ts';
import { finishOperation, unfinished } from './operations.ts';
import { hosts, services } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';

/** New instances come, or do not. False: there is no such host. */
export async function setHostEnabled(db: Queryable, name: string, change: { enabled: boolean; reason: string | null }): Promise<boolean> {
  const rows = await db.update(hosts).set({ enabled: change.enabled, disabledReason: change.reason }).where(eq(hosts.name, name))
    .returning({ name: hosts.name });
  return rows.length > 0;
}

/** Gives up an unfinished drain or evacuation: moves that go on end by themselves. The ids of what was given up. */
export function cancelHostWork(db: Db, name: string, by: string, now: Date): Promise<string[]> {
  return db.transaction(async (tx) => {
    const ids = await hostWork(tx, name);
    for (const id of ids) await finishOperation(tx, id, { state: 'failed', error: `given up by ${by}` }, now);
    return ids;
  });
}

/** Takes a host out for good, when it is down and nothing lives there. An answer in words when it is not to be. */
export function removeHost(db: Db, name: string, now: Date): Promise<{ refusal: string } | undefined> {
  return db.transaction(async (tx) => {
    const [host] = await tx.select().from(hosts).where(eq(hosts.name, name)).for('update');
    if (host === undefined) return { refusal: `there is no host ${name}` };
    if (host.downSince === null) return { refusal: `host ${name} is not down: stop its roles first, and wait until it counts as down` };
    if (await isInhabited(tx, name)) return { refusal: `host ${name} has instances: evacuate or terminate them first` };
    const ended = await tx.select({ id: instances.id }).from(instances).where(and(eq(instances.host, name), eq(instances.state, 'terminated')));
    // Nobody will come to free them.
    for (const { id } of ended) await releaseAddress(tx, id, now);
    await releaseHostAddress(tx, name, now);
    const kept = await tx.select({ id: operations.id }).from(operations)
      .where(and(like(operations.owner, `%@${name.replaceAll(/[\\_%]/g, String.raw`\$&`)}`), inArray(operations.state, [...unfinished])));
    for (const { id } of kept) await finishOperation(tx, id, { state: 'failed', error: `host ${name} was removed` }, now);
    await tx.delete(services).where(eq(services.host, name));
    await tx.delete(hosts).where(and(eq(hosts.name, name), isNotNull(hosts.downSince)));
    return undefined;
  });
}

export interface HostUse {
  readonly host: string | null;
  readonly projectId: string;
  readonly instances: number;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly rootGiB: number;
}

/** What each project has on each host, or on one. */
export function usesOfHosts(db: Queryable, host?: string): Promise<HostUse[]> {
  return db.select({
    host: instances.host, projectId: instances.projectId, instances: sql<number>`count(*)::int`, cores: sql<number>`sum(${instances.cores})::int`,
    memoryMiB: sql<number>`sum(${instances.memoryMiB})::int`, rootGiB: sql<number>`sum(${instances.rootGiB})::int`,
  }).from(instances)
    .where(and(ne(instances.state, 'terminated'), host === undefined ? isNotNull(instances.host) : eq(instances.host, host)))
    .groupBy(instances.host, instances.projectId).orderBy(asc(instances.host), asc(instances.projectId));
}
