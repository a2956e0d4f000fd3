// The ready-made guest for specs: what bootstrap built, or a build of the same kept under /tmp for the next run.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';

export interface GuestImage {
  readonly kernel: string;
  readonly ramdisk: string;
  /** A raw ext4 image. */
  readonly root: string;
  readonly kernelArguments: string;
}

const repository = fileURLToPath(new URL('../..', import.meta.url));
const readyText = 'guest: ready at';

/** What the guest writes on its console when it answers ssh. */
export const guestReadyText = readyText;

/** Builds it when need be (some seconds, from Debian packages). */
export function guestImage(): GuestImage {
  const built = join(repository, 'build', 'tiny');
  const directory = existsSync(join(built, 'manifest.json')) ? built : '/tmp/novact-spec-tiny';
  if (directory !== built) execFileSync(join(repository, 'images', 'tiny', 'build.sh'), [directory], { stdio: 'ignore' });
  const manifest = JSON.parse(readFileSync(join(directory, 'manifest.json'), 'utf8')) as { kernelArguments: string };
  return {
    kernel: join(directory, 'vmlinuz'), ramdisk: join(directory, 'initrd.gz'), root: join(directory, 'root.ext4'), kernelArguments: manifest.kernelArguments,
  };
}
