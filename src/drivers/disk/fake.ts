// Disk images without any tool, for specs and simulated hosts: what is a file stays a file, sizes and formats come from the bytes,
// and an overlay is a few lines of JSON that name its base. It refuses what the real driver refuses.
import { copyFile, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { DriverError } from '../../lib/errors.ts';
import type { Conversion, ConversionWatch, DiskDriver, DiskInspection, Drive } from './driver.ts';
import { checkStart, headerOf, kindOf, mustExist, readStart } from './image-file.ts';
import { identify } from './import-file.ts';
import { emptyQcow2 } from './qcow2.ts';

const overlayMark = 'novact fake overlay';

interface FakeOverlay {
  readonly mark: typeof overlayMark;
  readonly base: string;
  readonly sizeBytes: number;
}

export function createFakeDisk(): DiskDriver {
  return {
    info: { name: 'fake' }, inspect, identify, convert, ensureOverlay, ensureBase, chain, ensureTree, copyOverlay, ensureFlat, packTree, ensureDrive,
  };
}

async function inspect(path: string, limits: { virtualSizeBytesMax: number }): Promise<DiskInspection> {
  const { bytes, sizeBytes } = await readStart(path);
  return { ...checkStart(bytes, sizeBytes, limits.virtualSizeBytesMax), sizeBytes };
}

/** Here it is the header of an image of that size. */
async function convert({ path, format, to, virtualSizeBytesMax }: Conversion, { onProgress }: ConversionWatch): Promise<void> {
  const { virtualSizeBytes } = await identify(path, { format, virtualSizeBytesMax });
  await writeFile(`${to}.new`, emptyQcow2(virtualSizeBytes));
  await rename(`${to}.new`, to);
  onProgress(1);
}

async function ensureOverlay(overlay: { path: string; base: string; baseFormat: 'raw' | 'qcow2'; sizeBytes: number }): Promise<void> {
  const base = resolve(overlay.base);
  const known = await readOverlay(overlay.path);
  if (known?.base === base) return;
  if ((await kindOf(overlay.path)) !== undefined) throw new DriverError('failed', `${overlay.path} exists, but does not stand on ${base}`);
  const { bytes, sizeBytes } = await readStart(base);
  const baseBytes = overlay.baseFormat === 'raw' ? sizeBytes : (headerOf(bytes)?.virtualSizeBytes ?? sizeBytes);
  if (overlay.sizeBytes < baseBytes) throw new DriverError('failed', `a disk of ${overlay.sizeBytes} bytes is smaller than its image, which has ${baseBytes}`);
  await writeFile(overlay.path, JSON.stringify({ mark: overlayMark, base, sizeBytes: overlay.sizeBytes } satisfies FakeOverlay));
}

async function ensureBase(overlay: { path: string; base: string }): Promise<void> {
  const known = await readOverlay(overlay.path);
  if (known === undefined) throw new DriverError('failed', `${overlay.path} is not an overlay`);
  await mustExist(overlay.base);
  await writeFile(overlay.path, JSON.stringify({ ...known, base: resolve(overlay.base) } satisfies FakeOverlay));
}

async function chain(path: string): Promise<readonly string[]> {
  await mustExist(path);
  const overlay = await readOverlay(path);
  return overlay === undefined ? [resolve(path)] : [resolve(path), ...(await chain(overlay.base))];
}

/** Here a tree is its image, as one file. */
async function ensureTree(image: { path: string; format: 'raw' | 'qcow2'; directory: string }): Promise<void> {
  await mustExist(image.path);
  if ((await kindOf(image.directory)) !== undefined) return;
  await mkdir(image.directory, { recursive: true });
  await copyFile(image.path, join(image.directory, 'image'));
}

async function copyOverlay({ path, copy }: { path: string; copy: string }): Promise<void> {
  await mustExist(path);
  await copyFile(path, `${copy}.new`);
  await rename(`${copy}.new`, copy);
}

/** Here it is the header of an image of that size: its guests write nothing. */
async function ensureFlat({ path, flat }: { path: string; flat: string }): Promise<void> {
  if ((await kindOf(flat)) !== undefined) return;
  const overlay = await readOverlay(path);
  if (overlay === undefined) return rename(path, flat);
  await writeFile(`${flat}.new`, emptyQcow2(overlay.sizeBytes));
  await rename(`${flat}.new`, flat);
}

/** Here a tree is one file. */
async function packTree({ directory, image }: { directory: string; image: string }): Promise<void> {
  await copyFile(join(directory, 'image'), image);
}

/** Here a drive is a note of what is in it. */
async function ensureDrive({ path, label, files }: Drive): Promise<void> {
  const text = JSON.stringify({ label, files: files.map((file) => ({ path: file.path, content: file.content.toString('base64') })) });
  if ((await kindOf(path)) === 'file' && (await readFile(path, 'utf8')) === text) return;
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

async function readOverlay(path: string): Promise<FakeOverlay | undefined> {
  if ((await kindOf(path)) !== 'file') return undefined;
  const text = (await readStart(path)).bytes.toString('utf8');
  return text.startsWith(`{"mark":"${overlayMark}"`) ? (JSON.parse(text) as FakeOverlay) : undefined;
}
