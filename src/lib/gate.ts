// Lets only so many through at once; the others wait in line until one leaves or they are told to give up.

export interface Gate {
  /** Does the work when it is its turn. Rejects with the signal's reason when that is aborted before. */
  pass<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T>;
}

export function createGate(atOnceMax: number): Gate {
  const waiting = new Set<() => void>();
  let inside = 0;
  const leave = (): void => {
    inside -= 1;
    const [next] = waiting;
    next?.();
  };
  const enter = (signal: AbortSignal | undefined): Promise<void> => new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const go = () => {
      waiting.delete(go);
      signal?.removeEventListener('abort', giveUp);
      inside += 1;
      resolve();
    };
    const giveUp = () => {
      waiting.delete(go);
      reject(signal?.reason);
    };
    if (inside < atOnceMax) return go();
    signal?.addEventListener('abort', giveUp, { once: true });
    waiting.add(go);
  });
  return {
    async pass(work, signal) {
      await enter(signal);
      try {
        return await work();
      } finally {
        leave();
      }
    },
  };
}
