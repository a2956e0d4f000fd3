// Who may act for an owner. `compute@h1` is the latest start of that role on that host, and an earlier one that wakes takes nothing. `objectstore`
// and `scheduler` are as many processes as one likes: each holds what it took for a while, renews that while it works, and only what
// nobody renews may be taken by another.
import { and, eq, exists, gt, inArray, lt, lte, notInArray, or, sql, type SQL } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { takeEpoch } from './hosts.ts';
import { services } from './schema/hosts.ts';
import { operations } from './schema/operations.ts';

/** What a process of a shared owner took is its own for so long after it was last heard of. */
export const holdMs = 15_000;

/** `compute@h1` → the role on that host; without a host the owner is shared. */
function partsOf(owner: string): { role: string; host: string | undefined } {
  const [role = '', host] = owner.split('@');
  return { role, host };
}

export const isShared = (owner: string): boolean => partsOf(owner).host === undefined;

/** Stands for the whole cloud in `services`: the processes of a shared role are numbered there. */
const everywhere = '*';

/** A new start that acts for the owner: its number, with which it takes operations. */
export function enrol(db: Queryable, owner: string, now: Date): Promise<number> {
  const { role, host } = partsOf(owner);
  return takeEpoch(db, { role, host: host ?? everywhere }, now);
}

/** For a start that knows itself to be the only process of the cloud: whoever holds anything of this shared owner is dead, and need not be waited for. */
export async function releaseHolds(db: Queryable, owner: string): Promise<void> {
  await db.update(operations).set({ epoch: 0 }).where(and(eq(operations.owner, owner), notInArray(operations.state, ['done', 'failed'])));
}

/** The condition under which this start may take an operation of its owner. */
export function mayTake(db: Queryable, taker: { owner: string; epoch: number; now: Date }): SQL | undefined {
  const { role, host } = partsOf(taker.owner);
  if (host === undefined) {
    return or(inArray(operations.epoch, [0, taker.epoch]), lt(operations.updatedAt, new Date(taker.now.getTime() - holdMs)));
  }
  const latest = db.select({ one: sql`1` }).from(services)
    .where(and(eq(services.host, host), eq(services.role, role), eq(services.epoch, taker.epoch)));
  return and(lte(operations.epoch, taker.epoch), exists(latest));
}

export interface Start {
  readonly epoch: number;
  readonly startedAt: Date;
}

/** A start of the same owner after this one: who finds one is not to go on. Undefined for shared owners, who go side by side. */
export async function newerStart(db: Queryable, start: { name: string; epoch: number }): Promise<Start | undefined> {
  const { role, host } = partsOf(start.name);
  if (host === undefined) return undefined;
  const [row] = await db.select({ epoch: services.epoch, startedAt: services.startedAt }).from(services)
    .where(and(eq(services.host, host), eq(services.role, role), gt(services.epoch, start.epoch)));
  return row;
}
