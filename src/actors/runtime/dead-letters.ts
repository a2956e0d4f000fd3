// Messages that nobody will handle: counted always, logged at most once a second, never with their bodies.
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

export type DeadLetterReason = 'ended' | 'stopped' | 'lateAnswer' | 'secondAnswer';

const logEveryMs = 1000;

/** The dead letters of one actor system. */
export class DeadLetters {
  count = 0;
  readonly #clock: Clock;
  readonly #log: Log;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(clock: Clock, log: Log) {
    this.#clock = clock;
    this.#log = log;
  }

  add(path: string, reason: DeadLetterReason): void {
    this.count += 1;
    const now = this.#clock.now();
    if (now - this.#loggedAt < logEveryMs) {
      this.#unlogged += 1;
      return;
    }
    this.#log.warn({ actor: path, reason, count: this.count, unlogged: this.#unlogged }, 'dead letter');
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}
