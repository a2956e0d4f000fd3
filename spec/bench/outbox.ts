// What the outbox costs: a message over three hops (scheduler, compute, objectstore), each of which writes a row in a transaction and sends the next
// one, through the outbox and the relay, beside the same with the message sent after the commit, as one would without it. Three transports over a
// real Redis and a PostgreSQL that waits for the disk. `npm run bench -- outbox`.
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRelay } from '../../src/actors/operations/relay.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { openDatabase } from '../../src/db/connect.ts';
import type { Db } from '../../src/db/db.ts';
import { insertOutbox } from '../../src/db/outbox.ts';
import { settings } from '../../src/db/schema/hosts.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { announceWork } from '../../src/messages/announcements.ts';
import { computeProtocol } from '../../src/messages/compute.ts';
import { objectstoreProtocol } from '../../src/messages/objectstore.ts';
import type { Protocol } from '../../src/messages/protocol.ts';
import { schedulerProtocol } from '../../src/messages/scheduler.ts';
import { createRedisDirectory } from '../../src/transport/redis-directory.ts';
import { createRedisTransport } from '../../src/transport/redis-streams.ts';
import type { Address, Relay, Transport } from '../../src/transport/transport.ts';
import { startBenchDatabase } from '../support/bench-cloud.ts';
import { startRedis } from '../support/redis-server.ts';
import { atMost, median, type BenchRow } from './row.ts';

const chains = 150;
const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 3);

type Way = 'outbox' | 'direct';

/** One process of the chain. */
interface Hop {
  readonly db: Db;
  readonly transport: Transport;
  readonly relay: Relay;
  close(): Promise<void>;
}

/** Where a message goes from here, by both ways. */
interface Next {
  readonly owner: string;
  readonly kind: string;
  readonly address: Address;
  readonly protocol: Protocol;
  readonly verb: string;
}

const next: readonly Next[] = [
  { owner: 'scheduler', kind: 'instance.run', address: { role: 'scheduler' }, protocol: schedulerProtocol as Protocol, verb: 'placeInstance' },
  {
    owner: 'compute@bench', kind: 'instance.run', address: { role: 'compute', host: 'bench' }, protocol: computeProtocol as unknown as Protocol,
    verb: 'performOperation',
  },
  { owner: 'objectstore', kind: 'image.register', address: { role: 'objectstore' }, protocol: objectstoreProtocol as Protocol, verb: 'performOperation' },
];

export async function run(): Promise<readonly BenchRow[]> {
  const folder = await mkdtemp(join(tmpdir(), 'novact-bench-'));
  await chmod(folder, 0o755);
  const [database, server] = await Promise.all([startBenchDatabase(join(folder, 'postgres')), startRedis()]);
  const hops: Hop[] = [];
  try {
    for (const name of ['api@bench', 'scheduler@bench', 'compute@bench', 'objectstore@bench']) hops.push(await openHop(name, database.url, server.url));
    const [first, second, third, last] = hops;
    if (first === undefined || second === undefined || third === undefined || last === undefined) throw new Error('a hop is missing');
    const waiting = new Map<string, () => void>();
    let way: Way = 'direct';
    const on = (hop: Hop, to: number) => async ({ operationId }: { operationId: string }) => send(hop, operationId, next[to], way);
    await serve(second, next[0], { placeInstance: on(second, 1) });
    await serve(third, next[1], { performOperation: on(third, 2) });
    await serve(last, next[2], { performOperation: async ({ operationId }: { operationId: string }) => {
      await last.db.transaction((tx) => write(tx, operationId));
      waiting.get(operationId)?.();
    } });
    const chain = async (): Promise<number> => {
      const id = newId('op');
      const startedAt = performance.now();
      const arrived = new Promise<void>((resolve) => waiting.set(id, resolve));
      await send(first, id, next[0], way);
      await arrived;
      waiting.delete(id);
      return performance.now() - startedAt;
    };
    const several = async (chosen: Way): Promise<number> => {
      way = chosen;
      const times: number[] = [];
      for (let count = 0; count < chains; count += 1) times.push(await chain());
      return median(times);
    };
    await several('direct');
    await several('outbox');
    const measured: { direct: number; outbox: number }[] = [];
    for (let round = 0; round < rounds; round += 1) measured.push({ direct: await several('direct'), outbox: await several('outbox') });
    return rowsOf(measured);
  } finally {
    for (const hop of hops) await hop.close();
    await server.close();
    await database.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function openHop(name: string, databaseUrl: string, url: string): Promise<Hop> {
  const { db, close } = await openDatabase(databaseUrl, { connectionsMax: 4 });
  const directory = createRedisDirectory({ url, clock, log });
  const transport = createRedisTransport({ url, clock, log, process: `${name}#1`, directory });
  const system = createActorSystem({ name, clock, log, onFatal: (error) => { throw error; } });
  const relay = startRelay({ db, transport, clock, log, system });
  return {
    db, transport, relay,
    async close() {
      await system.stop(5_000);
      await transport.close();
      await directory.close();
      await close();
    },
  };
}

async function serve(hop: Hop, at: Next | undefined, handlers: object): Promise<void> {
  if (at === undefined) throw new Error('there is no such hop');
  const missing = (): never => { throw new Error('not in this benchmark'); };
  const others = Object.fromEntries(Object.keys(at.protocol.table).map((verb) => [verb, missing]));
  await hop.transport.serve(at.address, at.protocol, { ...others, ...handlers });
}

/** The state that the message tells of: one row, as small as can be. */
const write = (tx: Pick<Db, 'insert'>, id: string) =>
  tx.insert(settings).values({ key: 'bench', value: id }).onConflictDoUpdate({ target: settings.key, set: { value: id } });

async function send(hop: Hop, id: string, to: Next | undefined, way: Way): Promise<void> {
  if (to === undefined) throw new Error('there is no such hop');
  const resourceId = to.kind.startsWith('image') ? 'ami-0000000000000001' : 'i-0000000000000001';
  if (way === 'outbox') {
    await hop.db.transaction(async (tx) => {
      await write(tx, id);
      await insertOutbox(tx, [announceWork({ id, kind: to.kind, resourceId, requestId: 'bench', owner: to.owner })], clock.date());
    });
    return hop.relay.kick();
  }
  await hop.db.transaction((tx) => write(tx, id));
  const body = to.kind.startsWith('image') ? { imageId: resourceId, operationId: id } : { instanceId: resourceId, operationId: id };
  await hop.transport.tell(to.address, to.protocol as never, to.verb as never, body as never, { requestId: 'bench' });
}

function rowsOf(measured: readonly { direct: number; outbox: number }[]): BenchRow[] {
  const of = (pick: (round: { direct: number; outbox: number }) => number): number => median(measured.map(pick));
  const [direct, outbox, more] = [of((one) => one.direct), of((one) => one.outbox), of((one) => one.outbox - one.direct)];
  return [
    { name: 'three hops through the outbox', value: outbox, unit: 'ms', baseline: `sent after the commit, ${direct.toFixed(1)} ms`, ratio: outbox / direct },
    { name: 'what the outbox adds', value: more, unit: 'ms', target: atMost(more, 5, 'ms') },
    { name: 'rounds', value: measured.length, unit: '' },
  ];
}
