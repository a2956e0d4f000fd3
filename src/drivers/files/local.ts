// Files of this machine.
import { mkdir, readdir, rename, rm, stat, statfs, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import type { FileEntry, FilesDriver } from './driver.ts';

export function createLocalFiles({ clock }: { clock: Clock }): FilesDriver {
  return {
    info: { name: 'local' },
    ensureDirectory: (path) => attempt(`make the folder ${path}`, async () => void (await mkdir(path, { recursive: true, mode: 0o711 }))),
    removeTree: (path) => attempt(`remove ${path}`, () => rm(path, { recursive: true, force: true })),
    list: (directory) => attempt(`list ${directory}`, () => entriesOf(directory)),
    exists: async (path) => (await missingAsUndefined(() => stat(path))) !== undefined,
    touch: (path) => attempt(`touch ${path}`, async () => void (await missingAsUndefined(() => utimes(path, clock.date(), clock.date())))),
    rename: (from, to) => attempt(`rename ${from}`, async () => {
      if ((await missingAsUndefined(() => stat(from))) === undefined && (await missingAsUndefined(() => stat(to))) !== undefined) return;
      await rename(from, to);
      await syncFolder(dirname(to));
    }),
    freeBytes: (path) => attempt(`measure ${path}`, async () => {
      const { bavail, bsize } = await statfs(path);
      return bavail * bsize;
    }),
  };
}

async function entriesOf(directory: string): Promise<FileEntry[]> {
  const names = (await missingAsUndefined(() => readdir(directory))) ?? [];
  const entries = await Promise.all(names.map(async (name) => {
    const found = await missingAsUndefined(() => stat(join(directory, name)));
    return found === undefined ? [] : [{ name, sizeBytes: found.blocks * 512, usedAt: found.mtime }];
  }));
  return entries.flat();
}

async function missingAsUndefined<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function attempt<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new DriverError('failed', `could not ${what}: ${messageOf(cause)}`, { cause });
  }
}
