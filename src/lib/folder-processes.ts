// Which processes work in a folder: it tells the processes of a server apart from any other that happens to have an old number.
import { readdir, readFile, readlink } from 'node:fs/promises';

/** True for a process that is alive (a zombie is not) and whose working folder is that folder. */
export async function worksIn(pid: number, directory: string): Promise<boolean> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const state = stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
    return state !== 'Z' && state !== 'X' && (await readlink(`/proc/${pid}/cwd`)) === directory;
  } catch {
    return false; // Gone, or another user's: not ours.
  }
}

/** All processes that work in the folder: after the death of a postmaster, the backends it left. */
export async function processesIn(directory: string): Promise<readonly number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => ((await worksIn(pid, directory)) ? pid : undefined)));
  return found.filter((pid) => pid !== undefined);
}
