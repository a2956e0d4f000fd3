// Performs one durable operation by its flow: takes it for this start of the owner, keeps its journal in the database, and says how it ended.
import type { Db } from '../../db/db.ts';
import { isDatabaseAway } from '../../db/away.ts';
import { recordProgress, releaseHold, takeOperation, type HeldOperation, type Operation, type TakenOperation } from '../../db/operations.ts';
import { isShared } from '../../db/owners.ts';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import { FlowInterrupted, runFlow, type Flow, type FlowJournal, type FlowResult } from '../../lib/flow.ts';
import type { Log } from '../../lib/log.ts';
import type { Relay } from '../../transport/transport.ts';
import { keepHold } from './hold.ts';

/** Who performs: a role on a host, in one of its starts. */
export interface Owner {
  /** `compute@host1`, `objectstore`. */
  readonly name: string;
  readonly epoch: number;
}

export interface Performance<Context> {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly owner: Owner;
  /** Kicked when somebody is told of the end. */
  readonly relay?: Relay;
  readonly operation: Operation;
  readonly flow: Flow<Context>;
  readonly context: Context;
  /** The reason with which it is given up when the user has ended the resource meanwhile. Undefined: it goes on all the same. */
  readonly whenEnding?: string;
  readonly signal: AbortSignal;
  /** Everything is undone: settles the resource. True: the operation was handed on and stays unfinished. */
  readonly onFailed: (error: string) => Promise<boolean>;
}

/** `lost`: finished already, or held by another. */
export type Ending = 'done' | 'failed' | 'handedOn' | 'lost';

/** Undoing that fails is tried again by the caller, so often; then the operation fails and the reaper is left with the rest. */
const attemptsMax = 20;

export async function performOperation<Context>(performance: Performance<Context>): Promise<Ending> {
  const { db, clock, owner, operation } = performance;
  const firstStep = performance.flow.steps[0]?.name;
  const taken = await takeOperation(db, { id: operation.id, owner: owner.name, epoch: owner.epoch, firstStep, now: clock.date() });
  if (taken === undefined) return 'lost';
  const held: HeldOperation = { id: taken.id, owner: owner.name, epoch: owner.epoch, replyTo: taken.replyTo };
  const log = performance.log.child({ operation: taken.id, kind: taken.kind, resource: taken.resourceId, requestId: taken.requestId });
  const startedAt = clock.now();
  if (taken.attempts > attemptsMax) {
    log.error({ attempts: taken.attempts, error: taken.error }, 'operation given up');
    return fail(performance, held, `given up after ${attemptsMax} attempts: ${taken.error ?? 'unknown'}`);
  }
  const result = await runHeld(performance, taken, held);
  if (result.done) {
    if (taken.replyTo !== null) performance.relay?.kick();
    log.info({ ms: clock.now() - startedAt }, 'operation done');
    return 'done';
  }
  log.warn({ ms: clock.now() - startedAt, error: result.error }, 'operation failed');
  return fail(performance, held, result.error);
}

/** Other processes of a shared owner are kept off meanwhile, and may have what this one leaves in the middle. */
async function runHeld<Context>(performance: Performance<Context>, taken: TakenOperation, held: HeldOperation): Promise<FlowResult> {
  const { db, clock, owner, flow, context } = performance;
  const hold = isShared(owner.name) ? keepHold(db, clock, held) : undefined;
  const signal = hold === undefined ? performance.signal : AbortSignal.any([performance.signal, hold.lost]);
  const giveUp = (): string | undefined =>
    (clock.now() > taken.deadline.getTime() ? 'not done within its time' : taken.isEnding ? performance.whenEnding : undefined);
  try {
    return await runFlow(flow, context, journalOf(performance, taken, held), { signal, giveUp, mustWait });
  } catch (error) {
    if (hold !== undefined && error instanceof FlowInterrupted) await releaseHold(db, held);
    throw error;
  } finally {
    hold?.release();
  }
}

/** A driver's own connections are none of the database's. */
const mustWait = (error: unknown): boolean => !(error instanceof DriverError) && isDatabaseAway(error);

async function fail<Context>(performance: Performance<Context>, held: HeldOperation, error: string): Promise<Ending> {
  if (await performance.onFailed(error)) return 'handedOn';
  await recordProgress(performance.db, held, { state: 'failed', error }, performance.clock.date());
  if (held.replyTo !== null) performance.relay?.kick();
  return 'failed';
}

function journalOf<Context>(performance: Performance<Context>, taken: Operation, held: HeldOperation): FlowJournal {
  return {
    state: taken.state === 'undoing' ? 'undoing' : 'running',
    records: taken.steps,
    error: taken.error ?? undefined,
    async save({ state, records, error }) {
      const hold = await recordProgress(performance.db, held, { state, steps: records, error: error ?? null }, performance.clock.date());
      if (hold === 'lost') throw new Error(`operation ${taken.id} is not held by ${held.owner} in epoch ${held.epoch} any more`);
      return hold === 'ending' ? performance.whenEnding : undefined;
    },
  };
}
