// When a batch begins: what comes while one is under way gathers for the next.
import type { Clock, Timer } from './clock.ts';

export interface BatchTurnsOptions {
  readonly clock: Clock;
  /** How many wait for a batch. */
  readonly waiting: () => number;
  /** Takes up to so many of them and does them. Undefined: none of them can begin now, and the end of a batch that is under way will change that. */
  readonly begin: (sizeMax: number) => Promise<Tell> | undefined;
}

/** Tells those of a batch that is done. */
export type Tell = () => void;

/** Of one batch. */
const sizeMax = 64;
/** One batch at a time is the cheapest, but one that hangs must not hold up others for long: after this another begins beside it. */
const patienceMs = 5;
const underWayMax = 4;

export class BatchTurns {
  readonly #options: BatchTurnsOptions;
  #underWay = 0;
  #isDue = false;
  #late: Timer | undefined;

  constructor(options: BatchTurnsOptions) {
    this.#options = options;
  }

  /** To be told of each that waits. What else is read from sockets in this turn of the loop comes along. */
  consider(): void {
    const waiting = this.#options.waiting();
    if (waiting === 0 || this.#isDue) return;
    if (this.#underWay === 0 || (waiting >= sizeMax && this.#underWay < underWayMax)) {
      this.#isDue = true;
      setImmediate(() => this.#begin());
    } else if (this.#underWay < underWayMax) {
      this.#late ??= this.#options.clock.after(patienceMs, () => this.#begin());
    }
  }

  #begin(): void {
    this.#isDue = false;
    this.#late?.cancel();
    this.#late = undefined;
    if (this.#options.waiting() === 0 || this.#underWay >= underWayMax) return;
    const done = this.#options.begin(sizeMax);
    if (done === undefined) return;
    this.#underWay += 1;
    void done.then((tell) => this.#end(tell));
    this.consider();
  }

  /** What waits goes on its way before those that are done are told: what they do then takes longer than the way. */
  #end(tell: Tell): void {
    this.#underWay -= 1;
    if (this.#underWay > 0 || this.#isDue || this.#options.waiting() === 0) {
      tell();
      this.consider();
    } else {
      this.#begin();
      setImmediate(tell);
    }
  }
}
