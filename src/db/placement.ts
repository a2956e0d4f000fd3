// What a placement reads and writes: the few hosts to look at, however many there are, and the claims of a whole batch in one transaction.
// Room is checked on rows that are held, so that any number of schedulers never promise more than a host has.
import { and, asc, eq, gte, inArray, isNull, lt, lte, ne, notInArray, or, sql, type SQL } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import type { Claim, Overcommit } from './hosts.ts';
import { claimOf, type Instance } from './instance-work.ts';
import { handOperations, unfinished, type Operation } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { images } from './schema/images.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';

const hostColumns = {
  name: hosts.name, cores: hosts.cores, memoryMiB: hosts.memoryMiB, diskGiB: hosts.diskGiB,
  claimedCores: hosts.claimedCores, claimedMemoryMiB: hosts.claimedMemoryMiB, claimedDiskGiB: hosts.claimedDiskGiB,
};

export interface Candidate extends Claim {
  readonly name: string;
  readonly claimedCores: number;
  readonly claimedMemoryMiB: number;
  readonly claimedDiskGiB: number;
}

export interface CandidateWish {
  readonly zone: string;
  readonly room: Claim;
  readonly overcommit: Overcommit;
  /** The least loaded first, or from a place on that was drawn by lot (0 ≤ lot < 1). */
  readonly order: 'load' | { readonly lot: number };
  readonly except: readonly string[];
  /** No other will do. */
  readonly only?: string | undefined;
  readonly pageSize: number;
}

/** Pages looked at for one wish: all hosts that have room are on them, unless tens of thousands have. */
const pagesMax = 256;

/** Hosts that are enabled, up and have the room, a page at a time: the first page is mostly all that is read. */
export async function* candidatePages(db: Queryable, wish: CandidateWish): AsyncGenerator<Candidate[]> {
  const { order, pageSize } = wish;
  const parts = order === 'load' ? [undefined] : [gte(hosts.lot, order.lot), lt(hosts.lot, order.lot)];
  const by = order === 'load' ? [asc(hosts.claimedCores), asc(hosts.claimedMemoryMiB), asc(hosts.name)] : [asc(hosts.lot)];
  let pages = 0;
  let page: Candidate[] = [];
  for (const part of parts) {
    for (let offset = 0, more = true; more && pages < pagesMax; pages += 1) {
      const limit = pageSize - page.length;
      const rows = await db.select(hostColumns).from(hosts).where(and(...open(wish), part)).orderBy(...by).limit(limit).offset(offset);
      offset += rows.length;
      more = rows.length === limit;
      page.push(...rows);
      if (page.length < pageSize) continue; // the end of a part: the next goes on with the page, so that no host stands alone
      yield page;
      page = [];
    }
  }
  if (page.length > 0) yield page;
}

const open = ({ zone, room, overcommit, except, only }: CandidateWish): (SQL | undefined)[] => [
  sql`${hosts.enabled}`, isNull(hosts.downSince), eq(hosts.zone, zone),
  lte(sql`${hosts.claimedCores} + ${room.cores}`, sql`floor(${hosts.cores} * ${overcommit.cores}::float8)`),
  lte(sql`${hosts.claimedMemoryMiB} + ${room.memoryMiB}`, sql`floor(${hosts.memoryMiB} * ${overcommit.memory}::float8)`),
  lte(sql`${hosts.claimedDiskGiB} + ${room.diskGiB}`, sql`floor(${hosts.diskGiB} * ${overcommit.disk}::float8)`),
  except.length > 0 ? notInArray(hosts.name, [...except]) : undefined,
  only === undefined ? undefined : eq(hosts.name, only),
];

/** The claim fits into what the host has left. */
export function fits(host: Candidate, claim: Claim, overcommit: Overcommit): boolean {
  return host.claimedCores + claim.cores <= Math.floor(host.cores * overcommit.cores)
    && host.claimedMemoryMiB + claim.memoryMiB <= Math.floor(host.memoryMiB * overcommit.memory)
    && host.claimedDiskGiB + claim.diskGiB <= Math.floor(host.diskGiB * overcommit.disk);
}

/** The host with the claim taken. */
export const withClaim = (host: Candidate, claim: Claim): Candidate => ({
  ...host,
  claimedCores: host.claimedCores + claim.cores,
  claimedMemoryMiB: host.claimedMemoryMiB + claim.memoryMiB,
  claimedDiskGiB: host.claimedDiskGiB + claim.diskGiB,
});

/** An instance without a host, and the launch that waits for one. */
export interface Unplaced {
  readonly instance: Instance;
  readonly run: Operation | undefined;
  readonly claim: Claim;
}

