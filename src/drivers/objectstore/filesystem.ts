// Blobs as files of a folder: `blobs/ab/<id>`, written under `tmp/` first. A blob appears by one rename, after its bytes are on the
// disk, and never changes; so a power cut leaves either the whole blob or a temporary file for the sweeper.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, opendir, readdir, rename, stat, unlink, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { openPieces } from '../../lib/file-pieces.ts';
import { readFileAt } from '../../lib/read-file-at.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import type { BlobWritten, ObjectStoreDriver, Pieces } from './driver.ts';

/** Bytes gathered before one write: few system calls, flat memory. */
const batchBytes = 1024 * 1024;

/** Opens (and makes) the folder. The two folders inside must be on one file system, since blobs are renamed and linked. */
export async function openFilesystemStore(options: { folder: string }): Promise<ObjectStoreDriver> {
  const folders = { blobs: join(options.folder, 'blobs'), temporary: join(options.folder, 'tmp') };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (let byte = 0; byte < 256; byte += 1) await mkdir(join(folders.blobs, byte.toString(16).padStart(2, '0')), { recursive: true, mode: 0o700 });
  await syncFolder(folders.blobs);
  await syncFolder(options.folder);
  return new FilesystemStore(folders);
}

class FilesystemStore implements ObjectStoreDriver {
  readonly info = { name: 'filesystem' };
  readonly #folders: { readonly blobs: string; readonly temporary: string };

  constructor(folders: { blobs: string; temporary: string }) {
    this.#folders = folders;
  }

  async write(content: Readable, options: { sizeBytesMax?: number } = {}): Promise<BlobWritten> {
    return this.#create((target) => target.append(content), options.sizeBytesMax);
  }

