// Drains and evacuations of hosts: looked at whenever a message, an ended move or a sweep says so, each time brought as far as it goes now. The
// operation and the rows say how far it has come; nothing is kept here.
import { finishOperation, type Operation } from '../../db/operations.ts';
import {
  findHost, inhabitants, movesOf, noteHostWork, rebuildElsewhere, startElsewhere, withHostWork, type Evacuation,
} from '../../db/host-work.ts';
import type { Tx } from '../../db/db.ts';
import type { Instance } from '../../db/instance-work.ts';
import { requestMigration } from '../../db/migrate-work.ts';
import { groupBy } from '../../lib/group-by.ts';
import { newRequestId } from '../../lib/ids.ts';
import { heardHosts, type SchedulerDeps } from './place-instances.ts';

/** Instances of one host that are moved at once. */
const movesMax = 2;
/** Tries to move one instance, before a drain gives it up. */
const triesMax = 3;
const moveMs = 60 * 60_000;
const evacuateMs = 10 * 60_000;

/** Brings a drain or an evacuation further. Repeating is harmless. */
export async function advanceHostWork(deps: SchedulerDeps, operationId: string): Promise<void> {
  await withHostWork(deps.db, operationId, (tx, operation) => (operation.kind === 'host.drain' ? drain(deps, tx, operation) : evacuate(deps, tx, operation)));
  deps.relay.kick();
}

async function drain(deps: SchedulerDeps, tx: Tx, operation: Operation): Promise<void> {
  const now = deps.clock.date();
  const rows = await inhabitants(tx, operation.resourceId);
  if (rows.length === 0) return end(deps, tx, operation, undefined);
  if (await givenUp(deps, tx, operation, rows)) return;
  const moves = groupBy(await movesOf(tx, operation.id, rows.map(({ id }) => id)), (move) => move.resourceId);
  const isMoving = ({ id }: Instance) => moves.get(id)?.some(({ state }) => state !== 'done' && state !== 'failed') === true;
  const isSpent = ({ id }: Instance) => (moves.get(id)?.length ?? 0) >= triesMax;
  const moving = rows.filter(isMoving);
  const movable = rows.filter((row) => !isMoving(row) && (row.state === 'running' || row.state === 'stopped'));
  if (moving.length === 0 && movable.length === rows.length && movable.every(isSpent)) {
    return end(deps, tx, operation, `not moved: ${rows.map(({ id }) => `${id} (${moves.get(id)?.[0]?.error ?? 'unknown'})`).join(', ')}`);
  }
  for (const row of movable.filter((one) => !isSpent(one)).slice(0, Math.max(0, movesMax - moving.length))) {
    await requestMigration(tx, {
      instanceId: row.id, live: operation.input['live'] === true, userId: operation.userId, requestId: newRequestId(),
      deadline: new Date(Math.min(now.getTime() + moveMs, operation.deadline.getTime())), replyTo: { mailbox: 'scheduler', actor: operation.id },
    }, now);
  }
  await noteHostWork(tx, operation.id, `${rows.length} instances are still there`, now);
}

async function evacuate(deps: SchedulerDeps, tx: Tx, operation: Operation): Promise<void> {
  const now = deps.clock.date();
  const host = operation.resourceId;
  if ((await findHost(tx, host))?.downSince === null) return end(deps, tx, operation, `host ${host} is heard again: its instances go on there`);
  const lost = (await inhabitants(tx, host)).filter((row) => row.hostLost);
  const up = await heardHosts(deps);
  const left: Instance[] = [];
  for (const row of lost) {
    const evacuation: Evacuation = { operation, instanceId: row.id, host, overcommit: deps.overcommit, deadline: new Date(now.getTime() + evacuateMs) };
    const to = operation.input['rebuild'] === true
      ? (await rebuildElsewhere(tx, evacuation, now)) ? 'a host of the scheduler\'s choice' : undefined
      : await startElsewhere(tx, evacuation, up, now);
    if (to === undefined) left.push(row);
    else deps.log.warn({ instance: row.id, from: host, to, rebuild: operation.input['rebuild'] === true }, 'an instance of a lost host is evacuated');
  }
  if (left.length === 0) return end(deps, tx, operation, undefined);
  if (!(await givenUp(deps, tx, operation, left))) await noteHostWork(tx, operation.id, `no host has room for ${left.map(({ id }) => id).join(', ')}`, now);
}

async function givenUp(deps: SchedulerDeps, tx: Tx, operation: Operation, left: readonly Instance[]): Promise<boolean> {
  if (deps.clock.now() <= operation.deadline.getTime()) return false;
  await end(deps, tx, operation, `not done within its time; still there: ${left.map(({ id }) => id).join(', ')}`);
  return true;
}

async function end(deps: SchedulerDeps, tx: Tx, operation: Operation, error: string | undefined): Promise<void> {
  await finishOperation(tx, operation.id, error === undefined ? { state: 'done' } : { state: 'failed', error }, deps.clock.date());
  deps.log.info({ host: operation.resourceId, operation: operation.id, kind: operation.kind, error }, 'host operation ended');
}
