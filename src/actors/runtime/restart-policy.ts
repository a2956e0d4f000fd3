// How often and how fast an actor is restarted: a growing pause with jitter, and a limit within a sliding window.
import { backOffMs } from '../../lib/retry.ts';
import type { RestartLimits } from './actor.ts';

export const restartLimitsDefault: RestartLimits = { restartsMax: 5, withinMs: 60_000, firstDelayMs: 100, delayMsMax: 30_000 };

/** The restarts of one actor. */
export class RestartPolicy {
  readonly #limits: RestartLimits;
  readonly #random: () => number;
  /** When the restarts of the window were granted. */
  #granted: number[] = [];

  constructor(limits: Partial<RestartLimits> | undefined, random: () => number) {
    this.#limits = { ...restartLimitsDefault, ...limits };
    this.#random = random;
  }

  /** The pause before the next restart; undefined when the limit is reached. */
  next(now: number): number | undefined {
    this.#forget(now);
    return this.#granted.length >= this.#limits.restartsMax ? undefined : this.grant(now);
  }

  /** The pause before a restart that the parent ordered: beyond the limit too, but never faster for it. */
  grant(now: number): number {
    this.#forget(now);
    this.#granted.push(now);
    const pauseMs = backOffMs(this.#granted.length, this.#limits);
    return pauseMs * (0.75 + this.#random() * 0.25);
  }

  #forget(now: number): void {
    this.#granted = this.#granted.filter((at) => now - at < this.#limits.withinMs).slice(-64);
  }
}
