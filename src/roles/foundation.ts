// What every role of a process stands on: database, transport, actor system, auth manager, and who this host is.
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createActorSystem } from '../actors/runtime/system.ts';
import type { ActorSystem } from '../actors/runtime/actor.ts';
import { AuthManager } from '../auth/manager.ts';
import { statePaths, type Settings, type StatePaths } from '../config/settings.ts';
import { openDatabase, type OpenDatabase } from '../db/connect.ts';
import type { Db } from '../db/db.ts';
import { ensureSetting } from '../db/hosts.ts';
import { createDbAuthDriver } from '../drivers/auth/db.ts';
import { systemClock, type Clock } from '../lib/clock.ts';
import { createRun, type Run } from '../lib/exec.ts';
import type { Log } from '../lib/log.ts';
import { loadSealer } from '../lib/sealed.ts';
import { createLocalTransport } from '../transport/local.ts';
import type { Transport } from '../transport/transport.ts';

export interface Foundation {
  readonly settings: Settings;
  readonly paths: StatePaths;
  readonly log: Log;
  readonly clock: Clock;
  readonly db: Db;
  readonly transport: Transport;
  readonly system: ActorSystem;
  readonly auth: AuthManager;
  /** Commands on this host, inside its network namespace if it has one. */
  readonly run: Run;
  /** Marks this cloud's domains. */
  readonly cloudId: string;
  close(): Promise<void>;
}

const stopDeadlineMs = 20_000;

export async function layFoundation(
  settings: Settings & { readonly databaseUrl: string },
  options: { log: Log; onFatal: (error: unknown) => void },
): Promise<Foundation> {
  const { log } = options;
  const clock = systemClock;
  const paths = statePaths(settings);
  const database: OpenDatabase = await openDatabase(settings.databaseUrl);
  try {
    const { db } = database;
    const cloudId = await ensureSetting(db, 'cloudId', () => randomBytes(8).toString('hex'));
    const auth = new AuthManager({ driver: createDbAuthDriver({ db, clock }), sealer: await loadSealer(paths.masterKey) });
    const transport = createLocalTransport({ clock, log, process: settings.host });
    const system = createActorSystem({ name: settings.host, clock, log, onFatal: options.onFatal });
    return {
      settings, paths, log, clock, db, transport, system, auth, cloudId,
      run: createRun({ log, networkNamespace: settings.networkNamespace }),
      async close() {
        await system.stop(stopDeadlineMs);
        await transport.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/** Of the running kernel: another one means that the machine was restarted. */
export async function bootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
}

/** The address under which this host reaches a server that listens on `bind`. */
export const reachable = (bind: string): string => (bind === '0.0.0.0' || bind === '::' ? '127.0.0.1' : bind);
