// Puts an actor away after a time without messages. One timer per idle period, not one per message (nact's B11 leaked those).
import type { Clock, Timer } from '../../lib/clock.ts';
import { startTimer } from './timer.ts';

export class IdleTimer {
  readonly #clock: Clock;
  readonly #idleMs: number;
  #since: number;
  #timer: Timer;

  /** Calls `stop` after `idleMs` without a touch and without `inUse`. */
  constructor(options: { clock: Clock; idleMs: number; inUse: () => boolean; stop: () => void }) {
    const { clock, idleMs } = options;
    this.#clock = clock;
    this.#idleMs = idleMs;
    this.#since = clock.now();
    const check = (): void => {
      const leftMs = options.inUse() ? idleMs : this.#since + this.#idleMs - clock.now();
      if (leftMs <= 0) return options.stop();
      this.#timer = startTimer(clock, leftMs, check, { unref: true });
    };
    this.#timer = startTimer(clock, idleMs, check, { unref: true });
  }

  /** A message was handled, or somebody has just asked for the actor. */
  touch(): void {
    this.#since = this.#clock.now();
  }

  cancel(): void {
    this.#timer.cancel();
  }
}
