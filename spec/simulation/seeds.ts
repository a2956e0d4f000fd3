// What a spec file of many seeds consists of. There are two, since a core does one file at a time, and this is nothing but computing.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { report, Simulator } from './simulate.ts';

const groupSize = 20;

/** One seed to see again, and no other. */
export const wantedSeed = process.env['NOVACT_SIM_SEED'];

/** The simulator of a spec file. */
export function simulatorOfFile(): () => Simulator {
  let simulator: Simulator;
  beforeAll(async () => {
    simulator = await Simulator.open();
  });
  afterAll(() => simulator.close());
  return () => simulator;
}

/** A test for each group of the seeds from `first` to `last`. */
export function holdsSeeds(simulator: () => Simulator, first: number, last: number): void {
  const seeds = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  const groups = Array.from({ length: Math.ceil(seeds.length / groupSize) }, (_, index) => seeds.slice(index * groupSize, (index + 1) * groupSize));
  it.each(groups.map((group) => ({ first: group[0], last: group.at(-1), group })))(
    'loses, doubles and leaves stuck nothing, from seed $first to $last', { timeout: 300_000 }, async ({ group }) => {
      for (const seed of group) {
        const outcome = await simulator().simulate(seed);
        if (outcome.violations.length > 0) expect.fail(report(outcome));
      }
    },
  );
}
