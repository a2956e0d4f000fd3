// Volumes as raw files of a folder. A new file reads as zeros wherever it was not written, so nobody sees what was there before; its room is
// taken when it is made, so that a guest never meets a full disk. Snapshots share blocks where the file system can (XFS, btrfs), in one
// step; elsewhere they are copies without the holes.
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, open, readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DriverError, messageOf } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import type { CopyByGuest, StoredVolume, VolumeCapacity, VolumeOrigin } from './driver.ts';
import { checkFits, checkGrows, checkId, checkSame, checkSize, noSnapshot, noVolume, type VolumeDevice, type VolumeStore } from './store.ts';

export interface FileStoreOptions {
  readonly folder: string;
  readonly run: Run;
  /** `thin`: room is taken when a guest writes, and more can be promised than there is. */
  readonly allocation: 'thick' | 'thin';
}

/** A copy of a whole disk, or the allocation of one where the file system has to write zeros. */
const workMs = 3_600_000;
const probeMs = 30_000;
const suffix = '.raw';

export const createFileStore = (options: FileStoreOptions): VolumeStore => new FileStore(options);

class FileStore implements VolumeStore {
  readonly #options: FileStoreOptions;
  readonly #volumes: string;
  readonly #snapshots: string;
  readonly #drafts: string;
  #sharesBlocks = false;

  constructor(options: FileStoreOptions) {
    this.#options = options;
    this.#volumes = join(options.folder, 'volumes');
    this.#snapshots = join(options.folder, 'snapshots');
    this.#drafts = join(options.folder, 'drafts');
  }

  get info(): VolumeStore['info'] {
    return { name: 'file', instantSnapshots: this.#sharesBlocks };
  }

  /** What an earlier start left half done is removed. */
  async probe(): Promise<void> {
    await rm(this.#drafts, { recursive: true, force: true });
    for (const folder of [this.#options.folder, this.#volumes, this.#drafts]) await ensurePassable(folder);
    await mkdir(this.#snapshots, { recursive: true, mode: 0o700 });
    await this.#draft(async (path) => {
      await this.#allocate(path, 1024 * 1024, probeMs);
      this.#sharesBlocks = await this.#options.run('cp', ['--reflink=always', path, `${path}.clone`], { timeoutMs: probeMs }).then(() => true, () => false);
      await rm(`${path}.clone`, { force: true });
    });
  }

  async capacity(): Promise<VolumeCapacity> {
    const { blocks, bavail, bsize } = await statfs(this.#options.folder);
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize };
  }

  listVolumes(): Promise<readonly StoredVolume[]> {
    return entriesOf(this.#volumes);
  }

  listSnapshots(): Promise<readonly StoredVolume[]> {
    return entriesOf(this.#snapshots);
  }

  async device(volumeId: string): Promise<VolumeDevice> {
    const path = this.#volume(volumeId);
    const sizeBytes = await sizeOf(path);
    if (sizeBytes === undefined) throw noVolume(volumeId);
    return { type: 'file', path, sizeBytes };
  }

  async ensureVolume({ id, sizeBytes, from }: { id: string; sizeBytes: number; from?: VolumeOrigin }): Promise<void> {
    const path = this.#volume(id);
    checkSize(id, sizeBytes);
    const found = await sizeOf(path);
    if (found !== undefined) return checkSame(id, { found, wanted: sizeBytes });
    const origin = from === undefined ? undefined : 'path' in from ? from.path : await this.snapshotPath(from.snapshotId);
    await this.#draft(async (draft) => {
      if (origin !== undefined) await this.#copy(id, { origin, draft, sizeBytes });
      await this.#allocate(draft, sizeBytes, workMs);
      await this.#keep(draft, path, this.#volumes);
    });
  }

  async ensureVolumeAbsent(id: string): Promise<void> {
    await rm(this.#volume(id), { force: true });
    await syncFolder(this.#volumes);
  }

  async resize(id: string, sizeBytes: number): Promise<void> {
    const { path, sizeBytes: found } = await this.device(id);
    checkSize(id, sizeBytes);
    checkGrows(id, { found, wanted: sizeBytes });
    if (found === sizeBytes) return;
    try {
      await this.#allocate(path, sizeBytes, workMs);
      await syncFile(path);
    } catch (error) {
      await setLength(path, found);
      throw isNoRoom(error) ? this.#noRoom(messageOf(error), error) : error;
    }
  }

  async ensureSnapshot({ id, volumeId }: { id: string; volumeId: string }, byGuest?: CopyByGuest): Promise<void> {
    const path = this.#snapshot(id);
    if ((await sizeOf(path)) !== undefined) return;
    const { path: origin, sizeBytes } = await this.device(volumeId);
    await this.#draft(async (draft) => {
      await this.#copyWhole(id, { origin, draft, sizeBytes }, byGuest);
      await this.#keep(draft, path, this.#snapshots);
    });
  }

  async ensureSnapshotAbsent(id: string): Promise<void> {
    await rm(this.#snapshot(id), { force: true });
    await syncFolder(this.#snapshots);
  }

  async snapshotPath(id: string): Promise<string> {
    const path = this.#snapshot(id);
    if ((await sizeOf(path)) === undefined) throw noSnapshot(id);
    return path;
  }

  #volume(id: string): string {
    return join(this.#volumes, `${checkId(id, 'vol')}${suffix}`);
  }

  #snapshot(id: string): string {
    return join(this.#snapshots, `${checkId(id, 'snap')}${suffix}`);
  }

  /** What is made appears under its name whole or not at all. */
  async #draft(work: (path: string) => Promise<void>): Promise<void> {
    const path = join(this.#drafts, randomBytes(8).toString('hex'));
    try {
      await work(path);
    } catch (error) {
      throw isNoRoom(error) ? this.#noRoom(messageOf(error), error) : error;
    } finally {
      await rm(path, { force: true });
    }
  }

  /** A link and not a rename: it never replaces what came into being meanwhile. Whoever may read it is given it: libvirt does for a guest. */
  async #keep(draft: string, path: string, folder: string): Promise<void> {
    await chmod(draft, 0o600);
    await syncFile(draft);
    await link(draft, path).catch((cause: NodeJS.ErrnoException) => {
      if (cause.code !== 'EEXIST') throw cause;
    });
    await syncFolder(folder);
  }

  /** What rests is copied here; of a guest that has begun to run meanwhile it is copied anew. */
  async #copyWhole(id: string, files: { origin: string; draft: string; sizeBytes: number }, byGuest: CopyByGuest | undefined): Promise<void> {
    const isCopiedByGuest = async () => byGuest !== undefined && (await byGuest(files.draft));
    if (!(await isCopiedByGuest())) {
      await this.#copy(id, files);
      if (!(await isCopiedByGuest())) return;
    }
    await this.#options.run('fallocate', ['--dig-holes', '--', files.draft], { timeoutMs: workMs, env: { LC_ALL: 'C' } }).catch((error: unknown) => {
      if (!/not supported/.test(messageOf(error))) throw error;
    });
  }

  async #copy(id: string, { origin, draft, sizeBytes }: { origin: string; draft: string; sizeBytes: number }): Promise<void> {
    const originBytes = await sizeOf(origin);
    if (originBytes === undefined) throw new DriverError('notFound', `${id}: ${origin} does not exist`);
    checkFits(id, { origin: originBytes, sizeBytes });
    await this.#options.run('cp', ['--reflink=auto', '--sparse=always', '--', origin, draft], { timeoutMs: workMs, env: { LC_ALL: 'C' } });
  }

