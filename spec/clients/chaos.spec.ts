// Two minutes of chaos with real parts in every run of the suite; `npm run chaos -- --minutes 10 --seed N` for more.
// The same seed each time, so that a failure is of the change at hand.   NOVACT_CHAOS_MINUTES, NOVACT_CHAOS_SEED
import { describe, expect, it } from 'vitest';
import { chaos, summary } from '../chaos/chaos.ts';

const minutes = Number(process.env['NOVACT_CHAOS_MINUTES'] ?? 2);
const seed = Number(process.env['NOVACT_CHAOS_SEED'] ?? 7);

describe('chaos with real parts', () => {
  it(`M3: ${minutes} minutes in which everything is killed lose, double and leave nothing (seed ${seed})`, async () => {
    const said: string[] = [];
    const { tally, deeds } = await chaos({ minutes, seed, hosts: 2, customers: 3, guests: 'lxc', onProgress: (text) => said.push(text) });
    console.log(`chaos, seed ${seed}: ${deeds.length} deeds; ${summary(tally)}`);
    if (tally.faults.length > 0) console.log([...said, ...deeds.map(({ atMs, what }) => `${atMs} ms ${what}`)].join('\n'));
    expect(tally.faults, tally.faults.join('; ')).toEqual([]);
    expect(tally.ran).toBeGreaterThan(0);
  }, minutes * 60_000 + 420_000);
});
