// Where the bytes of objects are kept. Keys never come here: content has random blob ids, so that no key can become a path.
import type { Readable } from 'node:stream';

export interface BlobWritten {
  readonly blobId: string;
  readonly sizeBytes: number;
  /** Hexadecimal. */
  readonly md5: string;
}

/** The bytes of a blob that is open, for one who takes them. */
export interface Pieces {
  /** In order; a piece is good until `write` has resolved, for its memory is used again. What `write` rejects with ends it. It must be called, once. */
  copyTo(write: (piece: Buffer) => Promise<void>): Promise<void>;
}

export interface WriteOptions {
  readonly sizeBytesMax?: number;
  /** Encrypted at rest, under a key of its own. Default: as it is. */
  readonly isEncrypted?: boolean;
}

/** Errors: DriverError `notFound`, `failed` (disk full says so). What is encrypted is read like any other. */
export interface ObjectStoreDriver {
  readonly info: { readonly name: string };
  /**
   * Streams to a new file and makes it durable, and its name (fsync of file and folder). A stream that fails leaves nothing.
   * Back-pressure holds: memory is flat.
   */
  write(content: AsyncIterable<Buffer>, options?: WriteOptions): Promise<BlobWritten>;
  /**
   * One new blob of what `fill` leaves in the file at the path that it is given, which may take hours. What an earlier try under that name has left
   * is removed first, and what this one has when it fails; whoever still writes there writes into nothing.
   */
  build(name: string, fill: (path: string) => Promise<void>): Promise<Pick<BlobWritten, 'blobId' | 'sizeBytes'>>;
  /** After: nothing is left of tries to build under that name. */
  abandon(name: string): Promise<void>;
  /** `range`: first and last byte, inclusive. */
  read(blobId: string, range?: { first: number; last: number }): Promise<Readable>;
  /** The same for who sends them on: it makes no garbage. A blob removed a moment later is still there to its end. */
  pieces(blobId: string, range: { first: number; last: number }): Promise<Pieces>;
  /**
   * Those bytes at once, for what is small: a stream costs more than they do. Others may be given the same buffer: never write to it.
   * `failed`: the blob ends before.
   */
  bytes(blobId: string, range: { first: number; last: number }): Promise<Buffer>;
  size(blobId: string): Promise<number>;
  /** One new blob of several, in order (hard work is done by the kernel where it can be). The parts stay. */
  concat(blobIds: readonly string[], options?: Pick<WriteOptions, 'isEncrypted'>): Promise<BlobWritten>;
  /** A second name for the same content, encrypted or not: cheap, and independent of the first one's removal. */
  link(blobId: string): Promise<string>;
  /** The local path of the content, for tools that need a file. Never write to it. `unsupported`: there is none, as of encrypted blobs. */
  path(blobId: string): string;
  /** No error if it is gone. */
  remove(blobId: string): Promise<void>;
  /** All blobs last changed before that time, for the sweeper; temporary files included as undefined ids are removed by `sweep`. */
  list(options: { changedBefore: Date }): AsyncIterable<string>;
  /** Removes temporary files older than that time. Returns how many. */
  sweep(options: { changedBefore: Date }): Promise<number>;
}

const encryptedMark = '-e';

/** The id says it, so that whoever has the id can do nothing wrong with the content; to releases that could not decrypt it, it is no id of a blob. */
export const isEncrypted = (blobId: string): boolean => blobId.endsWith(encryptedMark);

/** For stores: the id of a blob that is encrypted, or not. */
export const blobIdOf = (name: string, encrypted: boolean): string => (encrypted ? name + encryptedMark : name);

/** A blob of its own with the same content: a second name where that is encrypted as it is wanted, or written anew. Returns its id. */
export async function copyBlob(store: ObjectStoreDriver, blobId: string, wanted: { readonly isEncrypted: boolean }): Promise<string> {
  if (isEncrypted(blobId) === wanted.isEncrypted) return store.link(blobId);
  return (await store.write(await store.read(blobId), wanted)).blobId;
}
