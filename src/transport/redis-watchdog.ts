// Sees to it that no answer is waited for longer than its time. One timer for all that a connection waits for, which fires now and then, instead
// of one for each command: making and clearing those cost as much as sending a command does.
import type { Clock } from '../lib/clock.ts';
import { Fifo } from './fifo.ts';

interface Guarded {
  readonly deadline: number;
  readonly late: () => void;
  isDone: boolean;
}

export class RedisWatchdog {
  readonly #clock: Clock;
  /** By deadline: whoever guards with one watchdog gives all the same time, or guards one at a time. */
  readonly #guarded = new Fifo<Guarded>();
  #isArmed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** What the work comes to. It rejects with `late()` after the time, and with what `refused` makes of the work's own error. */
  guard<T>(work: Promise<T>, timeoutMs: number, { late, refused }: { late: () => Error; refused: (error: unknown) => unknown }): Promise<T> {
    return new Promise((resolve, reject) => {
      const guarded: Guarded = { deadline: this.#clock.now() + timeoutMs, late: () => reject(late()), isDone: false };
      const answered = (value: T): void => {
        guarded.isDone = true;
        resolve(value);
      };
      const failed = (error: unknown): void => {
        if (guarded.isDone) return;
        guarded.isDone = true;
        reject(refused(error));
      };
      work.then(answered, failed);
      this.#forgetDone();
      this.#guarded.push(guarded);
      if (!this.#isArmed) this.#arm(timeoutMs);
    });
  }

  #arm(delayMs: number): void {
    this.#isArmed = true;
    this.#clock.after(delayMs, () => this.#look(), { unref: true });
  }

  #look(): void {
    this.#isArmed = false;
    for (;;) {
      this.#forgetDone();
      const first = this.#guarded.first;
      if (first === undefined) return;
      const restMs = first.deadline - this.#clock.now();
      if (restMs > 0) return this.#arm(restMs);
      first.isDone = true;
      first.late();
    }
  }

  #forgetDone(): void {
    while (this.#guarded.first?.isDone === true) this.#guarded.shift();
  }
}
