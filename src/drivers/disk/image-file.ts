// What can be told of an image from its first bytes, and what is refused for it: without any tool, and the same for every driver.
import { lstat, open } from 'node:fs/promises';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { parseQcow2Header, qcow2HeaderBytesMax, type Qcow2Header } from './qcow2.ts';
import { refusedFormat } from './signatures.ts';

const sectorBytes = 512;

/** Throws for what is refused by its first bytes. The size is what the image claims: a tool still has to confirm it. */
export function checkStart(bytes: Buffer, sizeBytes: number, virtualSizeBytesMax: number): { format: 'raw' | 'qcow2'; virtualSizeBytes: number } {
  if (sizeBytes === 0) throw refusal('it is empty');
  const header = headerOf(bytes);
  if (header !== undefined) checkHeader(header);
  else checkRaw(bytes, sizeBytes);
  const virtualSizeBytes = header?.virtualSizeBytes ?? sizeBytes;
  checkSize(virtualSizeBytes, virtualSizeBytesMax);
  return { format: header === undefined ? 'raw' : 'qcow2', virtualSizeBytes };
}

/** An error fit for a tenant's eyes. */
export function refusal(why: string): DriverError {
  return new DriverError('failed', `the image cannot be used: ${why}`);
}

/** Undefined when the image is not qcow2; a refusal when its header contradicts itself. */
export function headerOf(bytes: Buffer): Qcow2Header | undefined {
  try {
    return parseQcow2Header(bytes);
  } catch (error) {
    throw refusal(`its qcow2 header is wrong (${messageOf(error)})`);
  }
}

/** Throws for what would make a tool open other files, or need a key. */
export function checkHeader(header: Qcow2Header): void {
  if (header.backingFile !== undefined) throw refusal('it has a backing file; flatten it with: qemu-img convert -O qcow2 IMAGE OUT');
  if (header.externalDataFile) throw refusal('its data is in an external file; flatten it with: qemu-img convert -O qcow2 IMAGE OUT');
  if (header.encrypted) throw refusal('it is encrypted');
  if (header.corrupt) throw refusal('it is marked corrupt; mend it with: qemu-img check -r all IMAGE');
}

function checkRaw(bytes: Buffer, sizeBytes: number): void {
  const refused = refusedFormat(bytes);
  if (refused !== undefined) throw refusal(`it is ${refused.is}; ${refused.remedy}`);
  if (sizeBytes % sectorBytes !== 0) throw refusal(`its ${sizeBytes} bytes are not a whole number of sectors of ${sectorBytes}: is it cut off?`);
}

/** Throws for an empty disk and for one larger than allowed. */
export function checkSize(virtualSizeBytes: number, max: number): void {
  if (virtualSizeBytes === 0) throw refusal('the disk in it has no size');
  if (virtualSizeBytes > max) throw refusal(`the disk in it has ${virtualSizeBytes} bytes, more than the ${max} allowed`);
}

/** The bytes that hold a header, and the size of the whole. Throws `notFound`, and for what is not a regular file. */
export async function readStart(path: string): Promise<{ bytes: Buffer; sizeBytes: number }> {
  await mustExist(path);
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const bytes = Buffer.alloc(Math.min(size, qcow2HeaderBytesMax));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, 0);
    return { bytes: bytes.subarray(0, bytesRead), sizeBytes: size };
  } finally {
    await file.close();
  }
}

/** What lies at the path itself: a link counts as `other`, so that nobody is led astray by one. */
export async function kindOf(path: string): Promise<'file' | 'directory' | 'other' | undefined> {
  try {
    const stats = await lstat(path);
    return stats.isDirectory() ? 'directory' : stats.isFile() ? 'file' : 'other';
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Throws `notFound`, and for what is not a regular file. */
export async function mustExist(path: string): Promise<undefined> {
  const kind = await kindOf(path);
  if (kind === undefined) throw new DriverError('notFound', `${path} does not exist`);
  if (kind !== 'file') throw refusal('it is not a regular file');
}
