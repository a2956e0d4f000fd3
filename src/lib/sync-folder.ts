// A new or renamed file is on the disk for good only when its folder is, too.
import { open } from 'node:fs/promises';

/** Waits for the disk: the names in the folder survive a power cut. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
