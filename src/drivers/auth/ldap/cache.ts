// Answers of the directory, kept for a bounded time: one question at once however many ask it, and nothing that failed. What this process
// changes makes it forget everything; what others change it learns when the time is over.
import { LRUCache } from 'lru-cache';
import type { Clock } from '../../../lib/clock.ts';

export interface AnswerCache {
  /** The answer under that name, at most as old as the bound; asked for when there is none. */
  get<T>(name: string, ask: () => Promise<T>): Promise<T>;
  forget(): void;
}

interface Kept {
  readonly answer: Promise<unknown>;
  readonly askedAt: number;
}

const answersMax = 20_000;

export function createAnswerCache({ clock, ageMsMax }: { clock: Clock; ageMsMax: number }): AnswerCache {
  const answers = new LRUCache<string, Kept>({ max: answersMax });
  return {
    get<T>(name: string, ask: () => Promise<T>): Promise<T> {
      const known = answers.get(name);
      // A clock that was set back makes nothing younger.
      const age = known === undefined ? Infinity : clock.now() - known.askedAt;
      if (known !== undefined && age >= 0 && age < ageMsMax) return known.answer as Promise<T>;
      const kept: Kept = { answer: ask(), askedAt: clock.now() };
      answers.set(name, kept);
      kept.answer.catch(() => {
        if (answers.peek(name) === kept) answers.delete(name);
      });
      return kept.answer as Promise<T>;
    },
    forget: () => answers.clear(),
  };
}
