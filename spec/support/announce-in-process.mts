// A process of its own that announces host h9 in the directory of the Redis it is given, and tells whether it holds its lease.
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';

const [, , url = '', leaseMs, renewMs] = process.argv;
const directory = createRedisDirectory({ url, clock: systemClock, log: silentLog, leaseMs: Number(leaseMs), renewMs: Number(renewMs) });
const announcement = await directory.announce({ role: 'compute', host: 'h9', process: `h9#${process.pid}`, epoch: 1, version: '1.0' });
// The first thing that a process does after it was paused is what it had in hand: here, looking whether it still may. The longest pause is the
// one that was meant: a loaded machine makes some of its own.
let last = performance.now();
let longestMs = 300;
let heldOnWaking: boolean | undefined;
(function watch(): void {
  const now = performance.now();
  if (now - last > longestMs) {
    heldOnWaking = announcement.held();
    longestMs = now - last;
  }
  last = now;
  setImmediate(watch);
})();
process.on('message', () => {
  setTimeout(() => process.send?.({ heldOnWaking }), 20);
});
process.send?.('announced');
