// The transport contract over Redis streams, on a real server. Processes are transports in this one; one that is killed says nothing more,
// and its lease runs out.
import { afterAll, beforeAll } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createDirectoryBoard, createLocalDirectory } from '../../src/transport/local-directory.ts';
import { createRedisTransport, type RedisTransport } from '../../src/transport/redis-streams.ts';
import { transportSuite, type Cloud } from '../contract/transport-suite.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

let redis: RedisServer;
beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());

transportSuite('redis', async (): Promise<Cloud> => {
  await redis.command('FLUSHALL');
  const board = createDirectoryBoard({ clock: systemClock });
  const leaseMs = 500;
  const processes = new Map<string, { transport: RedisTransport; kill: () => void }>();
  return {
    process: async (process) => {
      const directory = createLocalDirectory({ clock: systemClock, board, leaseMs, renewMs: 50 });
      const transport = createRedisTransport({
        url: redis.url, clock: systemClock, log: silentLog, process, directory,
        maxima: { retryFirstDelayMs: 2, retryDelayMsMax: 10, blockMs: 500 },
      });
      processes.set(process, { transport, kill: () => directory.kill() });
      return transport;
    },
    kill: async (name) => {
      const process = processes.get(name);
      process?.transport.abandon();
      process?.kill();
      await systemClock.sleep(leaseMs + 1);
    },
    close: async () => {
      await Promise.all(Array.from(processes.values(), ({ transport }) => transport.close()));
    },
  };
});
