// Time is passed in, so that a whole cloud can run under a virtual clock. Nothing outside this file calls
// Date.now, new Date() or setTimeout.

export interface Timer {
  /** Safe to call twice and after it fired. */
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** The same instant as a Date, for the database. */
  date(): Date;
  /** Calls back once, after `delayMs`. An unreferenced timer does not keep the process alive. */
  after(delayMs: number, callback: () => void, options?: { unref?: boolean }): Timer;
  /** Resolves after `delayMs`; rejects with the signal's reason when it is aborted first. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** setTimeout wraps above this and fires at once. */
const delayMsMax = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => Date.now(),
  date: () => new Date(),
  after(delayMs, callback, options = {}) {
    const timer = setTimeout(callback, Math.max(0, Math.min(delayMs, delayMsMax)));
    if (options.unref) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
  sleep(delayMs, signal) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = setTimeout(() => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      }, Math.max(0, Math.min(delayMs, delayMsMax)));
      signal?.addEventListener('abort', onAbort, { once: true });
    });
  },
};
