// Disks as entries of a memory: for simulated hosts, whose files are kept in memory too (drivers/files/memory.ts).
import type { DiskDriver } from './driver.ts';

const sizeBytes = 1_000;
const writtenBytes = 100;

/** `put` makes a file of that many bytes. */
export function createMemoryDisk(put: (path: string, bytes: number) => void): DiskDriver {
  return {
    info: { name: 'memory' },
    inspect: async () => ({ format: 'raw', sizeBytes, virtualSizeBytes: sizeBytes }),
    identify: async () => ({ format: 'raw', virtualSizeBytes: sizeBytes, sizeBytes }),
    convert: async ({ to }) => put(to, sizeBytes),
    ensureOverlay: async ({ path }) => put(path, writtenBytes),
    ensureBase: async ({ path }) => put(path, writtenBytes),
    chain: async (path) => [path],
    ensureTree: async ({ directory }) => put(directory, writtenBytes),
    copyOverlay: async ({ copy }) => put(copy, writtenBytes),
    ensureFlat: async ({ flat }) => put(flat, sizeBytes),
    packTree: async ({ image }) => put(image, sizeBytes),
    ensureDrive: async ({ path }) => put(path, writtenBytes),
  };
}
