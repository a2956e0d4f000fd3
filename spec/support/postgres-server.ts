// A PostgreSQL of a spec's own, which it may stop, pause and start again. Its socket lies in a folder under /tmp; nothing else reaches it.
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { connectPostgres } from '../../src/db/connect.ts';
import { createPostgresCluster } from '../../src/drivers/postgres/cluster.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';

export interface PostgresServer {
  readonly url: string;
  /** The URL of an empty database of that name. */
  createDatabase(name: string): Promise<string>;
  /** Runs a text of many statements in a database, as psql does. */
  load(url: string, text: string): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
  /** SIGSTOP and SIGCONT of the server and all its backends. */
  pause(): void;
  resume(): void;
  close(): Promise<void>;
}

export async function startPostgres(name: string): Promise<PostgresServer> {
  const folder = await mkdtemp(`/tmp/novact-spec-${name}-`);
  await chmod(folder, 0o711); // The server runs under an account of its own.
  const directory = join(folder, 'postgres');
  const cluster = createPostgresCluster({
    directory, run: createRun({ log: silentLog }), log: silentLog, clock: systemClock, durable: false, connectionsMax: 100,
  });
  const { url } = await cluster.start();
  const signal = (which: NodeJS.Signals): void => {
    const postmaster = Number(readFileSync(join(directory, 'data/postmaster.pid'), 'utf8').split('\n')[0]);
    const children = readFileSync(`/proc/${postmaster}/task/${postmaster}/children`, 'utf8').split(' ').filter((pid) => pid !== '').map(Number);
    for (const pid of [postmaster, ...children]) process.kill(pid, which);
  };
  const withClient = async (at: string, work: (client: ReturnType<typeof connectPostgres>) => Promise<unknown>): Promise<void> => {
    const client = connectPostgres(at, 1);
    try {
      await work(client);
    } finally {
      await client.end({ timeout: 2 });
    }
  };
  return {
    url,
    async createDatabase(database) {
      await withClient(url, (client) => client.unsafe(`create database ${database}`));
      const made = new URL(url);
      made.pathname = `/${database}`;
      return made.href;
    },
    load: (at, text) => withClient(at, (client) => client.unsafe(text).simple()),
    stop: () => cluster.stop(),
    start: async () => void (await cluster.start()),
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    async close() {
      await cluster.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
