// Block devices of the kernel's loop driver, for machines without LVM.
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { VolumeDevice } from '../../src/drivers/volume/store.ts';
import type { TestHost } from './host.ts';

export interface LoopDevice extends VolumeDevice {
  /** After: it has that size. */
  grow(sizeBytes: number): Promise<VolumeDevice>;
}

/** It is there for the work, and freed after it. Throws when somebody holds it then: the kernel would keep it until they let go. */
export async function withLoopDevice({ run, directory }: TestHost, sizeBytes: number, work: (device: LoopDevice) => Promise<void>): Promise<void> {
  const file = join(directory, `loop-${randomBytes(4).toString('hex')}`);
  await run('truncate', ['-s', String(sizeBytes), file]);
  const path = (await run('losetup', ['--find', '--show', file])).stdout.trim();
  const grow = async (bytes: number): Promise<VolumeDevice> => {
    await run('truncate', ['-s', String(bytes), file]);
    await run('losetup', ['--set-capacity', path]);
    return { type: 'block', path, sizeBytes: bytes };
  };
  try {
    await work({ type: 'block', path, sizeBytes, grow });
  } finally {
    await run('losetup', ['--detach', path]);
  }
  if ((await run('losetup', [path], { okCodes: [0, 1] })).code === 0) throw new Error(`somebody holds ${path} still`);
}