  /** Blocks that are taken but not written read as zeros. A file system tries until it is full, so what cannot fit is refused beforehand. */
  async #allocate(path: string, sizeBytes: number, timeoutMs: number): Promise<void> {
    if (this.#options.allocation === 'thin') return setLength(path, sizeBytes);
    const { freeBytes } = await this.capacity();
    const missing = sizeBytes - (await takenBy(path));
    if (missing > freeBytes) throw this.#noRoom(`${missing} bytes are wanted, and ${freeBytes} are free`);
    await this.#options.run('fallocate', ['--length', String(sizeBytes), '--', path], { timeoutMs, env: { LC_ALL: 'C' } }).catch((error: unknown) => {
      if (!/not supported/.test(messageOf(error))) throw error;
      const remedy = 'use another one, or allocation: thin';
      throw new DriverError('unsupported', `${this.#options.folder}: its file system cannot take room beforehand; ${remedy}`, { cause: error });
    });
  }

  #noRoom(why: string, cause?: unknown): DriverError {
    return new DriverError('failed', `no room in ${this.#options.folder}: ${why}`, { cause });
  }
}

const isNoRoom = (error: unknown): boolean =>
  (error as NodeJS.ErrnoException).code === 'ENOSPC' || /No space left on device|Disk quota exceeded/.test(messageOf(error));

/** Guests of this host open the files as an account of their own: it may pass, and not look around. */
async function ensurePassable(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o711 });
  const { mode } = await stat(folder);
  if ((mode & 0o011) !== 0o011) await chmod(folder, (mode & 0o7777) | 0o011);
}

async function entriesOf(folder: string): Promise<readonly StoredVolume[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith(suffix));
  const found = await Promise.all(names.map(async (name) => ({ id: name.slice(0, -suffix.length), sizeBytes: await sizeOf(join(folder, name)) })));
  return found.flatMap(({ id, sizeBytes }) => (sizeBytes === undefined ? [] : [{ id, sizeBytes }]));
}

async function takenBy(path: string): Promise<number> {
  const found = await missingAsUndefined(() => stat(path));
  return (found?.blocks ?? 0) * 512;
}

async function sizeOf(path: string): Promise<number | undefined> {
  return (await missingAsUndefined(() => stat(path)))?.size;
}

async function missingAsUndefined<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function setLength(path: string, sizeBytes: number): Promise<void> {
  const file = await open(path, 'a', 0o600);
  try {
    await file.truncate(sizeBytes);
  } finally {
    await file.close();
  }
}

async function syncFile(path: string): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
