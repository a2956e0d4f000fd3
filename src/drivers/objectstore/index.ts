// The registry of object stores: the only place that lists them.
import type { Clock } from '../../lib/clock.ts';
import type { Sealer } from '../../lib/sealed.ts';
import type { ObjectStoreDriver } from './driver.ts';
import { openFilesystemStore } from './filesystem.ts';
import { MemoryStore } from './memory.ts';

export interface ObjectStoreOptions {
  /** Where a store that needs a folder keeps its blobs. */
  readonly folder: string;
  readonly clock: Clock;
  /** Of the keys of encrypted blobs. */
  readonly sealer: Sealer;
}

export const objectStoreDrivers: Readonly<Record<string, (options: ObjectStoreOptions) => Promise<ObjectStoreDriver>>> = {
  filesystem: openFilesystemStore,
  memory: async (options) => new MemoryStore(options),
};
