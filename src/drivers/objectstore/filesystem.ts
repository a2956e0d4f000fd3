// Blobs as files of a folder: `blobs/ab/<id>`, each with a name that nothing knows before its bytes and its name are on the disk, and that never
// changes afterwards; so a power cut leaves either the whole blob or a file that nothing names, for the sweeper. What tools make is made under `tmp/`.
import { randomInt, randomUUID, type Cipher } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { link, mkdir, open, opendir, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline, type Readable } from 'node:stream';
import { DriverError } from '../../lib/errors.ts';
import { openPieces } from '../../lib/file-pieces.ts';
import { FolderSync } from '../../lib/folder-sync.ts';
import { readFileAt } from '../../lib/read-file-at.ts';
import type { Sealer } from '../../lib/sealed.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import { attempt, codeOf } from './attempt.ts';
import { BlobFile } from './blob-file.ts';
import { blobIdOf, isEncrypted, type BlobWritten, type ObjectStoreDriver, type Pieces, type WriteOptions } from './driver.ts';
import { decryptedBytes, decryptionFrom, headBytes, startEncryption } from './encrypted-content.ts';
import { KeptBytes } from './kept-bytes.ts';

const shelves = 256;
/** New blobs that come to one shelf before the next has its turn: those that are put at the same time wait for their folder together. */
const shelfTurn = 64;

export interface FilesystemStoreOptions {
  readonly folder: string;
  /** Of the keys of encrypted blobs. */
  readonly sealer: Sealer;
}

/** Opens (and makes) the folder. The two folders inside must be on one file system, since blobs are renamed and linked. */
export async function openFilesystemStore(options: FilesystemStoreOptions): Promise<ObjectStoreDriver> {
  const folders = { blobs: join(options.folder, 'blobs'), temporary: join(options.folder, 'tmp') };
  for (const folder of Object.values(folders)) await mkdir(folder, { recursive: true, mode: 0o700 });
  for (let shelf = 0; shelf < shelves; shelf += 1) await mkdir(join(folders.blobs, shelfName(shelf)), { recursive: true, mode: 0o700 });
  await syncFolder(folders.blobs);
  await syncFolder(options.folder);
  return new FilesystemStore(folders, options.sealer);
}

class FilesystemStore implements ObjectStoreDriver {
  readonly info = { name: 'filesystem' };
  readonly #folders: { readonly blobs: string; readonly temporary: string };
  readonly #sealer: Sealer;
  readonly #shelfSyncs = new Map<string, FolderSync>();
  readonly #kept = new KeptBytes();
  /** Many processes may share the folder: each begins somewhere else. */
  #blobs = randomInt(shelves) * shelfTurn;

  constructor(folders: { blobs: string; temporary: string }, sealer: Sealer) {
    this.#folders = folders;
    this.#sealer = sealer;
  }

  async write(content: AsyncIterable<Buffer>, options: WriteOptions = {}): Promise<BlobWritten> {
    return this.#create((target) => target.append(content), options);
  }

  async concat(blobIds: readonly string[], options: Pick<WriteOptions, 'isEncrypted'> = {}): Promise<BlobWritten> {
    return this.#create(async (target) => {
      for (const blobId of blobIds) await target.append(await this.read(blobId));
    }, options);
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
      await rename(temporary, this.#file(blobId));
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
    const decryption = await this.#decryption(blobId, range?.first);
    const handle = await attempt(`read blob ${blobId}`, () => open(this.#file(blobId), 'r'));
    const before = decryption === undefined ? 0 : headBytes;
    const limits = range === undefined ? { start: before } : { start: before + range.first, end: before + range.last };
    const stored = createReadStream('', { fd: handle, highWaterMark: 256 * 1024, ...limits });
    if (decryption === undefined) return stored;
    return pipeline(stored, decryption, () => undefined); // whoever reads learns of a failure, and closes both
  }

  async pieces(blobId: string, range: { first: number; last: number }): Promise<Pieces> {
    const decryption = await this.#decryption(blobId, range.first);
    if (decryption === undefined) return attempt(`read blob ${blobId}`, () => openPieces(this.#file(blobId), range));
    const stored = await attempt(`read blob ${blobId}`, () => openPieces(this.#file(blobId), { first: headBytes + range.first, last: headBytes + range.last }));
    return { copyTo: (write) => stored.copyTo((piece) => write(decryption.update(piece))) };
  }

  async bytes(blobId: string, range: { first: number; last: number }): Promise<Buffer> {
    const kept = this.#kept.find(blobId, range);
    if (kept !== undefined) return kept;
    return attempt(`read blob ${blobId}`, async () => {
      const file = this.#file(blobId);
      if (isEncrypted(blobId)) return decryptedBytes(file, this.#sealer, range); // and what it says is not kept
      const bytes = Buffer.allocUnsafeSlow(range.last + 1 - range.first);
      await readFileAt(file, bytes, range.first);
      this.#kept.keep(blobId, range, bytes);
      return bytes;
    });
  }

  async size(blobId: string): Promise<number> {
    const { size } = await attempt(`find blob ${blobId}`, () => stat(this.#file(blobId)));
    return isEncrypted(blobId) ? size - headBytes : size;
  }

  async link(blobId: string): Promise<string> {
    const copyId = this.#newBlobId(isEncrypted(blobId));
    await attempt(`link blob ${blobId}`, async () => {
      await link(this.#file(blobId), this.#file(copyId));
      await this.#synced(copyId);
    });
    return copyId;
  }

  path(blobId: string): string {
    if (isEncrypted(blobId)) throw new DriverError('unsupported', `blob ${blobId} is encrypted: no file has its content`);
    return this.#file(blobId);
  }

  #file(blobId: string): string {
    if (!isBlobId(blobId)) throw new DriverError('notFound', `no blob has the id ${JSON.stringify(blobId)}`);
    return `${this.#shelf(blobId)}/${blobId}`;
  }

  /** Undefined: it is not encrypted. */
  async #decryption(blobId: string, first = 0): Promise<Cipher | undefined> {
    return isEncrypted(blobId) ? decryptionFrom(this.#file(blobId), this.#sealer, first) : undefined;
  }

  async remove(blobId: string): Promise<void> {
    this.#kept.forget(blobId);
    await unlessMissing(attempt(`remove blob ${blobId}`, () => unlink(this.#file(blobId))));
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
  async #create(fill: (file: BlobFile) => Promise<void>, options: WriteOptions): Promise<BlobWritten> {
    const { sizeBytesMax = Number.MAX_SAFE_INTEGER, isEncrypted: encrypted = false } = options;
    const blobId = this.#newBlobId(encrypted);
    const encryption = encrypted ? startEncryption(this.#sealer) : undefined;
    const file = new BlobFile({ path: this.#file(blobId), folder: this.#shelfSync(blobId), sizeBytesMax, encryption });
    try {
      await fill(file);
      await file.finish();
      return { blobId, sizeBytes: file.sizeBytes, md5: file.md5() };
    } catch (error) {
      await file.abandon();
      throw error;
    }
  }

  #newBlobId(encrypted = false): string {
    const shelf = Math.floor(this.#blobs / shelfTurn) % shelves;
    this.#blobs += 1;
    // Of which node draws many at once.
    return blobIdOf(shelfName(shelf) + randomUUID().replaceAll('-', '').slice(2), encrypted);
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

const isBlobId = (name: string): boolean => /^[0-9a-f]{32}(-e)?$/.test(name);

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
