// Makes an ext4 image of a tree, without mounting it: what a container's root becomes when an image is made of it.
import { randomUUID } from 'node:crypto';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';

const timeoutMs = 3_600_000;
const mib = 1024 ** 2;
/** For the file system's own tables and journal, an inode for every 4 KiB among them, and some room. */
const overhead = { share: 1.4, bytes: 64 * mib } as const;

/** As of `packTree` of the driver. Owners, modes and links are the tree's; the file is sparse. */
export async function packTree(run: Run, tree: { directory: string; image: string; sizeBytesMin: number }, signal: AbortSignal): Promise<void> {
  const { stdout } = await run('du', ['--summarize', '--one-file-system', '--block-size=1', '--', tree.directory], { timeoutMs, signal });
  const usedBytes = Number(/^\d+/.exec(stdout)?.[0] ?? Number.NaN);
  if (!Number.isFinite(usedBytes)) throw new DriverError('failed', `the size of ${tree.directory} is not known`, { output: stdout });
  const sizeMiB = Math.ceil(Math.max(tree.sizeBytesMin, usedBytes * overhead.share + overhead.bytes) / mib);
  const form = ['-q', '-F', '-t', 'ext4', '-m', '0', '-i', '4096', '-U', randomUUID(), '-E', 'root_owner=0:0', '-d', tree.directory];
  await run('mke2fs', [...form, tree.image, `${sizeMiB}M`], { timeoutMs, signal, env: { LC_ALL: 'C' } });
}
