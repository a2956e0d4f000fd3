// Messages per second and ask round trips of the actor runtime and the local transport, each beside bare nact in the
// same minute of the same process: absolute figures move with the machine, ratios do not.
// Run: npm run bench -- runtime; with the heap of an actor: node --import tsx --expose-gc scripts/bench.ts runtime
import { dispatch, query, spawn, start, stop, type ActorSystemRef, type Ref as NactRef } from 'nact';
import { z } from 'zod';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import type { ActorSystem, ReplyTo } from '../../src/actors/runtime/actor.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { protocol } from '../../src/messages/protocol.ts';
import { createLocalTransport } from '../../src/transport/local.ts';
import type { Transport } from '../../src/transport/transport.ts';
import { median, type BenchRow } from './row.ts';

const rounds = 5;
const nothing = (): void => undefined;
let systems = 0;

const bareSystem = (): ActorSystemRef => {
  systems += 1;
  return start({ name: `bench-${systems}` } as never); // nact takes a name, whatever its types say
};

const layerSystem = (): ActorSystem => {
  systems += 1;
  return createActorSystem({ name: `bench-${systems}`, clock: systemClock, log: silentLog, onFatal: (error) => { throw error; } });
};

/** Calls `send` so often and resolves with the calls per second when `done` was called as often. */
function burst(count: number, send: (n: number) => void): { rate: Promise<number>; done: () => void } {
  const startedAt = performance.now();
  let left = count;
  let finish: (rate: number) => void = nothing;
  const rate = new Promise<number>((resolve) => { finish = resolve; });
  queueMicrotask(() => {
    for (let n = 0; n < count; n += 1) send(n);
  });
  return { rate, done: () => {
    left -= 1;
    if (left === 0) finish(count / ((performance.now() - startedAt) / 1000));
  } };
}

async function bareTell(count: number, children: number): Promise<number> {
  const root = bareSystem();
  let done = nothing;
  const parent = spawn(root, (state = 0) => {
    done();
    return state;
  }, 'parent');
  for (let n = 0; n < children; n += 1) spawn(parent, (state = 0) => state, `c${n}`);
  const measured = burst(count, (n) => dispatch(parent as NactRef<number>, n));
  done = measured.done;
  const rate = await measured.rate;
  stop(root);
  return rate;
}

async function layerTell(count: number, children: number): Promise<number> {
  const system = layerSystem();
  const leaf = { kind: 'leaf', init: () => 0, handle: () => undefined };
  let done = nothing;
  const ready = new Promise<void>((resolve) => { done = resolve; });
  const parent = system.spawn<number, number, void>({
    kind: 'parent',
    mailboxMax: 1e7,
    init: (context) => {
      for (let n = 0; n < children; n += 1) context.spawn(leaf, `c${n}`, undefined);
      return 0;
    },
    handle: () => done(),
  }, 'parent', undefined);
  system.tell(parent, -1);
  await ready;
  const measured = burst(count, (n) => system.tell(parent, n));
  done = measured.done;
  const rate = await measured.rate;
  await system.stop(60_000);
  return rate;
}

/** Calls per second with so many in flight. */
async function inFlight(count: number, width: number, call: (n: number) => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await call(next);
    }
  };
  await Promise.all(Array.from({ length: width }, worker));
  return count / ((performance.now() - startedAt) / 1000);
}

async function bareAsk(count: number, width: number): Promise<number> {
  const root = bareSystem();
  const echo = spawn(root, (_state: unknown, message: { from: NactRef<number>; n: number }) => dispatch(message.from, message.n), 'echo');
  const rate = await inFlight(count, width, (n) => query(echo, (from: NactRef<number>) => ({ from, n }), 30_000));
  stop(root);
  return rate;
}

async function layerAsk(count: number, width: number): Promise<number> {
  const system = layerSystem();
  const echo = system.spawn<number, { replyTo: ReplyTo<number>; n: number }, void>(
    { kind: 'echo', init: () => 0, handle: (_state, { replyTo, n }) => replyTo.answer(n) }, 'echo', undefined);
  const rate = await inFlight(count, width, (n) => system.ask(echo, (replyTo: ReplyTo<number>) => ({ replyTo, n }), { timeoutMs: 30_000 }));
  await system.stop(60_000);
  return rate;
}

