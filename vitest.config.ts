// One project per kind of need: `fast` is pure and runs all day; `services` needs the programs of PostgreSQL and Redis, `host` and `clients`
// root and real guests.
import { defineConfig } from 'vitest/config';

const kinds = {
  fast: ['unit', 'contract', 'actors', 'api', 'tidy'],
  services: ['services', 'simulation'],
  host: ['host'],
  clients: ['clients'],
};

export default defineConfig({
  test: {
    // As many as there are cores, not one less: much of what they do is waiting for servers.
    maxWorkers: '100%',
    projects: Object.entries(kinds).map(([name, folders]) => ({
      test: {
        name,
        include: folders.map((folder) => `spec/${folder}/**/*.spec.ts`),
        testTimeout: name === 'fast' ? 20_000 : name === 'services' ? 60_000 : 240_000,
        hookTimeout: name === 'fast' ? 60_000 : 240_000,
        fileParallelism: name === 'fast' || name === 'services',
      },
    })),
  },
});