/** Those of the instances that have no host and are not ended. */
export async function unplacedWork(db: Queryable, ids: readonly string[]): Promise<Unplaced[]> {
  const waits = and(
    eq(operations.resourceId, instances.id), eq(operations.kind, 'instance.run'), eq(operations.owner, 'scheduler'),
    inArray(operations.state, [...unfinished]),
  );
  const rows = await db.select({ instance: instances, run: operations, imageBytes: images.virtualSizeBytes }).from(instances)
    .leftJoin(operations, waits).leftJoin(images, eq(images.id, instances.imageId))
    .where(and(inArray(instances.id, [...ids]), isNull(instances.host), ne(instances.state, 'terminated'))).orderBy(asc(instances.id));
  return rows.map(({ instance, run, imageBytes }) => ({ instance, run: run ?? undefined, claim: claimOf(instance, imageBytes ?? 0) }));
}

/** Instances without a host that wait to be placed or ended: what the scheduler sweeps. */
export async function unplacedIds(db: Queryable, countMax: number): Promise<string[]> {
  const rows = await db.select({ id: instances.id }).from(instances)
    .where(and(isNull(instances.host), or(eq(instances.state, 'pending'), eq(instances.state, 'shutting-down')))).orderBy(asc(instances.id)).limit(countMax);
  return rows.map(({ id }) => id);
}

export interface Placement {
  readonly instanceId: string;
  readonly operationId: string;
  readonly host: string;
  readonly claim: Claim;
}

export interface Placed {
  readonly placed: ReadonlySet<string>;
  /** Not to be placed any more: placed by another, or ended. */
  readonly gone: ReadonlySet<string>;
}

/**
 * Gives instances to hosts, each with its room, its next fence and its operation; those that do not fit any more are left as they are. Rows
 * are held in one order everywhere: instances by id, then hosts by name.
 */
export function placeInstances(db: Db, placements: readonly Placement[], overcommit: Overcommit, now: Date): Promise<Placed> {
  return db.transaction(async (tx) => {
    const waiting = await tx.select({ id: instances.id }).from(instances)
      .where(and(inArray(instances.id, placements.map(({ instanceId }) => instanceId)), eq(instances.state, 'pending'), isNull(instances.host)))
      .orderBy(asc(instances.id)).for('update');
    const ids = new Set(waiting.map(({ id }) => id));
    const gone = new Set(placements.flatMap(({ instanceId }) => (ids.has(instanceId) ? [] : [instanceId])));
    const kept = await claimAll(tx, placements.filter(({ instanceId }) => ids.has(instanceId)), overcommit);
    if (kept.length > 0) await giveAll(tx, kept, now);
    return { placed: new Set(kept.map(({ instanceId }) => instanceId)), gone };
  });
}

async function claimAll(tx: Tx, placements: readonly Placement[], overcommit: Overcommit): Promise<Placement[]> {
  const names = [...new Set(placements.map(({ host }) => host))];
  if (names.length === 0) return [];
  const held = await tx.select(hostColumns).from(hosts).where(and(inArray(hosts.name, names), eq(hosts.enabled, true), isNull(hosts.downSince)))
    .orderBy(asc(hosts.name)).for('update');
  const after = new Map<string, Candidate>(held.map((host) => [host.name, host]));
  const kept = placements.filter(({ host, claim }) => {
    const candidate = after.get(host);
    if (candidate === undefined || !fits(candidate, claim, overcommit)) return false;
    after.set(host, withClaim(candidate, claim));
    return true;
  });
  const changed = [...after.values()].filter(({ name }) => kept.some(({ host }) => host === name));
  if (changed.length === 0) return [];
  const values = sql.join(changed.map((host) => (
    sql`(${host.name}, ${host.claimedCores}::int, ${host.claimedMemoryMiB}::int, ${host.claimedDiskGiB}::int)`
  )), sql`, `);
  await tx.update(hosts).set({ claimedCores: sql`claims.cores`, claimedMemoryMiB: sql`claims.memory`, claimedDiskGiB: sql`claims.disk` })
    .from(sql`(values ${values}) as claims(name, cores, memory, disk)`).where(eq(hosts.name, sql`claims.name`));
  return kept;
}

async function giveAll(tx: Tx, placements: readonly Placement[], now: Date): Promise<void> {
  const values = sql.join(placements.map(({ instanceId, host }) => sql`(${instanceId}, ${host})`), sql`, `);
  await tx.update(instances).set({ host: sql`given.host`, fence: sql`${instances.fence} + 1`, placements: sql`${instances.placements} + 1` })
    .from(sql`(values ${values}) as given(id, host)`).where(eq(instances.id, sql`given.id`));
  await handOperations(tx, placements.map(({ operationId, host }) => ({ id: operationId, owner: `compute@${host}` })), { error: null }, now);
}
