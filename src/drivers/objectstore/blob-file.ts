// The file of a blob while it is written. What is small is gathered whole before there is a file, and is then written and on the disk in one call;
// what is larger is written in batches, the next of which is gathered and hashed meanwhile. Each call of the system is a trip to another thread,
// which costs more than what the call does with a few KiB.
import { createHash, type Cipher } from 'node:crypto';
import { closeSync, constants, fdatasync, unlink, write, writev } from 'node:fs';
import { DriverError } from '../../lib/errors.ts';
import { called, counted, opened } from '../../lib/file-calls.ts';
import type { FolderSync } from '../../lib/folder-sync.ts';
import { attempt } from './attempt.ts';

/** Bytes gathered before one write: few system calls, flat memory. */
const batchBytes = 1024 * 1024;

const { O_CREAT, O_DSYNC, O_EXCL, O_WRONLY } = constants;

export interface BlobFileOptions {
  /** Where there is nothing yet. */
  readonly path: string;
  readonly folder: FolderSync;
  readonly sizeBytesMax: number;
  /** Undefined: it is written as it is. */
  readonly encryption?: { readonly head: Buffer; readonly cipher: Cipher } | undefined;
}

/** `append` as often as needed, then `finish`; after a failure of either `abandon`. */
export class BlobFile {
  /** Of the content, as `md5` is. */
  sizeBytes = 0;
  readonly #options: BlobFileOptions;
  readonly #hash = createHash('md5');
  #fd: number | undefined;
  #batch: Buffer[] = [];
  #batchSize = 0;
  #writing: Promise<void> = Promise.resolve();
  #named: Promise<void> = Promise.resolve();

  constructor(options: BlobFileOptions) {
    this.#options = options;
    if (options.encryption !== undefined) this.#add(options.encryption.head);
  }

  async append(content: AsyncIterable<Buffer>): Promise<void> {
    const { sizeBytesMax, encryption } = this.#options;
    for await (const chunk of content) {
      this.sizeBytes += chunk.length;
      if (this.sizeBytes > sizeBytesMax) throw new DriverError('failed', `the content is longer than ${sizeBytesMax} bytes`);
      if (this.#batchSize > 0 && this.#batchSize + chunk.length > batchBytes) await this.#start();
      this.#hash.update(chunk);
      this.#add(encryption === undefined ? chunk : encryption.cipher.update(chunk));
    }
  }

  #add(bytes: Buffer): void {
    this.#batch.push(bytes);
    this.#batchSize += bytes.length;
  }

  /** Content and name are on the disk. */
  async finish(): Promise<void> {
    await this.#writing;
    if (this.#fd === undefined && this.#batchSize > 0) {
      const fd = await this.#open(O_DSYNC);
      this.#writing = attempt('write a blob', () => writeAll(fd, this.#batch));
    } else {
      const fd = this.#fd ?? (await this.#open());
      this.#writing = attempt('write a blob', async () => {
        if (this.#batchSize > 0) await writeAll(fd, this.#batch);
        await called((done) => fdatasync(fd, done));
      });
    }
    const [written, named] = await Promise.allSettled([this.#writing, this.#named]);
    if (written.status === 'rejected') throw written.reason;
    if (named.status === 'rejected') throw named.reason;
    this.#close();
  }

  /** Nothing is left, or what a crash of this moment leaves: a file that nothing names. */
  async abandon(): Promise<void> {
    // No call may outlive the file that it is about.
    await Promise.allSettled([this.#writing, this.#named]);
    if (this.#fd === undefined) return;
    this.#close();
    await called((done) => unlink(this.#options.path, done)).catch(() => undefined); // left to the sweeper
  }

  /** Once. */
  md5(): string {
    return this.#hash.digest('hex');
  }

  async #start(): Promise<void> {
    await this.#writing;
    const fd = this.#fd ?? (await this.#open());
    const batch = this.#batch;
    this.#batch = [];
    this.#batchSize = 0;
    this.#writing = attempt('write a blob', () => writeAll(fd, batch));
    this.#writing.catch(() => undefined); // awaited by the next #start, or the end
  }

  /** From then on the name is made durable: it need not wait for the content. */
  async #open(flags = 0): Promise<number> {
    const { path, folder } = this.#options;
    const fd = await attempt(`create ${path}`, () => opened(path, O_CREAT | O_EXCL | O_WRONLY | flags, 0o600));
    this.#fd = fd;
    this.#named = attempt(`sync the folder of ${path}`, () => folder.sync());
    this.#named.catch(() => undefined); // awaited at the end
    return fd;
  }

  /** Does not wait: everything is written. */
  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }
}

/** A write may be short, for example when the disk fills: the rest is tried again, and then fails with the reason. */
async function writeAll(fd: number, batch: readonly Buffer[]): Promise<void> {
  const total = batch.reduce((sum, chunk) => sum + chunk.length, 0);
  const count = await counted((done) => writev(fd, batch, done));
  if (count === total) return;
  const rest = Buffer.concat(batch).subarray(count);
  for (let at = 0; at < rest.length; ) at += await counted((done) => write(fd, rest, at, rest.length - at, null, done));
}
