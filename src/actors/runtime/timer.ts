// Timers of any length: setTimeout wraps above 2^31-1 ms and fires at once (nact's fault B10), so longer ones are chained.
import type { Clock, Timer } from '../../lib/clock.ts';

const stepMsMax = 2 ** 31 - 1;

/** Calls back once after `delayMs`; Infinity never does. */
export function startTimer(clock: Clock, delayMs: number, callback: () => void, options?: { unref?: boolean }): Timer {
  if (Number.isNaN(delayMs)) throw new RangeError('a delay must be a number');
  if (delayMs <= stepMsMax) return clock.after(Math.max(0, delayMs), callback, options);
  let step: Timer;
  const arm = (leftMs: number): void => {
    step = clock.after(Math.min(leftMs, stepMsMax), leftMs <= stepMsMax ? callback : () => arm(leftMs - stepMsMax), options);
  };
  arm(delayMs);
  return { cancel: () => step.cancel() };
}
