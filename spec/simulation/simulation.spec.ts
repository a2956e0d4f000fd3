// The whole cloud under faults, 200 times and each time otherwise. `NOVACT_SIM_SEED` names one seed to see again.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { report, Simulator } from './simulate.ts';

let simulator: Simulator;

beforeAll(async () => {
  simulator = await Simulator.open();
});

afterAll(() => simulator.close());

const [seedsOfRun, groupSize] = [200, 20];
const wanted = process.env['NOVACT_SIM_SEED'];
const seeds = wanted === undefined ? Array.from({ length: seedsOfRun }, (_, index) => index + 1) : [Number(wanted)];
const groups = Array.from({ length: Math.ceil(seeds.length / groupSize) }, (_, index) => seeds.slice(index * groupSize, (index + 1) * groupSize));

describe('a cloud whose parts fail in every way', () => {
  it.each(groups.map((group) => ({ first: group[0], last: group.at(-1), group })))(
    'loses, doubles and leaves stuck nothing, from seed $first to $last', { timeout: 300_000 }, async ({ group }) => {
      for (const seed of group) {
        const outcome = await simulator.simulate(seed);
        if (outcome.violations.length > 0) expect.fail(report(outcome));
      }
    },
  );

  it('goes the same way for the same seed, whatever was simulated before', { timeout: 60_000 }, async () => {
    const first = await simulator.simulate(4);
    await simulator.simulate(5);
    const again = await simulator.simulate(4);
    expect(again.trace).toEqual(first.trace);
    expect(again.statements).toBe(first.statements);
    expect((await simulator.simulate(6)).hash).not.toBe(first.hash);
  });
});
