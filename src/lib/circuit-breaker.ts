// Spares what is down, and those who would wait for it: after some failures in a row nobody is let through for a while, then one, whose
// fate decides for all.
import type { Clock } from './clock.ts';

export interface CircuitBreakerOptions {
  readonly clock: Clock;
  /** So many failures in a row open it. */
  readonly failuresMax: number;
  /** How long it stays open before one may try. */
  readonly restMs: number;
  /** Whether an error says that the other side is down: one that answers, with whatever error, is up. */
  readonly isOutage: (error: unknown) => boolean;
  /** What is thrown at once while it is open. */
  readonly refusal: () => Error;
}

export interface CircuitBreaker {
  run<T>(work: () => Promise<T>): Promise<T>;
}

export function createCircuitBreaker({ clock, failuresMax, restMs, isOutage, refusal }: CircuitBreakerOptions): CircuitBreaker {
  let failures = 0;
  let closedAgainAt = 0;
  let isTrying = false;
  const isOpen = (): boolean => failures >= failuresMax && (isTrying || clock.now() < closedAgainAt);
  return {
    async run(work) {
      if (isOpen()) throw refusal();
      const isTrial = failures >= failuresMax;
      if (isTrial) isTrying = true;
      try {
        const result = await work();
        failures = 0;
        return result;
      } catch (error) {
        if (!isOutage(error)) failures = 0;
        else if (++failures >= failuresMax) closedAgainAt = clock.now() + restMs;
        throw error;
      } finally {
        if (isTrial) isTrying = false;
      }
    },
  };
}
