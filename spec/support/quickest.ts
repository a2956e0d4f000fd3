// How long a work takes where the machine has other work as well.
import { readFileSync } from 'node:fs';

/** For how long this thread could have run and another had its core; 0 where the kernel does not count it. */
function waitedMs(): number {
  try {
    return Number(readFileSync('/proc/self/schedstat', 'utf8').split(' ')[1]) / 1_000_000;
  } catch {
    return 0;
  }
}

/** In milliseconds: the least of three tries, and without the time in which others had the core. */
export async function quickestMs(work: (round: number) => Promise<unknown>): Promise<number> {
  const taken: number[] = [];
  for (let round = 0; round < 3; round += 1) {
    const [startedAt, waitedBefore] = [performance.now(), waitedMs()];
    await work(round);
    taken.push(performance.now() - startedAt - (waitedMs() - waitedBefore));
  }
  return Math.min(...taken);
}
