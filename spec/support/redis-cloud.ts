// Several "processes" with a Redis transport each, for specs that hurt the server: a directory in memory, and what was logged.
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createDirectoryBoard, createLocalDirectory } from '../../src/transport/local-directory.ts';
import type { RedisMaxima } from '../../src/transport/redis-maxima.ts';
import { createRedisTransport, type RedisTransport } from '../../src/transport/redis-streams.ts';

export interface RedisCloud {
  process(name: string, more?: { url?: string; ca?: string; maxima?: Partial<RedisMaxima> }): RedisTransport;
  close(): Promise<void>;
}

export function createRedisCloud(url: string, maxima: Partial<RedisMaxima> = {}): RedisCloud {
  const board = createDirectoryBoard({ clock: systemClock });
  const transports: RedisTransport[] = [];
  return {
    process(name, more = {}) {
      const transport = createRedisTransport({
        url: more.url ?? url, ca: more.ca, clock: systemClock, log: silentLog, process: name,
        directory: createLocalDirectory({ clock: systemClock, board }), maxima: { ...maxima, ...more.maxima },
      });
      transports.push(transport);
      return transport;
    },
    async close() {
      await Promise.all(transports.map((transport) => transport.close()));
    },
  };
}

/** Resolves when the condition holds; rejects when it does not in time. */
export async function within(timeoutMs: number, condition: () => boolean | Promise<boolean>, what = condition.toString()): Promise<void> {
  const endsAt = performance.now() + timeoutMs;
  while (!(await condition())) {
    if (performance.now() > endsAt) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await systemClock.sleep(20);
  }
}
