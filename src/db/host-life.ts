// What becomes of a host's instances when it is silent, and when it is heard again. Every change is guarded by the host's `downSince` and the
// instances' states, on rows held in one order (instances by id, then the host), so that several watchers together do no more than one.
import { and, asc, eq, inArray, isNotNull, isNull, lte, sql } from 'drizzle-orm';
import { confirmAttachments, volumesOfInstance } from './attachments.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { releaseRoom } from './hosts.ts';
import { claimOfRow, endInstance, type Instance } from './instance-work.ts';
import { finishOperation, handOperation, unfinished, unfinishedOperations, type Operation } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { instances, type InstanceState } from './schema/instances.ts';
import { operations } from './schema/operations.ts';
import { attachmentOfWork, releaseAbandoned } from './stray-attachments.ts';

export interface HostHealth {
  readonly name: string;
  readonly downSince: Date | null;
}

export function hostHealth(db: Queryable): Promise<HostHealth[]> {
  return db.select({ name: hosts.name, downSince: hosts.downSince }).from(hosts).orderBy(asc(hosts.name));
}

/** States that say of a host what only a living one can make true. */
const living: readonly InstanceState[] = ['pending', 'running', 'stopping', 'shutting-down'];

/** A host that returns may have changed a row before it is known to be back: such a row is not judged yet. */
const freshMs = 5_000;

const isJudged = (now: Date) => and(inArray(instances.state, [...living]), lte(instances.stateChangedAt, new Date(now.getTime() - freshMs)));

/** Hosts that count as down and still have instances in such states: what was wished or placed after they were lost. */
export async function downHostsWithWork(db: Queryable, now: Date): Promise<string[]> {
  const rows = await db.selectDistinct({ name: hosts.name }).from(hosts).innerJoin(instances, eq(instances.host, hosts.name))
    .where(and(isNotNull(hosts.downSince), isJudged(now)));
  return rows.map(({ name }) => name);
}

export interface HostLoss {
  readonly host: string;
  /** Marks it down since then; null: it counts as down already, and is only looked through again. */
  readonly since: Date | null;
}

export interface Lost {
  /** Ran, and are shown as stopped now. */
  readonly stopped: number;
  /** Launches that another host is to have. */
  readonly handedBack: number;
  /** Were to end, and have ended for their users. */
  readonly ended: number;
}

/** The host is down: what it ran is shown as it is known to be. Undefined: another watcher was faster, or it is up again. */
export function loseHost(db: Db, loss: HostLoss, now: Date): Promise<Lost | undefined> {
  return db.transaction(async (tx) => {
    const judged = loss.since === null ? isJudged(now) : inArray(instances.state, [...living]);
    const rows = await tx.select().from(instances).where(and(eq(instances.host, loss.host), judged))
      .orderBy(asc(instances.id)).for('update');
    const since = await downSince(tx, loss);
    if (since === undefined) return undefined;
    const done = { stopped: 0, handedBack: 0, ended: 0 };
    for (const row of rows) done[await loseInstance(tx, row, since, now)] += 1;
    return done;
  });
}

async function downSince(tx: Tx, { host, since }: HostLoss): Promise<Date | undefined> {
  const [row] = since === null
    ? await tx.select({ downSince: hosts.downSince }).from(hosts).where(eq(hosts.name, host))
    : await tx.update(hosts).set({ downSince: since }).where(and(eq(hosts.name, host), isNull(hosts.downSince))).returning({ downSince: hosts.downSince });
  return row?.downSince ?? undefined;
}

