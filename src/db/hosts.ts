// Hosts, their capacity and the epochs of the processes that act for them.
import { and, eq, isNull, lte, sql } from 'drizzle-orm';
import type { Db, Queryable } from './db.ts';
import { hosts, services, settings, type SettingKey } from './schema/hosts.ts';

export type HostRow = typeof hosts.$inferSelect;

export type HostState = 'up' | 'down' | 'disabled';

/** A host that is down is that first of all. */
export const hostStateOf = (host: Pick<HostRow, 'downSince' | 'enabled'>): HostState => (host.downSince !== null ? 'down' : host.enabled ? 'up' : 'disabled');

export interface HostReport {
  readonly name: string;
  readonly zone: string;
  readonly hypervisor: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
  readonly bootId: string;
  /** Where other hosts reach it; null: this machine only. */
  readonly address?: string | null;
}

/** Announces a host with what it can carry. Returns the boot id known of it: another one means that the machine was restarted since. */
export function reportHost(db: Db, report: HostReport, now: Date): Promise<{ knownBootId: string }> {
  return db.transaction(async (tx) => {
    await tx.insert(hosts).values({ ...report, updatedAt: now }).onConflictDoNothing();
    const { bootId: _confirmedLater, ...changes } = report;
    const [row] = await tx.update(hosts).set({ ...changes, updatedAt: now }).where(eq(hosts.name, report.name)).returning({ bootId: hosts.bootId });
    return { knownBootId: row?.bootId ?? report.bootId };
  });
}

/** The guests of before the restart are dealt with: from here on this boot is the known one. */
export async function confirmBoot(db: Queryable, host: string, bootId: string): Promise<void> {
  await db.update(hosts).set({ bootId }).where(eq(hosts.name, host));
}

export function listHosts(db: Queryable): Promise<HostRow[]> {
  return db.select().from(hosts).orderBy(hosts.name);
}

/** A new start of a role on a host: the number that later writes must carry. */
export async function takeEpoch(db: Queryable, service: { host: string; role: string }, now: Date): Promise<number> {
  const [row] = await db.insert(services).values({ ...service, epoch: 1, startedAt: now })
    .onConflictDoUpdate({ target: [services.host, services.role], set: { epoch: sql`${services.epoch} + 1`, startedAt: now } })
    .returning({ epoch: services.epoch });
  if (row === undefined) throw new Error('the services table returned no epoch');
  return row.epoch;
}

export interface Claim {
  readonly cores: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
}

/** How far the promised may exceed the real: cores are shared, memory is not. */
export interface Overcommit {
  readonly cores: number;
  readonly memory: number;
  readonly disk: number;
}

/** Takes the room on a host, all of it or nothing, in one statement. */
export async function claimRoom(tx: Queryable, host: string, claim: Claim, overcommit: Overcommit): Promise<boolean> {
  const rows = await tx.update(hosts)
    .set({
      claimedCores: sql`${hosts.claimedCores} + ${claim.cores}`,
      claimedMemoryMiB: sql`${hosts.claimedMemoryMiB} + ${claim.memoryMiB}`,
      claimedDiskGiB: sql`${hosts.claimedDiskGiB} + ${claim.diskGiB}`,
    })
    .where(and(
      eq(hosts.name, host),
      eq(hosts.enabled, true),
      isNull(hosts.downSince),
      lte(sql`${hosts.claimedCores} + ${claim.cores}`, sql`floor(${hosts.cores} * ${overcommit.cores}::float8)`),
      lte(sql`${hosts.claimedMemoryMiB} + ${claim.memoryMiB}`, sql`floor(${hosts.memoryMiB} * ${overcommit.memory}::float8)`),
      lte(sql`${hosts.claimedDiskGiB} + ${claim.diskGiB}`, sql`floor(${hosts.diskGiB} * ${overcommit.disk}::float8)`),
    ))
    .returning({ name: hosts.name });
  return rows.length > 0;
}

/** Gives room back. Called in the transaction that takes the instance off its host, and so once. */
export async function releaseRoom(tx: Queryable, host: string, claim: Claim): Promise<void> {
  await tx.update(hosts)
    .set({
      claimedCores: sql`greatest(0, ${hosts.claimedCores} - ${claim.cores})`,
      claimedMemoryMiB: sql`greatest(0, ${hosts.claimedMemoryMiB} - ${claim.memoryMiB})`,
      claimedDiskGiB: sql`greatest(0, ${hosts.claimedDiskGiB} - ${claim.diskGiB})`,
    })
    .where(eq(hosts.name, host));
}

/** A fact about this cloud, made on first use. */
export async function ensureSetting(db: Queryable, key: SettingKey, make: () => string): Promise<string> {
  await db.insert(settings).values({ key, value: make() }).onConflictDoNothing();
  const [row] = await db.select().from(settings).where(eq(settings.key, key));
  if (row === undefined) throw new Error(`the setting ${key} could not be kept`);
  return row.value;
}

export async function readSetting(db: Queryable, key: SettingKey): Promise<string | undefined> {
  const [row] = await db.select().from(settings).where(eq(settings.key, key));
  return row?.value;
}

export async function writeSetting(db: Queryable, key: SettingKey, value: string): Promise<void> {
  await db.insert(settings).values({ key, value }).onConflictDoUpdate({ target: settings.key, set: { value } });
}
