// The second half of the seeds of simulation.spec.ts, for another core.
import { describe } from 'vitest';
import { holdsSeeds, simulatorOfFile, wantedSeed } from './seeds.ts';

describe.runIf(wantedSeed === undefined)('a cloud whose parts fail in every way', () => {
  holdsSeeds(simulatorOfFile(), 101, 200);
});
