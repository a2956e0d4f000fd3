// Copies the files out of an ext image without mounting it. The image is a tenant's: it may hold a link and a file of one name, or a
// name with a slash, and so make the copying program write elsewhere. So that program sees nothing of the host but its own
// libraries, the image (both read-only) and the target folder, and has only the capabilities that copying needs.
import { readdir, stat } from 'node:fs/promises';
import { DriverError } from '../../lib/errors.ts';
import type { Run } from '../../lib/exec.ts';
import type { Log } from '../../lib/log.ts';

const secondsMax = 600;
const memoryBytesMax = 1024 ** 3;

/** $1 image, $2 target folder. The tmpfs is gone with the mount namespace. Links such as /lib64 → usr/lib64 are copied as links. */
const jail = `set -e
mount --make-rprivate /
exec 3<"$2" 4<"$1"
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
exec chroot /mnt setpriv --no-new-privs --bounding-set -all,+chown,+fowner,+fsetid,+dac_override --inh-caps -all debugfs -R 'rdump / /out' /image`;

/** After: `directory`, which is there and empty, has the files with their owners and modes; device files are left out. */
export async function extractTree(options: { run: Run; log: Log; image: string; directory: string }): Promise<void> {
  const { run, log, image, directory } = options;
  const { size } = await stat(image);
  // No honest file is longer than the image. It keeps a sparse one of terabytes from filling the host.
  const limits = [`--as=${memoryBytesMax}`, `--cpu=${secondsMax}`, `--fsize=${size}`, '--core=0'];
  const { stderr } = await run('unshare', ['--mount', 'prlimit', ...limits, 'sh', '-c', jail, 'jail', image, directory], {
    timeoutMs: secondsMax * 2_000,
    env: { LC_ALL: 'C', PATH: '/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  const complaints = stderr.split('\n').filter((line) => line !== '' && !/^debugfs \d/.test(line));
  if (complaints.some((line) => /bad magic number|superblock|filesystem not open/i.test(line))) {
    throw new DriverError('failed', 'the image cannot be used: it holds no ext2, ext3 or ext4 file system of its own (a partitioned disk does not run as a container)', { output: stderr });
  }
  if ((await readdir(directory)).length === 0) throw new DriverError('failed', 'the image cannot be used: no files were found in it', { output: stderr });
  if (complaints.length > 0) throw new DriverError('failed', `the image cannot be used: its file system is damaged (${complaints[0]?.slice(0, 200)})`, { output: stderr });
  log.debug({ image, directory }, 'copied the tree of an image');
}
