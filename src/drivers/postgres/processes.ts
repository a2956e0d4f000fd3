// Which processes belong to a cluster. All of PostgreSQL's processes work inside the data folder, which tells them apart from any
// other process that happens to have an old number.
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

/** The postmaster that the pid file names, if it is alive and works in this data folder. */
export async function postmasterOf(dataDirectory: string): Promise<number | undefined> {
  const first = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(first, 10);
  return Number.isInteger(pid) && pid > 0 && (await worksIn(pid, dataDirectory)) ? pid : undefined;
}

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
