// Folders in memory, for simulated hosts: remembers names, keeps no content.
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { FilesDriver } from './driver.ts';

export interface MemoryFiles extends FilesDriver {
  /** Every path there is, sorted: what specs compare. */
  paths(): readonly string[];
  put(path: string, sizeBytes: number): void;
}

export function createMemoryFiles({ clock }: { clock: Clock }): MemoryFiles {
  const files = new Map<string, { sizeBytes: number; usedAt: Date }>();
  const under = (path: string) => [...files.keys()].filter((name) => name === path || name.startsWith(`${path}/`));
  return {
    info: { name: 'memory' },
    async ensureDirectory(path) {
      if (!files.has(path)) files.set(path, { sizeBytes: 0, usedAt: clock.date() });
    },
    async removeTree(path) {
      for (const name of under(path)) files.delete(name);
    },
    async list(directory) {
      const names = new Set(under(directory).filter((name) => name !== directory).map((name) => name.slice(directory.length + 1).split('/')[0] ?? ''));
      return [...names].map((name) => ({ name, sizeBytes: 0, usedAt: clock.date(), ...files.get(`${directory}/${name}`) }));
    },
    exists: async (path) => under(path).length > 0,
    async touch(path) {
      const file = files.get(path);
      if (file !== undefined) file.usedAt = clock.date();
    },
    async rename(from, to) {
      if (under(from).length === 0 && under(to).length > 0) return;
      if (under(from).length === 0) throw new DriverError('failed', `could not rename ${from}: it is not there`);
      for (const name of under(from)) {
        files.set(`${to}${name.slice(from.length)}`, files.get(name) ?? { sizeBytes: 0, usedAt: clock.date() });
        files.delete(name);
      }
    },
    freeBytes: async () => 2 ** 50,
    paths: () => [...files.keys()].toSorted(),
    put: (path, sizeBytes) => void files.set(path, { sizeBytes, usedAt: clock.date() }),
  };
}
