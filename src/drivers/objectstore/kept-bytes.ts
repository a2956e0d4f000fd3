// What small blobs were read last, in memory: opening, reading and closing a file are trips to another thread, which cost more than all else of a small
// GET. A blob never changes, and whether it is still an object's the database says before, so what is kept can be no other than what is on the disk.
import { LRUCache } from 'lru-cache';

/** Of this process, of its content alone. */
const keptBytesMax = 4 * 1024 * 1024;
/** What is larger is seldom small files of many. */
const eachBytesMax = 16 * 1024;
/** What an entry takes beside its bytes. */
const entryBytes = 256;

interface Range {
  readonly first: number;
  readonly last: number;
}

/** Of each blob the range that was read last. */
export class KeptBytes {
  readonly #kept = new LRUCache<string, Range & { readonly bytes: Buffer }>({
    maxSize: keptBytesMax, sizeCalculation: ({ bytes }) => bytes.length + entryBytes,
  });

  find(blobId: string, { first, last }: Range): Buffer | undefined {
    const kept = this.#kept.get(blobId);
    return kept !== undefined && kept.first === first && kept.last === last ? kept.bytes : undefined;
  }

  keep(blobId: string, { first, last }: Range, bytes: Buffer): void {
    if (bytes.length <= eachBytesMax) this.#kept.set(blobId, { first, last, bytes });
  }

  forget(blobId: string): void {
    this.#kept.delete(blobId);
  }
}