async function loseInstance(tx: Tx, row: Instance, since: Date, now: Date): Promise<keyof Lost> {
  const host = row.host ?? '';
  const silent = `host ${host} has not been heard of since ${since.toISOString()}`;
  const works = (await unfinishedOperations(tx, row.id)).filter((operation) => operation.owner === `compute@${host}`);
  const run = works.find((operation) => operation.kind === 'instance.run');
  if (row.state === 'shutting-down') {
    await endLost(tx, row, works, now);
    return 'ended';
  }
  if (row.state === 'pending' && run !== undefined && !mayHaveBooted(run)) {
    await releaseRoom(tx, host, await claimOfRow(tx, row));
    // The fence goes up at once: a report that the host has in hand must not meet the row while nobody has it.
    await tx.update(instances).set({ host: null, fence: row.fence + 1, failedHosts: [...new Set([...row.failedHosts, host])] }).where(eq(instances.id, row.id));
    await handOperation(tx, run.id, { owner: 'scheduler', error: silent }, now);
    return 'handedBack';
  }
  // A stop goes on when the host returns: its guest may run until then, and must not be taken for one that was started by hand.
  const isStopping = row.state === 'stopping';
  for (const work of works) {
    if (!isStopping || work.kind !== 'instance.stop') await finishOperation(tx, work.id, { state: 'failed', error: silent }, now);
  }
  await settleAttachments(tx, { instanceId: row.id, works, why: silent }, now);
  await tx.update(instances).set({
    state: 'stopped', stateChangedAt: now, stateDeadline: null, hostLost: !isStopping,
    ...(isStopping ? {} : {
      stateReasonCode: 'Server.HostUnavailable',
      stateReasonMessage: `Server.HostUnavailable: ${silent}; the guest is adopted or started again when it returns`,
    }),
  }).where(eq(instances.id, row.id));
  return 'stopped';
}

/** A volume that was just attached or detached is taken back by its host; one that it was launched or started with is its own, wherever it goes on. */
async function settleAttachments(tx: Tx, lost: { instanceId: string; works: readonly Operation[]; why: string }, now: Date): Promise<void> {
  const inHand = new Set(lost.works.map(attachmentOfWork));
  for (const { attachment } of await volumesOfInstance(tx, lost.instanceId)) {
    if (inHand.has(attachment.id)) await releaseAbandoned(tx, attachment, lost.why, now);
  }
  await confirmAttachments(tx, lost.instanceId);
}

/** Its guest may run where nobody is heard of: begun elsewhere it would run twice, so that it is a lost one like those that ran. */
const mayHaveBooted = (run: Operation): boolean => run.steps.some(({ name, state }) => name === 'start' && state !== 'undone');

/** What is left of it on the host is removed there when it returns, its address with it: until then the guest may still use it. */
async function endLost(tx: Tx, row: Instance, works: readonly Operation[], now: Date): Promise<void> {
  await endInstance(tx, row, undefined, now);
  for (const work of works) {
    await finishOperation(tx, work.id, work.kind === 'instance.terminate' ? { state: 'done' } : { state: 'failed', error: 'the user ended the instance' }, now);
  }
}

/** Work that was kept for a host while it was away has this long from its return. */
const afterReturnMs = 10 * 60_000;

/** The host is heard again: placements may use it, and what waits for it has time again. False: it did not count as down. */
export function hostReturned(db: Db, host: string, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const rows = await tx.update(hosts).set({ downSince: null }).where(and(eq(hosts.name, host), isNotNull(hosts.downSince))).returning({ name: hosts.name });
    if (rows.length === 0) return false;
    const deadline = new Date(now.getTime() + afterReturnMs);
    await tx.update(operations).set({ deadline }).where(and(
      eq(operations.owner, `compute@${host}`), inArray(operations.state, [...unfinished]), sql`${operations.deadline} < ${deadline.toISOString()}::timestamptz`,
    ));
    return true;
  });
}

/** An instance that ran when its host was lost, and does not run there any more, is to start again. False: it has gone on without us. */
export async function resumeLost(tx: Tx, row: Instance, deadline: Date, now: Date): Promise<boolean> {
  const rows = await tx.update(instances).set({ state: 'pending', stateChangedAt: now, stateDeadline: deadline, hostLost: false })
    .where(and(eq(instances.id, row.id), eq(instances.fence, row.fence), eq(instances.state, 'stopped'), eq(instances.hostLost, true)))
    .returning({ id: instances.id });
  return rows.length > 0;
}
