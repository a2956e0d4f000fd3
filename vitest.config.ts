// One project per kind of need: `fast` is pure and runs all day; `services` needs the programs of PostgreSQL and Redis, `host` and `clients`
// root and real guests, `lab` also the nested guest of images/lab, in which everything takes ten times as long.
import { defineConfig } from 'vitest/config';
import { SlowestFirst } from './spec/support/slowest-first.ts';

const kinds = {
  // In one process for each core, not for each file: reading all of novact anew takes as long as its specs. They leave nothing behind them.
  fast: {
    folders: ['unit', 'contract', 'actors', 'api', 'tidy'], testTimeout: 60_000, hookTimeout: 120_000, fileParallelism: true, isolate: false,
    globalSetup: 'spec/support/pglite.ts',
  },
  services: { folders: ['services', 'simulation'], testTimeout: 180_000, hookTimeout: 240_000, fileParallelism: true },
  host: { folders: ['host'], testTimeout: 240_000, hookTimeout: 240_000, fileParallelism: false },
  clients: { folders: ['clients'], testTimeout: 240_000, hookTimeout: 240_000, fileParallelism: false },
  lab: { folders: ['lab'], testTimeout: 600_000, hookTimeout: 600_000, fileParallelism: false },
};

export default defineConfig({
  test: {
    // As many as there are cores, not one less: much of what they do is waiting for servers.
    maxWorkers: '100%',
    sequence: { sequencer: SlowestFirst },
    projects: Object.entries(kinds).map(([name, { folders, ...settings }]) => ({
      // Limits of what fails: one second, as vitest has it, is not enough where all cores are busy.
      test: { name, expect: { poll: { timeout: 30_000 } }, include: folders.map((folder) => `spec/${folder}/**/*.spec.ts`), ...settings },
    })),
  },
});
