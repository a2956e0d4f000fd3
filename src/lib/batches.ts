// Questions that many ask at the same time, asked together: what is wanted while a batch is under way goes into the next one. Nothing is kept: each
// batch begins after all who wait for it have asked.
import type { Clock, Timer } from './clock.ts';

export interface BatchesOptions<Question, Answer> {
  readonly clock: Clock;
  /** Equal questions have equal names, and are asked once in a batch. */
  readonly nameOf: (question: Question) => string;
  /** The answers by the names of their questions; none for what there is not. What it rejects with, all who wait for the batch get. */
  readonly ask: (questions: readonly Question[]) => Promise<ReadonlyMap<string, Answer>>;
}

/** Different questions of one batch. */
const sizeMax = 64;
/** One batch at a time is the cheapest, but one that hangs must not hold up others for long: after this another begins beside it. */
const patienceMs = 5;
const underWayMax = 4;

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly answer: Promise<Answer | undefined>;
  readonly resolve: (answer: Answer | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Batches<Question, Answer> {
  readonly #options: BatchesOptions<Question, Answer>;
  #waiting = new Map<string, Waiting<Question, Answer>>();
  #underWay = 0;
  #isDue = false;
  #late: Timer | undefined;

  constructor(options: BatchesOptions<Question, Answer>) {
    this.#options = options;
  }

  /** Undefined: there is none. */
  find(question: Question): Promise<Answer | undefined> {
    const name = this.#options.nameOf(question);
    const asked = this.#waiting.get(name);
    if (asked !== undefined) return asked.answer;
    const waiting = waitingFor<Question, Answer>(question);
    this.#waiting.set(name, waiting);
    this.#consider();
    return waiting.answer;
  }

  /** What else is read from sockets in this turn of the loop comes along. */
  #consider(): void {
    if (this.#waiting.size === 0 || this.#isDue) return;
    if (this.#underWay === 0 || (this.#waiting.size >= sizeMax && this.#underWay < underWayMax)) {
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
    if (this.#waiting.size === 0 || this.#underWay >= underWayMax) return;
    const batch = this.#take();
    this.#underWay += 1;
    void this.#answer(batch).finally(() => {
      this.#underWay -= 1;
      this.#consider();
    });
    this.#consider();
  }

  #take(): ReadonlyMap<string, Waiting<Question, Answer>> {
    const all = this.#waiting;
    if (all.size <= sizeMax) {
      this.#waiting = new Map();
      return all;
    }
    const batch = new Map([...all].slice(0, sizeMax));
    for (const name of batch.keys()) all.delete(name);
    return batch;
  }

  async #answer(batch: ReadonlyMap<string, Waiting<Question, Answer>>): Promise<void> {
    try {
      const answers = await this.#options.ask([...batch.values()].map(({ question }) => question));
      for (const [name, { resolve }] of batch) resolve(answers.get(name));
    } catch (error) {
      for (const { reject } of batch.values()) reject(error);
    }
  }
}

function waitingFor<Question, Answer>(question: Question): Waiting<Question, Answer> {
  let [resolve, reject]: [Waiting<Question, Answer>['resolve'], Waiting<Question, Answer>['reject']] = [() => undefined, () => undefined];
  const answer = new Promise<Answer | undefined>((...both) => { [resolve, reject] = both; });
  return { question, answer, resolve, reject };
}