const bench = protocol('compute', {
  note: { doc: 'A tell.', body: z.object({ instanceId: z.string(), n: z.number() }) },
  echo: { doc: 'An ask.', body: z.object({ n: z.number() }), reply: z.object({ n: z.number() }) },
});
const to = { role: 'compute', host: 'bench' } as const;

type Measure = (transport: Transport, onNote: (done: () => void) => void) => Promise<number>;

async function withTransport(measure: Measure): Promise<number> {
  const transport = createLocalTransport({ clock: systemClock, log: silentLog, process: 'bench' });
  let done = nothing;
  await transport.serve(to, bench, { note: () => done(), echo: ({ n }) => ({ n }) }, { depthMax: 1e6 });
  const rate = await measure(transport, (given) => { done = given; });
  await transport.close();
  return rate;
}

const transportTell = (count: number): Promise<number> => withTransport((transport, onNote) => {
  const measured = burst(count, (n) => void transport.tell(to, bench, 'note', { instanceId: `i-${n % 100}`, n }));
  onNote(measured.done);
  return measured.rate;
});

const transportAsk = (count: number, width: number): Promise<number> =>
  withTransport((transport) => inFlight(count, width, (n) => transport.ask(to, bench, 'echo', { n })));

/** Bytes of heap for each idle actor; undefined without --expose-gc. */
async function heapPerActor(count: number, fill: (n: number) => void): Promise<number | undefined> {
  if (globalThis.gc === undefined) return undefined;
  globalThis.gc();
  const before = process.memoryUsage().heapUsed;
  for (let n = 0; n < count; n += 1) fill(n);
  for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => { setImmediate(resolve); });
  globalThis.gc();
  return (process.memoryUsage().heapUsed - before) / count;
}

async function memoryRow(): Promise<BenchRow[]> {
  const count = 50_000;
  const root = bareSystem();
  const bare = await heapPerActor(count, (n) => spawn(root, (state = 0) => state, `a${n}`));
  stop(root);
  const system = layerSystem();
  const leaf = { kind: 'leaf', init: () => 0, handle: () => undefined };
  const layer = await heapPerActor(count, (n) => system.spawn(leaf, `a${n}`, undefined));
  await system.stop(60_000);
  if (bare === undefined || layer === undefined) return [];
  return [{ name: 'heap per idle actor', value: layer, unit: 'B', ratio: layer / bare, baseline: 'bare nact' }];
}

/** Both in turn, so that what else the machine does hits both; the medians of the rounds. */
async function beside(name: string, baseline: string, measure: () => Promise<number>, measureBaseline: () => Promise<number>): Promise<BenchRow> {
  const values: number[] = [];
  const baselines: number[] = [];
  await measureBaseline();
  await measure();
  for (let round = 0; round < rounds; round += 1) {
    baselines.push(await measureBaseline());
    values.push(await measure());
  }
  return { name, value: median(values), unit: '1/s', ratio: median(values) / median(baselines), baseline };
}

export async function run(): Promise<readonly BenchRow[]> {
  return [
    await beside('tell, one actor', 'bare nact', () => layerTell(100_000, 0), () => bareTell(100_000, 0)),
    await beside('tell, parent of 10 000 children', 'the same without children', () => layerTell(20_000, 10_000), () => layerTell(20_000, 0)),
    await beside('ask, one in flight', 'bare nact', () => layerAsk(20_000, 1), () => bareAsk(20_000, 1)),
    await beside('ask, 64 in flight', 'bare nact', () => layerAsk(50_000, 64), () => bareAsk(50_000, 64)),
    await beside('local transport tell', 'bare nact tell', () => transportTell(20_000), () => bareTell(20_000, 0)),
    await beside('local transport ask, one in flight', 'bare nact ask', () => transportAsk(5000, 1), () => bareAsk(5000, 1)),
    await beside('local transport ask, 64 in flight', 'bare nact ask', () => transportAsk(20_000, 64), () => bareAsk(20_000, 64)),
    ...(await memoryRow()),
  ];
}
