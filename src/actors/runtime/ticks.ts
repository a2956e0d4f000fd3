// Messages an actor sends itself by the clock. A tick that was cancelled while it waited in the mailbox is not delivered.
import type { Clock, Timer } from '../../lib/clock.ts';
import { startTimer } from './timer.ts';

/** Travels beside the message, where nact carries a sender. */
export class Tick {
  readonly kind = 'tick';
  readonly #ticks: Ticks;
  readonly #repeats: boolean;
  timer: Timer | undefined;
  waiting = false;
  #cancelled = false;

  constructor(ticks: Ticks, repeats: boolean) {
    this.#ticks = ticks;
    this.#repeats = repeats;
  }

  /** True when the message is still wanted. */
  take(): boolean {
    this.waiting = false;
    if (!this.#repeats) this.#ticks.forget(this);
    return !this.#cancelled;
  }

  cancel(): void {
    this.#cancelled = true;
    this.timer?.cancel();
    this.#ticks.forget(this);
  }
}

/** The ticks of one actor. */
export class Ticks {
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #send: (message: unknown, tick: Tick) => void;
  readonly #active = new Set<Tick>();

  constructor(clock: Clock, random: () => number, send: (message: unknown, tick: Tick) => void) {
    this.#clock = clock;
    this.#random = random;
    this.#send = send;
  }

  after(delayMs: number, message: unknown): Tick {
    const tick = new Tick(this, false);
    tick.timer = startTimer(this.#clock, delayMs, () => this.#send(message, tick));
    this.#active.add(tick);
    return tick;
  }

  every(intervalMs: number, message: unknown): Tick {
    const tick = new Tick(this, true);
    const arm = (): void => {
      const delayMs = Math.max(1, intervalMs * (0.9 + this.#random() * 0.2));
      tick.timer = startTimer(this.#clock, delayMs, () => {
        arm();
        if (tick.waiting) return;
        tick.waiting = true;
        this.#send(message, tick);
      });
    };
    arm();
    this.#active.add(tick);
    return tick;
  }

  forget(tick: Tick): void {
    this.#active.delete(tick);
  }

  cancelAll(): void {
    for (const tick of this.#active) tick.cancel();
  }
}
