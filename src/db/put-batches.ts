// Puts that meet, done together: while one batch is in the database, the next gathers. Each key is in one batch at a time, so that puts of a key come
// one after the other.
import { BatchTurns, type Tell } from '../lib/batch-turns.ts';
import type { Clock } from '../lib/clock.ts';
import { nameOfKey } from './name-of-key.ts';

export interface Put {
  readonly bucket: string;
  readonly key: string;
  /** Of this put alone. */
  readonly blobId: string;
}

/** Does all of them or, by themselves, some. Resolves with the blobs of those that were done. */
export type PutTogether<P extends Put> = (batch: readonly P[]) => Promise<ReadonlySet<string>>;

interface Waiting<P> {
  readonly put: P;
  readonly resolve: (isDone: boolean) => void;
  readonly reject: (error: unknown) => void;
}

export class PutBatches<P extends Put> {
  readonly #together: PutTogether<P>;
  readonly #turns: BatchTurns;
  readonly #busy = new Set<string>();
  #waiting: Waiting<P>[] = [];

  constructor(clock: Clock, together: PutTogether<P>) {
    this.#together = together;
    this.#turns = new BatchTurns({ clock, waiting: () => this.#waiting.length, begin: (sizeMax) => this.#begin(sizeMax) });
  }

  /** False: nothing has changed. Rejects when nobody knows whether it has. */
  put(put: P): Promise<boolean> {
    const done = new Promise<boolean>((resolve, reject) => void this.#waiting.push({ put, resolve, reject }));
    this.#turns.consider();
    return done;
  }

  /** Undefined: all of them wait for their keys. */
  #begin(sizeMax: number): Promise<Tell> | undefined {
    const batch: Waiting<P>[] = [];
    const left: Waiting<P>[] = [];
    for (const waiting of this.#waiting) {
      const name = nameOfKey(waiting.put);
      if (batch.length >= sizeMax || this.#busy.has(name)) left.push(waiting);
      else {
        this.#busy.add(name);
        batch.push(waiting);
      }
    }
    this.#waiting = left;
    if (batch.length === 0) return undefined;
    return this.#do(batch);
  }

  async #do(batch: readonly Waiting<P>[]): Promise<Tell> {
    const tell = await this.#outcomeOf(batch);
    for (const { put } of batch) this.#busy.delete(nameOfKey(put));
    return tell;
  }

  async #outcomeOf(batch: readonly Waiting<P>[]): Promise<Tell> {
    try {
      const done = await this.#together(batch.map(({ put }) => put));
      return () => {
        for (const { put, resolve } of batch) resolve(done.has(put.blobId));
      };
    } catch (error) {
      // The fault of one of them, or two that met: nothing has changed, and each is tried by itself.
      const isFree = isRolledBack(error);
      return () => {
        for (const { resolve, reject } of batch) {
          if (isFree) resolve(false);
          else reject(error);
        }
      };
    }
  }
}

/** The database says so: a value it cannot take, a constraint, a deadlock. */
const isRolledBack = (error: unknown): boolean => {
  const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
  return [code, cause?.code].some((text) => typeof text === 'string' && /^(22|23|40)[0-9A-Z]{3}$/.test(text));
};
