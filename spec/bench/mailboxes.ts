// Mailboxes between two processes over a real Redis: questions with 1, 16 and 128 in flight, and messages one way; beside a bare ping-pong of two
// processes over two streams, PING by redis-benchmark and by the same client of the same process, and redis-benchmark's XADD with 50 clients, all in
// the same minutes on the same server.
// `npm run bench -- mailboxes`.
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Redis } from 'ioredis';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';
import { createRedisTransport } from '../../src/transport/redis-streams.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';
import { atLeast, atMost, median, type BenchRow } from './row.ts';

const execute = promisify(execFile);
const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 5);
const singles = 400;
const tells = 60_000;
const tellsAtOnce = 512;
const to = { role: 'compute', host: 'bench' } as const;
/** As long as an envelope of the product's. */
const payload = 'x'.repeat(330);

interface Round {
  readonly ping: number;
  readonly ownPing: number;
  readonly bare: number;
  readonly ask: number;
  readonly ask16: number;
  readonly ask128: number;
  readonly xadd: number;
  readonly told: number;
}

export async function run(): Promise<readonly BenchRow[]> {
  const server = await startRedis();
  const children: ChildProcess[] = [];
  const directory = createRedisDirectory({ url: server.url, clock, log });
  const transport = createRedisTransport({ url: server.url, clock, log, process: 'api@bench#1', directory });
  const bare = { reader: new Redis(server.url), writer: new Redis(server.url) };
  try {
    children.push(await startPeer('serve', server), await startPeer('pong', server));
    // Warm: a process of the product lives long.
    await askMany(transport, 1_000, 16);
    await askOnes(transport, 1_500);
    await pingPong(bare, 200);
    const measured: Round[] = [];
    for (let round = 0; round < rounds; round += 1) measured.push(await measure(server, transport, bare));
    return rowsOf(measured);
  } finally {
    for (const child of children) child.kill('SIGKILL');
    bare.reader.disconnect();
    bare.writer.disconnect();
    await transport.close();
    await directory.close();
    await server.close();
  }
}

/** The baselines between the product's own, so that what else the machine does hits both. */
async function measure(server: RedisServer, transport: Transport, bare: Bare): Promise<Round> {
  const ping = await redisBenchmark(server, ['-c', '1', '-n', '5000', 'PING'], 'p50');
  const ownPing = await pings(bare.writer, singles);
  const firstBare = await pingPong(bare, singles);
  const ask = await askOnes(transport, singles);
  const secondBare = await pingPong(bare, singles);
  const ask16 = await askMany(transport, 1_500, 16);
  const ask128 = await askMany(transport, 4_000, 128);
  const firstAdd = await redisBenchmark(server, ['-c', '50', '-n', '20000', 'XADD', 'benchmark', 'MAXLEN', '~', '1000', '*', 'e', payload], 'rps');
  const told = await tellMany(transport);
  const secondAdd = await redisBenchmark(server, ['-c', '50', '-n', '20000', 'XADD', 'benchmark', 'MAXLEN', '~', '1000', '*', 'e', payload], 'rps');
  return { ping, ownPing, bare: (firstBare + secondBare) / 2, ask, ask16, ask128, xadd: (firstAdd + secondAdd) / 2, told };
}

async function startPeer(mode: 'serve' | 'pong', server: RedisServer): Promise<ChildProcess> {
  const child = spawn(process.execPath, ['--import', 'tsx', join(import.meta.dirname, '../support/bench-mailbox-peer.ts'), mode, server.url],
    { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise<void>((resolve, reject) => {
    child.stdout?.once('data', () => resolve());
    child.once('exit', (code) => reject(new Error(`the other process ended with ${code}`)));
  });
  return child;
}

const ask = (transport: Transport) => transport.ask(to, computeProtocol, 'readConsole', { instanceId: 'i-0000000000000001' });

/** The median in ms, one after another. */
async function askOnes(transport: Transport, count: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < count; round += 1) {
    const startedAt = performance.now();
    await ask(transport);
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

/** Answers a second. Each asker is about an instance of its own, so that none waits for another. */
async function askMany(transport: Transport, count: number, inFlight: number): Promise<number> {
  let asked = 0;
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: inFlight }, async (_, asker) => {
    const instanceId = `i-${String(asker).padStart(16, '0')}`;
    while (asked < count) {
      asked += 1;
      await transport.ask(to, computeProtocol, 'readConsole', { instanceId });
    }
  }));
  return (count * 1_000) / (performance.now() - startedAt);
}

