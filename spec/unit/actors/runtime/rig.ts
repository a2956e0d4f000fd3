// A system for specs: collects what was fatal and what was logged, and waits for conditions.
import { pino } from 'pino';
import { systemClock, type Clock } from '../../../../src/lib/clock.ts';
import type { ActorSystem } from '../../../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../../../src/actors/runtime/system.ts';

let systems = 0;

export interface Rig {
  readonly system: ActorSystem;
  readonly fatal: unknown[];
  readonly logged: string[];
}

export function createRig(clock: Clock = systemClock): Rig {
  systems += 1;
  const fatal: unknown[] = [];
  const logged: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });
  const system = createActorSystem({ name: `spec-${systems}`, clock, log, onFatal: (error) => void fatal.push(error) });
  return { system, fatal, logged };
}

/** Resolves when the condition holds; rejects when it does not within two seconds. */
export async function until(condition: () => boolean, what = condition.toString()): Promise<void> {
  const endsAt = performance.now() + 2000;
  while (!condition()) {
    if (performance.now() > endsAt) throw new Error(`never: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}

/** A promise and the means to settle it. */
export function gate(): { opened: Promise<void>; open: () => void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

/** A clock that moves only when told. */
export function createManualClock(startAt = 1_000_000): Clock & { advance(byMs: number): Promise<void>; readonly timers: number } {
  let now = startAt;
  const timers = new Set<{ at: number; callback: () => void }>();
  const turns = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
  };
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
