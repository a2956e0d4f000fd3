// Chooses where the mailboxes and the directory of a process are: in the process itself, or in the Redis that is named.
import { readFile } from 'node:fs/promises';
import type { Settings } from '../config/settings.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Directory } from '../transport/directory.ts';
import { createLocalDirectory } from '../transport/local-directory.ts';
import { createLocalTransport } from '../transport/local.ts';
import type { Transport } from '../transport/transport.ts';

export interface Mailboxes {
  readonly transport: Transport;
  readonly directory: Directory;
  close(): Promise<void>;
}

export interface MailboxOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly process: string;
}

export async function openMailboxes(settings: Settings, options: MailboxOptions): Promise<Mailboxes> {
  const lease = leaseOf(settings);
  if (settings.redisUrl === undefined) {
    const directory = createLocalDirectory({ clock: options.clock, ...lease });
    return together(createLocalTransport({ ...options, directory }), directory);
  }
  const ca = settings.redisCa === undefined ? undefined : await authorityOf(settings.redisCa);
  const [{ createRedisTransport, inspectRedis }, { createRedisDirectory }] = await Promise.all([
    import('../transport/redis-streams.ts'), import('../transport/redis-directory.ts'),
  ]);
  const redis = { url: settings.redisUrl, ca, clock: options.clock, log: options.log };
  await inspectRedis(redis);
  const directory = createRedisDirectory({ ...redis, ...lease });
  return together(createRedisTransport({ ...redis, process: options.process, directory }), directory);
}

function together(transport: Transport, directory: Directory): Mailboxes {
  return {
    transport, directory,
    async close() {
      await transport.close();
      await directory.close();
    },
  };
}

async function authorityOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    const remedy = 'NOVACT_REDIS_CA names a file with a certificate in PEM.';
    throw new SetupError(`cannot read the authority of Redis ${file}: ${messageOf(cause)}`, remedy, { cause });
  }
}

/** A lease is renewed three times before it runs out, and has run out well before its host counts as down. */
export function leaseOf({ serviceDownSeconds }: Pick<Settings, 'serviceDownSeconds'>): { leaseMs: number; renewMs: number } {
  const leaseMs = Math.min(15_000, serviceDownSeconds * 500);
  return { leaseMs, renewMs: Math.floor(leaseMs / 3) };
}