/** Messages a second, from the first sent to the last handled. */
async function tellMany(transport: Transport): Promise<number> {
  const handled = async () => Number((await ask(transport)).output);
  const before = await handled();
  let sent = 0;
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: tellsAtOnce }, async (_, sender) => {
    const instanceId = `i-${String(sender).padStart(16, '0')}`;
    while (sent < tells) {
      sent += 1;
      await transport.tell(to, computeProtocol, 'performOperation', { instanceId, operationId: 'op-0000000000000001' });
    }
  }));
  while ((await handled()) < before + sent) await clock.sleep(5);
  return (sent * 1_000) / (performance.now() - startedAt);
}

interface Bare {
  readonly reader: Redis;
  readonly writer: Redis;
}

/** The median in ms of one XADD there and one back. */
async function pingPong({ reader, writer }: Bare, count: number): Promise<number> {
  const times: number[] = [];
  let last = (await writer.xinfo('STREAM', 'pong').catch(() => undefined)) === undefined ? '0' : '$';
  for (let round = 0; round < count; round += 1) {
    const startedAt = performance.now();
    const answer = reader.xread('BLOCK', 5_000, 'STREAMS', 'pong', last);
    await writer.xadd('ping', '*', 'e', payload);
    const entries = (await answer)?.[0]?.[1] ?? [];
    last = entries.at(-1)?.[0] ?? last;
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

/** The median in ms of the client's own PING, one after another. */
async function pings(client: Redis, count: number): Promise<number> {
  const times: number[] = [];
  for (let round = 0; round < count; round += 1) {
    const startedAt = performance.now();
    await client.ping();
    times.push(performance.now() - startedAt);
  }
  return median(times);
}

/** By its CSV: requests a second, or the median latency in ms. */
async function redisBenchmark(server: RedisServer, words: readonly string[], what: 'rps' | 'p50'): Promise<number> {
  const { stdout } = await execute('redis-benchmark', ['-p', String(server.port), '--csv', ...words], { timeout: 60_000 });
  const cells = stdout.trim().split('\n').at(-1)?.split('","').map((cell) => Number(cell.replaceAll('"', ''))) ?? [];
  return (what === 'rps' ? cells[1] : cells[4]) ?? Number.NaN;
}

function rowsOf(measured: readonly Round[]): BenchRow[] {
  const of = (pick: (round: Round) => number): number => median(measured.map(pick));
  const ownPing = of((one) => one.ownPing);
  const [ping, bare, single, xadd, told] = [of((one) => one.ping), of((one) => one.bare), of((one) => one.ask), of((one) => one.xadd), of((one) => one.told)];
  const [toBare, toPing, toXadd] = [of((one) => one.ask / one.bare), of((one) => one.ask / one.ping), of((one) => one.told / one.xadd)];
  return [
    {
      name: 'ask, one in flight, median', value: single, unit: 'ms', baseline: `bare ping-pong, ${bare.toFixed(2)} ms`, ratio: toBare,
      target: atMost(toBare, 2, '×'),
    },
    {
      name: 'ask, one in flight, median', value: single, unit: 'ms', baseline: `redis-benchmark PING, ${ping.toFixed(3)} ms`, ratio: toPing,
      target: atMost(toPing, 10, '×'),
    },
    {
      name: 'ask, one in flight, median', value: single, unit: 'ms', baseline: `PING by ioredis, ${ownPing.toFixed(3)} ms`,
      ratio: of((one) => one.ask / one.ownPing),
    },
    { name: 'ask, 16 in flight', value: of((one) => one.ask16), unit: '1/s' },
    { name: 'ask, 128 in flight', value: of((one) => one.ask128), unit: '1/s' },
    { name: 'one way, to handled', value: told, unit: '1/s', baseline: `XADD -c 50, ${xadd.toFixed(0)}/s`, ratio: toXadd, target: atLeast(toXadd, 0.5, '×') },
    { name: 'rounds', value: measured.length, unit: '' },
  ];
}