  async concat(blobIds: readonly string[]): Promise<BlobWritten> {
    return this.#create(async (target) => {
      for (const blobId of blobIds) await target.append(await this.read(blobId));
    });
  }

  async build(name: string, fill: (path: string) => Promise<void>): Promise<Pick<BlobWritten, 'blobId' | 'sizeBytes'>> {
    await this.abandon(name);
    const blobId = newBlobId();
    // Of its own for each try: one that was given up on, but still runs, cannot write into what a later one makes.
    const temporary = join(this.#folders.temporary, `${name}.${blobId}`);
    try {
      await fill(temporary);
      return await attempt(`keep ${temporary}`, () => this.#adopt(temporary, blobId));
    } catch (error) {
      await unlink(temporary).catch(() => undefined); // never made, or left to the sweeper
      throw error;
    }
  }

  async #adopt(temporary: string, blobId: string): Promise<Pick<BlobWritten, 'blobId' | 'sizeBytes'>> {
    const handle = await open(temporary, 'r');
    try {
      await handle.chmod(0o600);
      await handle.sync();
      const { size } = await handle.stat();
      await rename(temporary, this.path(blobId));
      await syncFolder(this.#shelf(blobId));
      return { blobId, sizeBytes: size };
    } finally {
      await handle.close();
    }
  }

  async abandon(name: string): Promise<void> {
    if (!/^[a-z0-9-]{1,64}$/.test(name)) throw new DriverError('notFound', `${JSON.stringify(name)} is no name to build under`);
    for (const file of await readdir(this.#folders.temporary)) {
      if (file.startsWith(`${name}.`)) await unlessMissing(attempt(`remove ${file}`, () => unlink(join(this.#folders.temporary, file))));
    }
  }

  /** Opened before it is returned: a blob removed a moment later can still be read to its end. */
  async read(blobId: string, range?: { first: number; last: number }): Promise<Readable> {
    const handle = await attempt(`read blob ${blobId}`, () => open(this.path(blobId), 'r'));
    const limits = range === undefined ? {} : { start: range.first, end: range.last };
    return createReadStream('', { fd: handle, highWaterMark: 256 * 1024, ...limits });
  }

  async pieces(blobId: string, range: { first: number; last: number }): Promise<Pieces> {
    return attempt(`read blob ${blobId}`, () => openPieces(this.path(blobId), range));
  }

  async bytes(blobId: string, range: { first: number; last: number }): Promise<Buffer> {
    const bytes = Buffer.allocUnsafeSlow(range.last + 1 - range.first);
    await attempt(`read blob ${blobId}`, () => readFileAt(this.path(blobId), bytes, range.first));
    return bytes;
  }

  async size(blobId: string): Promise<number> {
    return (await attempt(`find blob ${blobId}`, () => stat(this.path(blobId)))).size;
  }

  async link(blobId: string): Promise<string> {
    const copyId = newBlobId();
    await attempt(`link blob ${blobId}`, async () => {
      await link(this.path(blobId), this.path(copyId));
      await syncFolder(this.#shelf(copyId));
    });
    return copyId;
  }

  path(blobId: string): string {
    if (!isBlobId(blobId)) throw new DriverError('notFound', `no blob has the id ${JSON.stringify(blobId)}`);
    return join(this.#shelf(blobId), blobId);
  }

  async remove(blobId: string): Promise<void> {
    await unlessMissing(attempt(`remove blob ${blobId}`, () => unlink(this.path(blobId))));
  }

  async *list(options: { changedBefore: Date }): AsyncIterable<string> {
    for (const shelf of await readdir(this.#folders.blobs)) {
      for await (const entry of await opendir(join(this.#folders.blobs, shelf))) {
        if (!isBlobId(entry.name)) continue;
        // The change time, not the modification time: a link to an old blob is new.
        const found = await statIfThere(join(this.#folders.blobs, shelf, entry.name));
        if (found !== undefined && found.ctimeMs < options.changedBefore.getTime()) yield entry.name;
      }
    }
  }

  async sweep(options: { changedBefore: Date }): Promise<number> {
    let removed = 0;
    for (const name of await readdir(this.#folders.temporary)) {
      const file = join(this.#folders.temporary, name);
      const found = await statIfThere(file);
      if (found === undefined || found.mtimeMs >= options.changedBefore.getTime()) continue;
      await unlessMissing(attempt(`remove ${file}`, () => unlink(file)));
      removed += 1;
    }
    return removed;
  }

  #shelf(blobId: string): string {
    return join(this.#folders.blobs, blobId.slice(0, 2));
  }

  /** Temporary file → fsync → rename → fsync of the folder; whatever fails, the temporary file goes. */
  async #create(fill: (target: BlobFile) => Promise<void>, sizeBytesMax = Number.MAX_SAFE_INTEGER): Promise<BlobWritten> {
    const blobId = newBlobId();
    const temporary = join(this.#folders.temporary, blobId);
    const handle = await attempt(`create ${temporary}`, () => open(temporary, 'wx', 0o600));
    try {
      const target = new BlobFile(handle, sizeBytesMax);
      try {
        await fill(target);
        await target.flush();
        await attempt(`sync ${temporary}`, () => handle.sync());
      } finally {
        await handle.close();
      }
      await attempt(`rename ${temporary}`, () => rename(temporary, this.path(blobId)));
      await attempt(`sync the folder of blob ${blobId}`, () => syncFolder(this.#shelf(blobId)));
      return { blobId, sizeBytes: target.sizeBytes, md5: target.md5() };
    } catch (error) {
      await unlink(temporary).catch(() => undefined); // renamed already, or left to the sweeper
      throw error;
    }
  }
}

/** Appends in large writes: the next batch is gathered and hashed while the last one is on its way. */
class BlobFile {
  sizeBytes = 0;
  readonly #handle: FileHandle;
  readonly #sizeBytesMax: number;
  readonly #hash = createHash('md5');
  #batch: Buffer[] = [];
  #batchSize = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(handle: FileHandle, sizeBytesMax: number) {
    this.#handle = handle;
    this.#sizeBytesMax = sizeBytesMax;
  }

  async append(content: Readable): Promise<void> {
    try {
      for await (const chunk of content as AsyncIterable<Buffer>) {
        this.sizeBytes += chunk.length;
        if (this.sizeBytes > this.#sizeBytesMax) throw new DriverError('failed', `the content is longer than ${this.#sizeBytesMax} bytes`);
        this.#hash.update(chunk);
        this.#batch.push(chunk);
        this.#batchSize += chunk.length;
        if (this.#batchSize >= batchBytes) await this.#start();
      }
    } finally {
      await this.#writing.catch(() => undefined); // reported by flush or #start; here only: no write may outlive the handle
    }
  }

  async flush(): Promise<void> {
    await this.#start();
    await this.#writing;
  }

  md5(): string {
    return this.#hash.digest('hex');
  }

  async #start(): Promise<void> {
    await this.#writing;
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    this.#batch = [];
    this.#batchSize = 0;
    this.#writing = attempt('write a blob', () => writeAll(this.#handle, batch));
    this.#writing.catch(() => undefined); // awaited by the next #start
  }
}

/** A write may be short, for example when the disk fills: the rest is tried again, and then fails with the reason. */
async function writeAll(handle: FileHandle, batch: Buffer[]): Promise<void> {
  const total = batch.reduce((sum, chunk) => sum + chunk.length, 0);
  const { bytesWritten } = await handle.writev(batch);
  if (bytesWritten === total) return;
  const rest = Buffer.concat(batch).subarray(bytesWritten);
  for (let done = 0; done < rest.length; ) done += (await handle.write(rest, done)).bytesWritten;
}

const newBlobId = (): string => randomBytes(16).toString('hex');

const isBlobId = (name: string): boolean => /^[0-9a-f]{32}$/.test(name);

async function statIfThere(file: string): Promise<{ ctimeMs: number; mtimeMs: number } | undefined> {
  try {
    return await stat(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

async function attempt<T>(what: string, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (cause) {
    const code = codeOf(cause);
    if (code === 'ENOENT') throw new DriverError('notFound', `${what}: there is no such blob`, { cause });
    if (code === 'ENOSPC' || code === 'EDQUOT') throw new DriverError('failed', `${what}: the disk is full`, { cause });
    if (cause instanceof DriverError) throw cause;
    throw new DriverError('failed', `${what}: ${messageOf(cause)}`, { cause });
  }
}

async function unlessMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof DriverError && error.kind === 'notFound')) throw error;
  }
}
