// Which process is the postmaster of a cluster. All of PostgreSQL's processes work inside the data folder.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { worksIn } from '../../lib/folder-processes.ts';

/** The postmaster that the pid file names, if it is alive and works in this data folder. */
export async function postmasterOf(dataDirectory: string): Promise<number | undefined> {
  const first = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  const pid = Number.parseInt(first, 10);
  return Number.isInteger(pid) && pid > 0 && (await worksIn(pid, dataDirectory)) ? pid : undefined;
}
