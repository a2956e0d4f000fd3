// The other process of the mailbox benchmark: takes messages of a mailbox of the product's (`serve URL`), or answers a bare stream with another
// (`pong URL`), without groups, acknowledgement or meaning.
import { Redis } from 'ioredis';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';
import { createRedisTransport } from '../../src/transport/redis-streams.ts';

const [, , mode, url = ''] = process.argv;

async function serve(): Promise<void> {
  const directory = createRedisDirectory({ url, clock, log });
  const transport = createRedisTransport({ url, clock, log, process: 'compute@bench#1', directory });
  let told = 0;
  await transport.serve({ role: 'compute', host: 'bench' }, computeProtocol, {
    performOperation: () => void (told += 1),
    readConsole: () => ({ output: String(told), timestamp: clock.date().toISOString() }),
    prepareIncoming: refuse, receiveIncoming: refuse, forgetIncoming: refuse, incomingState: refuse,
  } as never, { concurrencyMax: 256, depthMax: 1_000_000 });
}

function refuse(): never {
  throw new Error('not in this benchmark');
}

async function pong(): Promise<void> {
  const [reader, writer] = [new Redis(url), new Redis(url)];
  for (let last = '$'; ;) {
    const found = await reader.xread('BLOCK', 0, 'STREAMS', 'ping', last);
    for (const [id, fields] of found?.[0]?.[1] ?? []) {
      last = id;
      await writer.xadd('pong', '*', ...(fields ?? []));
    }
  }
}

if (mode === 'pong') void pong();
else await serve();
process.stdout.write('ready\n');
