// The serial console of a guest on disk: `console.log`, which the hypervisor appends to; its rotated predecessor, where libvirt's
// log daemon made one; and `console.ring`, the last 64 KiB of what was cut off.
import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { consoleBytesMax } from '../driver.ts';
import { consoleLogPath } from './xml.ts';

const ringPath = (directory: string): string => join(directory, 'console.ring');

/** The log daemon keeps up to three files of 2 MiB; the youngest holds all that can be asked for. */
const rotatedPaths = (directory: string): string[] => [0, 1, 2].map((number) => `${consoleLogPath(directory)}.${number}`);

/** The last 64 KiB; empty when nothing was written, or the folder is gone. */
export async function readConsole(directory: string): Promise<Buffer> {
  const log = await tail(consoleLogPath(directory));
  if (log.length >= consoleBytesMax) return log;
  const [youngest = ''] = rotatedPaths(directory);
  const rotated = await tail(youngest);
  if (rotated.length + log.length >= consoleBytesMax) return lastOf([rotated, log]);
  return lastOf([await tail(ringPath(directory)), rotated, log]);
}

/**
 * After: the files hold at most the last 64 KiB, and the log starts again from nothing. The writer goes on appending, whoever
 * it is: it opened the log with O_APPEND. What it writes in the instant between the last read and the cut is lost.
 */
export async function trimConsole(directory: string): Promise<void> {
  const log = await openIfThere(consoleLogPath(directory), 'r+');
  if (log === undefined) return;
  try {
    const { size } = await log.stat();
    if (size <= consoleBytesMax) return;
    const ring = `${ringPath(directory)}.new`;
    await writeFile(ring, await readConsole(directory));
    const { size: sizeNow } = await log.stat();
    if (sizeNow > size) await writeFile(ring, await readConsole(directory));
    // In this order a reader, or a crash, in between sees everything once: a log of full length is read alone.
    await rename(ring, ringPath(directory));
    for (const path of rotatedPaths(directory)) await rm(path, { force: true });
    await log.truncate(0);
  } finally {
    await log.close();
  }
}

function lastOf(parts: readonly Buffer[]): Buffer {
  return Buffer.concat(parts).subarray(-consoleBytesMax);
}

async function tail(path: string): Promise<Buffer> {
  const file = await openIfThere(path, 'r');
  if (file === undefined) return Buffer.alloc(0);
  try {
    const { size } = await file.stat();
    const start = Math.max(0, size - consoleBytesMax);
    const bytes = Buffer.alloc(size - start);
    const { bytesRead } = await file.read(bytes, 0, bytes.length, start);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function openIfThere(path: string, flags: string): Promise<Awaited<ReturnType<typeof open>> | undefined> {
  try {
    return await open(path, flags);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The whole of a small file, or nothing when it is not there yet. */
export async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
