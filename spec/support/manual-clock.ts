// A clock for specs that moves only when told, and lets the event loop turn in between.
import type { Clock } from '../../src/lib/clock.ts';

const turns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
};

/** A clock that moves only when told. */
export function createManualClock(startAt = 1_000_000): Clock & { advance(byMs: number): Promise<void>; readonly timers: number } {
  let now = startAt;
  const timers = new Set<{ at: number; callback: () => void }>();
  const clock: Clock = {
    now: () => now,
    date: () => new Date(now),
    after(delayMs, callback) {
      const timer = { at: now + delayMs, callback };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    sleep: (delayMs, signal) => new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const timer = clock.after(delayMs, resolve);
      signal?.addEventListener('abort', () => {
        timer.cancel();
        reject(signal.reason);
      }, { once: true });
    }),
  };
  return {
    ...clock,
    get timers() {
      return timers.size;
    },
    async advance(byMs) {
      const endsAt = now + byMs;
      await turns();
      for (;;) {
        const due = [...timers].filter((timer) => timer.at <= endsAt).toSorted((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers.delete(due);
        now = Math.max(now, due.at);
        due.callback();
        await turns();
      }
      now = endsAt;
    },
  };
}
