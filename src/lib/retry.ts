// Repetition that ends: a growing pause, a bounded number of tries, and a deadline.
import type { Clock } from './clock.ts';

export interface RetryOptions {
  readonly clock: Clock;
  readonly triesMax: number;
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  readonly signal?: AbortSignal;
  /** False for an error that repetition cannot mend. */
  readonly mayRetry?: (error: unknown) => boolean;
}

/** The result of the first successful try; the error of the last one otherwise. */
export async function retry<T>(attempt: (number: number) => Promise<T>, options: RetryOptions): Promise<T> {
  for (let number = 1; ; number += 1) {
    try {
      return await attempt(number);
    } catch (error) {
      if (number >= options.triesMax || options.mayRetry?.(error) === false) throw error;
      await options.clock.sleep(backOffMs(number, options), options.signal);
    }
  }
}

/** The pause after try `number` (from 1): doubling from `firstDelayMs`, never above `delayMsMax`. */
export function backOffMs(number: number, limits: { firstDelayMs: number; delayMsMax: number }): number {
  return Math.min(limits.firstDelayMs * 2 ** Math.min(number - 1, 30), limits.delayMsMax);
}
