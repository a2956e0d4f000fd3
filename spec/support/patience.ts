// Waiting for what the real world does in seconds rather than milliseconds: a condition that is asked for again and again, with a
// deadline, and the last thing that was seen in the error.
import { setTimeout as pause } from 'node:timers/promises';

export interface Patience {
  readonly timeoutMs: number;
  /** Default 200. */
  readonly pollMs?: number;
}

/** Asks until there is an answer. An error of `look` counts as no answer, and is named when the time is over. */
export async function waitFor<T>(what: string, { timeoutMs, pollMs = 200 }: Patience, look: () => Promise<T | undefined>): Promise<T> {
  const endsAt = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const value = await look();
      if (value !== undefined) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > endsAt) {
      // In one line, for a summary shows no more of an error.
      const seen = last === undefined ? '' : ` (last: ${String(last instanceof Error ? last.message : last).replaceAll(/\s+/g, ' ').slice(0, 600)})`;
      throw new Error(`never within ${timeoutMs} ms: ${what}${seen}`, { cause: last });
    }
    await pause(pollMs);
  }
}

/** As `waitFor`, for what only holds or does not. Returns the milliseconds it took. */
export async function waitUntil(what: string, patience: Patience, holds: () => Promise<boolean>): Promise<number> {
  const startedAt = performance.now();
  await waitFor(what, patience, async () => ((await holds()) ? true : undefined));
  return Math.round(performance.now() - startedAt);
}
