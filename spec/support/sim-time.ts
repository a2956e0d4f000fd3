// Virtual time. It stands still while anything in the process is at work, and jumps to the next timer when nothing is: work shows itself as
// promise jobs and immediates only, and both are drained before the clock moves. Nothing in a simulation waits for the real world.
import type { Clock, Timer } from '../../src/lib/clock.ts';

interface Entry {
  readonly at: number;
  readonly order: number;
  callback: (() => void) | undefined;
}

/** 2026-01-01T00:00:00Z: every simulation begins there. */
const beginning = Date.UTC(2026, 0, 1);

export class VirtualTime implements Clock {
  #now = beginning;
  #orders = 0;
  /** A binary heap by (at, order). */
  readonly #heap: Entry[] = [];

  now(): number {
    return this.#now;
  }

  date(): Date {
    return new Date(this.#now);
  }

  /** Since the beginning. */
  get elapsedMs(): number {
    return this.#now - beginning;
  }

  after(delayMs: number, callback: () => void): Timer {
    const entry: Entry = { at: this.#now + Math.max(0, Math.ceil(delayMs)), order: (this.#orders += 1), callback };
    this.#push(entry);
    return { cancel: () => void (entry.callback = undefined) };
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepOn(this, delayMs, signal);
  }

  /** Runs everything that is due until then; `onQuiet` is called each time that nothing is at work any more. False from it: enough. */
  async run(untilMs: number, onQuiet: () => boolean): Promise<void> {
    const end = beginning + untilMs;
    await drain();
    while (onQuiet()) {
      const next = this.#pop(end);
      if (next === undefined) {
        this.#now = Math.max(this.#now, end);
        return;
      }
      this.#now = Math.max(this.#now, next.at);
      next.callback?.();
      await drain();
    }
  }

  #push(entry: Entry): void {
    const heap = this.#heap;
    let position = heap.push(entry) - 1;
    while (position > 0) {
      const parent = (position - 1) >> 1;
      if (!isBefore(entry, heap[parent])) break;
      swap(heap, position, parent);
      position = parent;
    }
  }

  /** Undefined: no timer is due until then. */
  #pop(end: number): Entry | undefined {
    for (;;) {
      const [first] = this.#heap;
      if (first === undefined || (first.callback !== undefined && first.at > end)) return undefined;
      const last = this.#heap.pop();
      if (last !== undefined && last !== first) {
        this.#heap[0] = last;
        this.#sink();
      }
      if (first.callback !== undefined) return first;
    }
  }

  #sink(): void {
    const heap = this.#heap;
    for (let position = 0; ;) {
      const [left, right] = [2 * position + 1, 2 * position + 2];
      const child = isBefore(heap[right], heap[left]) ? right : left;
      if (!isBefore(heap[child], heap[position])) return;
      swap(heap, position, child);
      position = child;
    }
  }
}

const isBefore = (a: Entry | undefined, b: Entry | undefined): boolean =>
  a !== undefined && (b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order));

function swap(heap: Entry[], a: number, b: number): void {
  const [first, second] = [heap[a], heap[b]];
  if (first !== undefined && second !== undefined) [heap[a], heap[b]] = [second, first];
}

/** `Clock.sleep` over any `Clock.after`. */
export function sleepOn(clock: Pick<Clock, 'after'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = (): void => {
      timer.cancel();
      reject(signal?.reason);
    };
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}

const real = { set: globalThis.setImmediate, clear: globalThis.clearImmediate };
const waiting = new Set<NodeJS.Immediate>();

/** Until the returned function is called, immediates are counted, so that it is known when none is left. */
export function watchImmediates(): () => void {
  const set = (callback: (...args: unknown[]) => void, ...args: unknown[]): NodeJS.Immediate => {
    const handle = real.set(() => {
      waiting.delete(handle);
      callback(...args);
    });
    waiting.add(handle);
    return handle;
  };
  const clear = (handle: NodeJS.Immediate | undefined): void => {
    if (handle !== undefined) waiting.delete(handle);
    real.clear(handle);
  };
  Object.assign(globalThis, { setImmediate: set, clearImmediate: clear });
  return () => {
    waiting.clear();
    Object.assign(globalThis, { setImmediate: real.set, clearImmediate: real.clear });
  };
}

/** Resolves when no immediate and no promise job is left. */
async function drain(): Promise<void> {
  do {
    await new Promise((resolve) => { real.set(resolve); });
  } while (waiting.size > 0);
}
