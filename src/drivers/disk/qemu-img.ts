// Disk images through qemu-img, debugfs and xorriso. Formats are always given, never guessed by the tools; headers are read here first, so
// that no tool follows a name out of a tenant's file; the tools run under limits of memory, processor time and file size.
import { randomBytes } from 'node:crypto';
import { link, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { Run, RunOptions, RunResult } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';
import { makeDrive } from './drive.ts';
import type { Conversion, ConversionWatch, DiskDriver, DiskInspection, Drive, ImportedFile, ImportFormat } from './driver.ts';
import { checkHeader, checkSize, checkStart, headerOf, kindOf, mustExist, readStart, refusal } from './image-file.ts';
import { identify } from './import-file.ts';
import type { Qcow2Header } from './qcow2.ts';
import { packTree } from './pack-tree.ts';
import { extractTree } from './tree.ts';

export interface QemuImgOptions {
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
}

/** For one run of a tool over a tenant's file. qemu-img needs about 100 MiB of address space for an honest image. */
const memoryBytesMax = 2 * 2 ** 30;
const infoSecondsMax = 20;
const convertSecondsMax = 1_800;
const copySecondsMax = 3_600;
const chainLengthMax = 32;
/** What qcow2 needs beside the data: tables of 8 bytes for each cluster of 64 KiB, and counts. */
const tableBytesMax = (sizeBytes: number): number => 64 * 2 ** 20 + Math.ceil(sizeBytes / 1_024);
/** As QEMU calls them. */
const drivers = { vmdk: 'vmdk', vdi: 'vdi', vhd: 'vpc' } as const;

/** What is used of the tool's answer. */
const infoSchema = z.object({ format: z.string(), 'virtual-size': z.number().int().nonnegative() });

export function createQemuImg(options: QemuImgOptions): DiskDriver {
  return new QemuImg(options);
}

class QemuImg implements DiskDriver {
  readonly info = { name: 'qemu-img' };
  readonly #run: Run;
  readonly #log: Log;

  constructor({ run, log }: QemuImgOptions) {
    this.#run = run;
    this.#log = log;
  }

  async inspect(path: string, limits: { virtualSizeBytesMax: number; timeoutMs: number }): Promise<DiskInspection> {
    const { bytes, sizeBytes } = await readStart(path);
    // What the header claims is compared before a tool allocates tables for it.
    const { format } = checkStart(bytes, sizeBytes, limits.virtualSizeBytesMax);
    const virtualSizeBytes = await this.#virtualSize(path, format, limits.timeoutMs);
    checkSize(virtualSizeBytes, limits.virtualSizeBytesMax);
    return { format, virtualSizeBytes, sizeBytes };
  }

  identify(path: string, wish: { format?: ImportFormat | undefined; virtualSizeBytesMax: number }): Promise<ImportedFile> {
    return identify(path, wish);
  }

  /** The tool is told to open that one file and nothing beside it, whatever the file says. */
  async convert({ path, format, to, virtualSizeBytesMax }: Conversion, { signal, onProgress }: ConversionWatch): Promise<void> {
    await identify(path, { format, virtualSizeBytesMax });
    const source = `json:${JSON.stringify({ driver: drivers[format], file: { driver: 'file', filename: resolve(path) }, backing: null })}`;
    await rm(to, { force: true });
    await this.#qemuImg(['convert', '-p', '-O', 'qcow2', source, to], convertSecondsMax, {
      signal, fileBytesMax: virtualSizeBytesMax + tableBytesMax(virtualSizeBytesMax), onOutput: (text) => reportProgress(text, onProgress),
    });
    await syncPath(to);
  }

  async ensureOverlay(overlay: { path: string; base: string; baseFormat: 'raw' | 'qcow2'; sizeBytes: number }): Promise<void> {
    const base = resolve(overlay.base);
    if (await this.#isOverlayOn(overlay.path, base)) return;
    const baseBytes = await this.#virtualSize(base, overlay.baseFormat, infoSecondsMax * 1_000);
    if (overlay.sizeBytes < baseBytes) {
      throw new DriverError('failed', `a disk of ${overlay.sizeBytes} bytes is smaller than its image, which has ${baseBytes}`);
    }
    const fresh = `${overlay.path}.new-${randomBytes(6).toString('hex')}`;
    try {
      await this.#qemuImg(['create', '-q', '-f', 'qcow2', '-b', base, '-F', overlay.baseFormat, fresh, String(overlay.sizeBytes)], infoSecondsMax);
      await syncPath(fresh);
      // A link, not a rename: it never replaces an overlay that came into being meanwhile and may have a guest's data.
      await link(fresh, overlay.path).catch(async (cause: NodeJS.ErrnoException) => {
        if (cause.code !== 'EEXIST' || !(await this.#isOverlayOn(overlay.path, base))) throw cause;
      });
      await syncPath(dirname(overlay.path));
    } finally {
      await rm(fresh, { force: true });
    }
  }

  async ensureBase({ path, base, baseFormat }: { path: string; base: string; baseFormat: 'raw' | 'qcow2' }): Promise<void> {
    const wanted = resolve(base);
    await mustExist(wanted);
    const header = headerOf((await readStart(path)).bytes);
    if (header?.backingFile === undefined) throw new DriverError('failed', `${path} is not an overlay`);
    if (header.backingFile === wanted && header.backingFormat === baseFormat) return;
    // Only the name is changed: the contents of both bases are the same.
    await this.#qemuImg(['rebase', '-q', '-u', '-f', 'qcow2', '-b', wanted, '-F', baseFormat, path], infoSecondsMax);
    await syncPath(path);
  }

  async chain(path: string): Promise<readonly string[]> {
    const files: string[] = [];
    let next: string | undefined = resolve(path);
    let format: string | undefined = 'qcow2';
    while (next !== undefined) {
      if (files.includes(next) || files.length >= chainLengthMax) throw new DriverError('failed', `${path}: its chain of images has no end`);
      files.push(next);
      const header: Qcow2Header | undefined = format === 'raw' ? await mustExist(next) : headerOf((await readStart(next)).bytes);
      const backing: string | undefined = header?.backingFile;
      next = backing === undefined ? undefined : isAbsolute(backing) ? backing : join(dirname(next), backing);
      // A backing file without a stated format would be guessed at; we never make one, and read no further than its name.
      format = header?.backingFormat ?? 'raw';
    }
    return files;
  }

  async ensureTree(image: { path: string; format: 'raw' | 'qcow2'; directory: string }): Promise<void> {
    if ((await kindOf(image.directory)) === 'directory') return;
    const fresh = `${image.directory}.new-${randomBytes(6).toString('hex')}`;
    const raw = `${fresh}.raw`;
    try {
      await mkdir(fresh, { recursive: true });
      if (image.format === 'qcow2') {
        const header = headerOf((await readStart(image.path)).bytes);
        if (header === undefined) throw refusal('it is not the qcow2 image that it is registered as');
        checkHeader(header);
        await this.#qemuImg(['convert', '-f', 'qcow2', '-O', 'raw', image.path, raw], convertSecondsMax);
      }
      await extractTree({ run: this.#run, image: image.format === 'qcow2' ? raw : image.path, directory: fresh, log: this.#log });
      await rename(fresh, image.directory).catch(async (cause: NodeJS.ErrnoException) => {
        const overtaken = (cause.code === 'ENOTEMPTY' || cause.code === 'EEXIST') && (await readdir(image.directory)).length > 0;
        if (!overtaken) throw cause;
      });
    } finally {
      await rm(raw, { force: true });
      await rm(fresh, { recursive: true, force: true });
    }
  }

  /** Where the file system can, both share what they have in common, and it takes no time. */
  async copyOverlay({ path, copy }: { path: string; copy: string }, signal: AbortSignal): Promise<void> {
    await mustExist(path);
    const form = ['--reflink=auto', '--sparse=always', '--', path];
    await this.#asOne(copy, (fresh) => this.#run('cp', [...form, fresh], { timeoutMs: copySecondsMax * 1_000, signal }));
  }

  async ensureFlat({ path, flat }: { path: string; flat: string }, signal: AbortSignal): Promise<void> {
    if ((await kindOf(flat)) !== undefined) return;
    const header = headerOf((await readStart(path)).bytes);
    if (header === undefined) throw new DriverError('failed', `${path} is not qcow2`);
    if (header.backingFile === undefined) {
      await syncPath(path);
      await rename(path, flat);
      return syncPath(dirname(flat));
    }
    await this.#asOne(flat, (fresh) => this.#qemuImg(['convert', '-f', 'qcow2', '-O', 'qcow2', path, fresh], convertSecondsMax, { signal }));
  }

  async packTree(tree: { directory: string; image: string; sizeBytesMin: number }, signal: AbortSignal): Promise<void> {
    await this.#asOne(tree.image, (fresh) => packTree(this.#run, { ...tree, image: fresh }, signal));
  }

  ensureDrive(drive: Drive): Promise<void> {
    return makeDrive(this.#run, drive);
  }

  /** The name appears with the whole of it, or not at all. */
  async #asOne(path: string, make: (fresh: string) => Promise<unknown>): Promise<void> {
    const fresh = `${path}.new-${randomBytes(6).toString('hex')}`;
    try {
      await make(fresh);
      await syncPath(fresh);
      await rename(fresh, path);
      await syncPath(dirname(path));
    } finally {
      await rm(fresh, { force: true });
    }
  }

  async #isOverlayOn(path: string, base: string): Promise<boolean> {
    if ((await kindOf(path)) === undefined) return false;
    const header = headerOf((await readStart(path)).bytes);
    if (header?.backingFile === base) return true;
    throw new DriverError('failed', `${path} exists, but stands on ${header?.backingFile ?? 'nothing'} and not on ${base}`);
  }

  async #virtualSize(path: string, format: 'raw' | 'qcow2', timeoutMs: number): Promise<number> {
    await mustExist(path);
    const { stdout } = await this.#qemuImg(['info', '--output=json', '-U', '-f', format, path], infoSecondsMax, { timeoutMs });
    const answer = infoSchema.parse(JSON.parse(stdout));
    if (answer.format !== format) throw refusal(`it is ${answer.format}, not ${format}`);
    return answer['virtual-size'];
  }

  async #qemuImg(
    args: readonly string[], cpuSecondsMax: number, { fileBytesMax, ...options }: Pick<RunOptions, 'timeoutMs' | 'signal' | 'onOutput'> & {
      readonly fileBytesMax?: number;
    } = {},
  ): Promise<RunResult> {
    const limits = [`--as=${memoryBytesMax}`, `--cpu=${cpuSecondsMax}`, '--core=0', ...(fileBytesMax === undefined ? [] : [`--fsize=${fileBytesMax}`])];
    try {
      return await this.#run('prlimit', [...limits, 'qemu-img', ...args], { timeoutMs: cpuSecondsMax * 2_000, ...options, env: { LC_ALL: 'C' } });
    } catch (error) {
      if (error instanceof DriverError && error.kind === 'failed') throw new DriverError('failed', toolFailure(args[0] ?? '', error), { cause: error });
      throw error;
    }
  }
}

/** It writes `    (12.34/100%)`, again and again. */
function reportProgress(text: string, report: (fraction: number) => void): void {
  const percent = [...text.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
  if (percent !== undefined) report(Math.min(1, Number(percent) / 100));
}

/** The tool's own words, without the command line and the host's paths. */
function toolFailure(verb: string, error: DriverError): string {
  const words = (error.output ?? '').trim().split('\n').at(-1)?.replace(/^qemu-img: /, '').replace(/'?\/\S*\/([^/\s']+)'?/g, '$1') ?? '';
  return `qemu-img ${verb}: ${words === '' ? 'it ran out of its limits' : words}`;
}

async function syncPath(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
