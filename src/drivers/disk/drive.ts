// Drives by which guests are given files before they have a network: the file system of a CD, by xorriso. The same files give the same bytes.
import { chmod, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Run } from '../../lib/exec.ts';
import type { Drive } from './driver.ts';
import { kindOf } from './image-file.ts';

const timeoutMs = 30_000;
/** No time is told. */
const someDay = '1';
/** Names as they are, in the forms of Unix and of Windows; no settings of the host; no room for the ends of tapes. */
const form = ['-no_rc', '-as', 'mkisofs', '-quiet', '-r', '-J', '-no-pad', '--set_all_file_dates', `=${someDay}`];

/** As of `ensureDrive`. What is in it may be a user's secret: nobody but root reads what lies about meanwhile. */
export async function makeDrive(run: Run, { path, label, files }: Drive): Promise<void> {
  const folder = await mkdtemp(`${path}.new-`);
  const [source, fresh] = [join(folder, 'files'), join(folder, 'drive')];
  try {
    await mkdir(source);
    for (const file of files) {
      await mkdir(dirname(join(source, file.path)), { recursive: true });
      await writeFile(join(source, file.path), file.content);
    }
    await run('xorriso', [...form, '-V', label, '-o', fresh, source], { timeoutMs, env: { LC_ALL: 'C', SOURCE_DATE_EPOCH: someDay } });
    if ((await kindOf(path)) === 'file' && (await readFile(path)).equals(await readFile(fresh))) return;
    await chmod(fresh, 0o600);
    await rename(fresh, path);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
