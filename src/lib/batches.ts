// Questions that many ask at the same time, asked together: what is wanted while a batch is under way goes into the next one. Nothing is kept: each
// batch begins after all who wait for it have asked.
import { BatchTurns, type Tell } from './batch-turns.ts';
import type { Clock } from './clock.ts';

export interface BatchesOptions<Question, Answer> {
  readonly clock: Clock;
  /** Equal questions have equal names, and are asked once in a batch. */
  readonly nameOf: (question: Question) => string;
  /** The answers by the names of their questions; none for what there is not. What it rejects with, all who wait for the batch get. */
  readonly ask: (questions: readonly Question[]) => Promise<ReadonlyMap<string, Answer>>;
}

interface Waiting<Question, Answer> {
  readonly question: Question;
  readonly answer: Promise<Answer | undefined>;
  readonly resolve: (answer: Answer | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Batches<Question, Answer> {
  readonly #options: BatchesOptions<Question, Answer>;
  readonly #turns: BatchTurns;
  #waiting = new Map<string, Waiting<Question, Answer>>();

  constructor(options: BatchesOptions<Question, Answer>) {
    this.#options = options;
    this.#turns = new BatchTurns({ clock: options.clock, waiting: () => this.#waiting.size, begin: (sizeMax) => this.#answer(this.#take(sizeMax)) });
  }

  /** Undefined: there is none. */
  find(question: Question): Promise<Answer | undefined> {
    const name = this.#options.nameOf(question);
    const asked = this.#waiting.get(name);
    if (asked !== undefined) return asked.answer;
    const waiting = waitingFor<Question, Answer>(question);
    this.#waiting.set(name, waiting);
    this.#turns.consider();
    return waiting.answer;
  }

  #take(sizeMax: number): ReadonlyMap<string, Waiting<Question, Answer>> {
    const all = this.#waiting;
    if (all.size <= sizeMax) {
      this.#waiting = new Map();
      return all;
    }
    const batch = new Map([...all].slice(0, sizeMax));
    for (const name of batch.keys()) all.delete(name);
    return batch;
  }

  async #answer(batch: ReadonlyMap<string, Waiting<Question, Answer>>): Promise<Tell> {
    try {
      const answers = await this.#options.ask([...batch.values()].map(({ question }) => question));
      return () => {
        for (const [name, { resolve }] of batch) resolve(answers.get(name));
      };
    } catch (error) {
      return () => {
        for (const { reject } of batch.values()) reject(error);
      };
    }
  }
}

function waitingFor<Question, Answer>(question: Question): Waiting<Question, Answer> {
  let [resolve, reject]: [Waiting<Question, Answer>['resolve'], Waiting<Question, Answer>['reject']] = [() => undefined, () => undefined];
  const answer = new Promise<Answer | undefined>((...both) => { [resolve, reject] = both; });
  return { question, answer, resolve, reject };
}
