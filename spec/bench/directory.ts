// A look at the directory of 300 hosts on a real Redis: answered from the cache that the server invalidates, and asked of the server each time;
// and how soon another process sees a change. `npm run bench -- directory`.
import { createClient } from 'redis';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import type { Directory, ServiceRecord } from '../../src/transport/directory.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';
import { startRedis } from '../support/redis-server.ts';
import { atLeast, atMost, median, type BenchRow } from './row.ts';

const hosts = 300;
const cachedLooks = 20_000;
const uncachedLooks = 400;
const changes = 200;
const rounds = 3;

const recordOf = (number: number): ServiceRecord => ({
  role: 'compute', host: `host-${number}`, process: `compute@host-${number}#1`, epoch: 1, version: 'bench', address: '10.0.0.1', hints: { load: 0 },
});

async function microseconds(times: number, look: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  for (let round = 0; round < times; round += 1) await look();
  return ((performance.now() - startedAt) * 1_000) / times;
}

/** From the change in one process to its sight in another, in ms, sorted. */
async function sight(writer: Directory, reader: Directory): Promise<number[]> {
  const announcement = await writer.announce({ ...recordOf(0), host: 'seen', process: 'compute@seen#1' });
  const times: number[] = [];
  for (let load = 1; load <= changes; load += 1) {
    const startedAt = performance.now();
    await announcement.update({ hints: { load } });
    for (;;) {
      const seen = (await reader.services('compute')).find(({ host }) => host === 'seen');
      if (seen?.hints?.['load'] === load) break;
      await new Promise(setImmediate);
    }
    times.push(performance.now() - startedAt);
  }
  await announcement.withdraw();
  return times.toSorted((a, b) => a - b);
}

export async function run(): Promise<readonly BenchRow[]> {
  const server = await startRedis();
  const [writer, reader] = [createRedisDirectory({ url: server.url, clock, log }), createRedisDirectory({ url: server.url, clock, log })];
  const bare = createClient({ url: server.url });
  bare.on('error', () => undefined);
  await bare.connect();
  try {
    const startedAt = performance.now();
    await Promise.all(Array.from({ length: hosts }, (_, number) => writer.announce(recordOf(number))));
    const announced = performance.now() - startedAt;
    await reader.services('compute');
    const ratios: { cached: number; uncached: number; asked: number }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const asked = await microseconds(uncachedLooks, () => bare.get('nv:{dir:compute}:version'));
      // What a reader without a cache does: the records as they are kept, and their meaning.
      const uncached = await microseconds(uncachedLooks, async () =>
        Object.values(await bare.hGetAll('nv:{dir:compute}:live')).map((text) => JSON.parse(text) as ServiceRecord));
      ratios.push({ cached: await microseconds(cachedLooks, () => reader.services('compute')), uncached, asked });
    }
    const of = (name: 'cached' | 'uncached' | 'asked'): number => median(ratios.map((one) => one[name]));
    const [cached, uncached, asked] = [of('cached'), of('uncached'), of('asked')];
    const seen = await sight(writer, reader);
    const p99 = seen[Math.floor(seen.length * 0.99)] ?? Number.NaN;
    return [
      {
        name: `look-up of ${hosts} hosts, cached`, value: cached, unit: 'µs', baseline: `uncached, ${uncached.toFixed(0)} µs`, ratio: uncached / cached,
        target: atLeast(uncached / cached, 20, '× faster'),
      },
      { name: 'the same, beside one bare GET', value: cached, unit: 'µs', baseline: `GET, ${asked.toFixed(0)} µs`, ratio: asked / cached },
      { name: 'a change is seen elsewhere, median', value: median(seen), unit: 'ms' },
      { name: 'a change is seen elsewhere, 99 %', value: p99, unit: 'ms', target: atMost(p99, 10, 'ms') },
      { name: `announcing ${hosts} hosts`, value: announced, unit: 'ms' },
    ];
  } finally {
    await Promise.all([writer.close(), reader.close()]);
    bare.destroy();
    await server.close();
  }
}
