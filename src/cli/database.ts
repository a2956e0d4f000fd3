// Which database `up` uses: the one that is named, else a private PostgreSQL, else PGlite with a word about what it cannot promise.
import { join } from 'node:path';
import { statePaths, type Settings } from '../config/settings.ts';
import { createPostgresCluster, postgresObstacle } from '../drivers/postgres/cluster.ts';
import { systemClock } from '../lib/clock.ts';
import { createRun } from '../lib/exec.ts';
import type { Log } from '../lib/log.ts';

export interface ChosenDatabase {
  readonly url: string;
  /** For the banner, without secrets: `private PostgreSQL (adopted)`. */
  readonly label: string;
  readonly notice: string | undefined;
  /** Clean; for a private PostgreSQL a fast shutdown. */
  stop(): Promise<void>;
}

export const pgliteNotice =
  'PGlite does not wait for the disk: a power cut may lose or damage what it keeps. It is for trials; install postgresql-15 for a database that lasts.';

export interface DatabaseOptions {
  readonly log: Log;
  readonly onFatal: (error: unknown) => void;
  /** Of a private PostgreSQL. */
  readonly connectionsMax?: number;
}

const nothing = (): Promise<void> => Promise.resolve();

export async function openChosenDatabase(settings: Settings, options: DatabaseOptions): Promise<ChosenDatabase> {
  const named = settings.databaseUrl;
  if (named?.startsWith('pglite:') === true) return { url: named, label: 'PGlite', notice: pgliteNotice, stop: nothing };
  if (named !== undefined) return { url: named, label: `PostgreSQL at ${new URL(named).host}`, notice: undefined, stop: nothing };
  const obstacle = postgresObstacle();
  if (obstacle !== undefined) {
    return { url: `pglite:${statePaths(settings).pglite}`, label: 'PGlite', notice: `${obstacle}. ${pgliteNotice}`, stop: nothing };
  }
  const cluster = createPostgresCluster({
    directory: statePaths(settings).postgres,
    run: createRun({ log: options.log }),
    log: options.log,
    clock: systemClock,
    ...(options.connectionsMax === undefined ? {} : { connectionsMax: options.connectionsMax }),
    onEvent: (event) => {
      if (event.type === 'failed') options.onFatal(event.error);
    },
  });
  const { url, how } = await cluster.start();
  return { url, label: `private PostgreSQL (${how})`, notice: undefined, stop: () => cluster.stop() };
}

/** The folder in which the private PostgreSQL or PGlite of this state lies, if its data is there. */
export const databaseFolders = (settings: Settings): readonly string[] => [join(statePaths(settings).postgres, 'data'), statePaths(settings).pglite];
