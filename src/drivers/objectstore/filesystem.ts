// Blobs as files of a folder: `blobs/ab/<id>`, each with a name that nothing knows before its bytes and its name are on the disk, and that never
// changes afterwards; so a power cut leaves either the whole blob or a file that nothing names, for the sweeper. What tools make is made under `tmp/`.
import { randomBytes, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, opendir, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { DriverError } from '../../lib/errors.ts';
import { openPieces } from '../../lib/file-pieces.ts';
import { FolderSync } from '../../lib/folder-sync.ts';
import { readFileAt } from '../../lib/read-file-at.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import { attempt, codeOf } from './attempt.ts';
import { BlobFile } from './blob-file.ts';
import type { BlobWritten, ObjectStoreDriver, Pieces } from './driver.ts';

const shelves = 256;
/** New blobs that come to one shelf before the next has its turn: those that are put at the same time wait for their folder together. */
const shelfTurn = 64;

/** Opens (and makes) the folder. The two folders inside must be on one file system, since blobs are renamed and linked. */
export async function openFilesystemStore(options: { folder: string }): Promise<ObjectStoreDriver> {
  const folders = { blobs: join(options.folder, 'blobs'), temporary: join(options.folder, 'tmp') };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (let shelf = 0; shelf < shelves; shelf += 1) await mkdir(join(folders.blobs, shelfName(shelf)), { recursive: true, mode: 0o700 });
  await syncFolder(folders.blobs);
  await syncFolder(options.folder);
  return new FilesystemStore(folders);
}

class FilesystemStore implements ObjectStoreDriver {
  readonly info = { name: 'filesystem' };
  readonly #folders: { readonly blobs: string; readonly temporary: string };
  readonly #shelfSyncs = new Map<string, FolderSync>();
  /** Many processes may share the folder: each begins somewhere else. */
  #blobs = randomInt(shelves) * shelfTurn;

  constructor(folders: { blobs: string; temporary: string }) {
    this.#folders = folders;
  }

  async write(content: AsyncIterable<Buffer>, options: { sizeBytesMax?: number } = {}): Promise<BlobWritten> {
    return this.#create((target) => target.append(content), options.sizeBytesMax);
  }

  async concat(blobIds: readonly string[]): Promise<BlobWritten> {
    return this.#create(async (target) => {
      for (const blobId of blobIds) await target.append(await this.read(blobId));
    });
  }

  async build(name: string, fill: (path: string) => Promise<void>): Promise<Pick<BlobWritten, 'blobId' | 'sizeBytes'>> {
    await this.abandon(name);
    const blobId = this.#newBlobId();
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
      await this.#synced(blobId);
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
    const copyId = this.#newBlobId();
    await attempt(`link blob ${blobId}`, async () => {
      await link(this.path(blobId), this.path(copyId));
      await this.#synced(copyId);
    });
    return copyId;
  }

  path(blobId: string): string {
    if (!isBlobId(blobId)) throw new DriverError('notFound', `no blob has the id ${JSON.stringify(blobId)}`);
    return `${this.#shelf(blobId)}/${blobId}`;
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
    return `${this.#folders.blobs}/${blobId.slice(0, 2)}`;
  }

  /** A file under its own name → bytes and name on the disk; whatever fails, the file goes. */
  async #create(fill: (file: BlobFile) => Promise<void>, sizeBytesMax = Number.MAX_SAFE_INTEGER): Promise<BlobWritten> {
    const blobId = this.#newBlobId();
    const file = new BlobFile({ path: this.path(blobId), folder: this.#shelfSync(blobId), sizeBytesMax });
    try {
      await fill(file);
      await file.finish();
      return { blobId, sizeBytes: file.sizeBytes, md5: file.md5() };
    } catch (error) {
      await file.abandon();
      throw error;
    }
  }

  #newBlobId(): string {
    const shelf = Math.floor(this.#blobs / shelfTurn) % shelves;
    this.#blobs += 1;
    return shelfName(shelf) + randomBytes(15).toString('hex');
  }

  #synced(blobId: string): Promise<void> {
    return this.#shelfSync(blobId).sync();
  }

  #shelfSync(blobId: string): FolderSync {
    const shelf = this.#shelf(blobId);
    const known = this.#shelfSyncs.get(shelf) ?? new FolderSync(shelf);
    this.#shelfSyncs.set(shelf, known);
    return known;
  }
}

const shelfName = (shelf: number): string => shelf.toString(16).padStart(2, '0');

const isBlobId = (name: string): boolean => /^[0-9a-f]{32}$/.test(name);

async function statIfThere(file: string): Promise<{ ctimeMs: number; mtimeMs: number } | undefined> {
  try {
    return await stat(file);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function unlessMissing(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof DriverError && error.kind === 'notFound')) throw error;
  }
}
