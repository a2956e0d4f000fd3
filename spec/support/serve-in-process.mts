// A process of its own that serves compute@host1 and the scheduler's mailbox on the Redis it is given: `note` of i-kill ends it as kill -9
// does, `note` of i-throw throws. It tells its parent what it handles. A `place` ends when the parent says that it may.
import { once } from 'node:events';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createLocalDirectory } from '../../src/transport/local-directory.ts';
import { createRedisTransport } from '../../src/transport/redis-streams.ts';
import { compute, handlers, host1, scheduler } from '../contract/transport-protocol.ts';

const [, , url = ''] = process.argv;
const transport = createRedisTransport({
  url, clock: systemClock, log: silentLog, process: `compute@host1#${process.pid}`, directory: createLocalDirectory({ clock: systemClock }),
  maxima: { retryFirstDelayMs: 5, retryDelayMsMax: 20, claimIdleMs: 1500, claimEveryMs: 200, keepMs: 300, blockMs: 200 },
});
const say = (what: string): void => void process.send?.(what);
await transport.serve(host1, compute, handlers({
  note: async ({ instanceId, n }, { deliveries }) => {
    await systemClock.sleep(instanceId === 'i-kill' ? 50 : 100); // what is beside it is in hand when it kills
    if (instanceId === 'i-kill') process.kill(process.pid, 'SIGKILL');
    say(`${instanceId}:${n}:${deliveries}`);
    if (instanceId === 'i-throw') throw new Error('as always');
  },
}));
const ended = once(process, 'message');
await transport.serve({ role: 'scheduler' }, scheduler, {
  place: async ({ n }) => {
    say(`begun:${n}`);
    await ended;
    say(`placed:${n}`);
  },
}, { concurrencyMax: 2 });
say('serves');
