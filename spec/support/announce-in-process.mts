// A process of its own that announces host h9 in the directory of the Redis it is given, and tells whether it holds its lease.
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';

const [, , url = ''] = process.argv;
const directory = createRedisDirectory({ url, clock: systemClock, log: silentLog, leaseMs: 400, renewMs: 80 });
const announcement = await directory.announce({ role: 'compute', host: 'h9', process: `h9#${process.pid}`, epoch: 1, version: '1.0' });
// The first thing that a process does after it was paused is what it had in hand: here, looking whether it still may.
let last = performance.now();
let heldOnWaking: boolean | undefined;
(function watch(): void {
  const now = performance.now();
  if (now - last > 300) heldOnWaking = announcement.held();
  last = now;
  setImmediate(watch);
})();
process.on('message', () => {
  setTimeout(() => process.send?.({ heldOnWaking }), 20);
});
process.send?.('announced');
