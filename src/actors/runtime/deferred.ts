// A promise settled from outside, and one that is not waited for longer than its deadline.
import type { Clock } from '../../lib/clock.ts';
import { ActorError } from './actor.ts';
import { startTimer } from './timer.ts';

export interface Deferred {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

const pending = (): void => undefined;

export function deferred(): Deferred {
  let resolve = pending;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

/** Rejects with ActorError `timeout` when `promise` has not settled by then. */
export async function within(clock: Clock, deadlineMs: number, promise: void | Promise<void>): Promise<void> {
  const late = deferred();
  const timer = startTimer(clock, deadlineMs, late.resolve, { unref: true });
  const tooLate = late.promise.then(() => {
    throw new ActorError('timeout', `not done after ${deadlineMs} ms`);
  });
  try {
    await Promise.race([promise, tooLate]);
  } finally {
    timer.cancel();
  }
}

export function isPromise(value: unknown): value is Promise<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
