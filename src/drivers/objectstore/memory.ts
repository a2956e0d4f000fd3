// Blobs in this process, for fast specs and trials: the same contract, nothing kept. Since nothing is at rest, what is encrypted only says that it is.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import { blobIdOf, isEncrypted, type BlobWritten, type ObjectStoreDriver, type Pieces, type WriteOptions } from './driver.ts';

interface MemoryBlob {
  readonly content: Buffer;
  readonly changedAtMs: number;
}

export class MemoryStore implements ObjectStoreDriver {
  readonly info = { name: 'memory' };
  readonly #blobs = new Map<string, MemoryBlob>();
  readonly #clock: Clock;

  constructor(options: { clock: Clock }) {
    this.#clock = options.clock;
  }

  async write(content: AsyncIterable<Buffer>, options: WriteOptions = {}): Promise<BlobWritten> {
    const chunks: Buffer[] = [];
    let sizeBytes = 0;
    for await (const chunk of content as AsyncIterable<Buffer>) {
      sizeBytes += chunk.length;
      if (sizeBytes > (options.sizeBytesMax ?? Number.MAX_SAFE_INTEGER)) {
        throw new DriverError('failed', `the content is longer than ${options.sizeBytesMax} bytes`);
      }
      chunks.push(chunk);
    }
    return this.#keep(Buffer.concat(chunks), options.isEncrypted);
  }

  async concat(blobIds: readonly string[], options: Pick<WriteOptions, 'isEncrypted'> = {}): Promise<BlobWritten> {
    return this.#keep(Buffer.concat(blobIds.map((blobId) => this.#blob(blobId).content)), options.isEncrypted);
  }

  async build(_name: string, fill: (path: string) => Promise<void>): Promise<Pick<BlobWritten, 'blobId' | 'sizeBytes'>> {
    const folder = await mkdtemp(join(tmpdir(), 'novact-built-'));
    try {
      await fill(join(folder, 'blob'));
      return this.#keep(await readFile(join(folder, 'blob')));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  async abandon(): Promise<void> {}

  async read(blobId: string, range?: { first: number; last: number }): Promise<Readable> {
    const { content } = this.#blob(blobId);
    const part = range === undefined ? content : content.subarray(range.first, range.last + 1);
    return Readable.from(part.length === 0 ? [] : [part], { objectMode: false });
  }

  async pieces(blobId: string, range: { first: number; last: number }): Promise<Pieces> {
    const bytes = await this.bytes(blobId, range);
    return { copyTo: (write) => write(bytes) };
  }

  async bytes(blobId: string, range: { first: number; last: number }): Promise<Buffer> {
    const { content } = this.#blob(blobId);
    if (content.length <= range.last) throw new DriverError('failed', `blob ${blobId} ends before byte ${range.last}`);
    return content.subarray(range.first, range.last + 1);
  }

  async size(blobId: string): Promise<number> {
    return this.#blob(blobId).content.length;
  }

  async link(blobId: string): Promise<string> {
    return this.#keep(this.#blob(blobId).content, isEncrypted(blobId)).blobId;
  }

  path(blobId: string): string {
    throw new DriverError('unsupported', `blob ${blobId} is in memory and has no path`);
  }

  async remove(blobId: string): Promise<void> {
    this.#blobs.delete(blobId);
  }

  async *list(options: { changedBefore: Date }): AsyncIterable<string> {
    for (const [blobId, blob] of this.#blobs) if (blob.changedAtMs < options.changedBefore.getTime()) yield blobId;
  }

  async sweep(): Promise<number> {
    return 0;
  }

  #blob(blobId: string): MemoryBlob {
    const blob = this.#blobs.get(blobId);
    if (blob === undefined) throw new DriverError('notFound', `there is no blob ${blobId}`);
    return blob;
  }

  #keep(content: Buffer, encrypted = false): BlobWritten {
    const blobId = blobIdOf(randomBytes(16).toString('hex'), encrypted);
    this.#blobs.set(blobId, { content, changedAtMs: this.#clock.now() });
    return { blobId, sizeBytes: content.length, md5: createHash('md5').update(content).digest('hex') };
  }
}
