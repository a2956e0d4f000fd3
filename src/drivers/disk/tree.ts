// Copies the files out of an ext image without mounting it. The image is a tenant's: it may hold a link and a file of one name, or a
// name with a slash, and so make the copying program write elsewhere. So that program sees nothing of the host but its own
// libraries, the image (both read-only) and the target folder, and has only the capabilities that copying needs.
import { constants } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { DriverError } from '../../lib/errors.ts';
import type { Run, RunResult } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';

const secondsMax = 600;
const memoryBytesMax = 1024 ** 3;
/** The listing of a large distribution is some 10 MiB. */
const outputBytesMax = 64 * 1024 ** 2;

/** $1 image, $2 target folder, then what debugfs is told. The tmpfs is gone with the mount namespace. Links such as /lib64 → usr/lib64 are copied as links. */
const jail = `set -e
mount --make-rprivate /
exec 3<"$2" 4<"$1"; shift 2
mount -t tmpfs -o size=1m,mode=755 tmpfs /mnt
for part in usr bin sbin lib lib64; do
  if [ -L "/$part" ]; then cp -P "/$part" "/mnt/$part"
  elif [ -d "/$part" ]; then mkdir "/mnt/$part"; mount --bind "/$part" "/mnt/$part"; mount -o remount,bind,ro "/mnt/$part"; fi
done
mkdir /mnt/out /mnt/dev; : > /mnt/image; : > /mnt/dev/null
mount --bind /dev/null /mnt/dev/null
mount --bind "/proc/$$/fd/3" /mnt/out
mount --bind "/proc/$$/fd/4" /mnt/image; mount -o remount,bind,ro /mnt/image
mount -o remount,ro /mnt
exec 3<&- 4<&-
exec chroot /mnt setpriv --no-new-privs --bounding-set -all,+chown,+fowner,+fsetid,+dac_override --inh-caps -all debugfs "$@" /image`;

interface Extraction {
  readonly run: Run;
  readonly log: Log;
  readonly image: string;
  readonly directory: string;
}

/** After: `directory`, which is there and empty, has the files with their owners and modes; device files are left out. */
export async function extractTree(extraction: Extraction): Promise<void> {
  const { image, directory, log } = extraction;
  const { stderr } = await debugfs(extraction, ['-R', 'rdump / /out']);
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line));
  if (complaints.some((line) => /bad magic number|superblock|filesystem not open/i.test(line))) {
    throw new DriverError('failed', 'the image cannot be used: it holds no ext2, ext3 or ext4 file system of its own (a partitioned disk does not run as a container)', { output: stderr });
  }
  if ((await readdir(directory)).length === 0) throw new DriverError('failed', 'the image cannot be used: no files were found in it', { output: stderr });
  if (complaints.length > 0) throw new DriverError('failed', `the image cannot be used: its file system is damaged (${complaints[0]?.slice(0, 200)})`, { output: stderr });
  await restoreSetIds(extraction);
  log.debug({ image, directory }, 'copied the tree of an image');
}

async function debugfs({ run, image, directory }: Extraction, args: readonly string[], input = ''): Promise<RunResult> {
  const { size } = await stat(image);
  // No honest file is longer than the image. It keeps a sparse one of terabytes from filling the host.
  const limits = [`--as=${memoryBytesMax}`, `--cpu=${secondsMax}`, `--fsize=${size}`, '--core=0'];
  return run('unshare', ['--mount', 'prlimit', ...limits, 'sh', '-c', jail, 'jail', image, directory, ...args], {
    timeoutMs: secondsMax * 2_000,
    input,
    outputMax: outputBytesMax,
    env: { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
}

/**
 * debugfs sets the mode before the owner, and a change of owner clears set-user-id and set-group-id (su, sudo, ping). They are read
 * from the image's folders and set again. Whatever names the image has, only plain files below the target are touched.
 */
async function restoreSetIds(extraction: Extraction): Promise<void> {
  const folders = await foldersOf(extraction.directory, '/');
  const asked = folders.filter((folder) => !/["\n]/.test(folder)); // debugfs has no way to write such a name
  const { stdout } = await debugfs(extraction, ['-f', '-'], asked.map((folder) => `ls -p "${folder}"\n`).join(''));
  let folder = '';
  for (const line of stdout.split('\n')) {
    const command = /^debugfs: +ls -p "(.*)"$/.exec(line)?.[1];
    if (command !== undefined) folder = command;
    const entry = /^\/\d+\/10(\d{4})\/\d+\/\d+\/([^/]+)\//.exec(line);
    const mode = Number.parseInt(entry?.[1] ?? '0', 8);
    if ((mode & 0o6000) !== 0 && asked.includes(folder)) await setMode(join(extraction.directory, folder, entry?.[2] ?? ''), mode);
  }
}

/** Real folders only: a link to one is not followed. */
async function foldersOf(root: string, folder: string): Promise<string[]> {
  const entries = await readdir(join(root, folder), { withFileTypes: true });
  const below = entries.filter((entry) => entry.isDirectory()).map((entry) => foldersOf(root, posix.join(folder, entry.name)));
  return [folder, ...(await Promise.all(below)).flat()];
}

async function setMode(path: string, mode: number): Promise<void> {
  const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ELOOP') return undefined; // the listing of a hostile image need not be true
    throw error;
  });
  if (file === undefined) return;
  try {
    if ((await file.stat()).isFile()) await file.chmod(mode);
  } finally {
    await file.close();
  }
}
