// How fast S3 is and what it takes: GET and PUT by size beside a bare server that streams the same file, listings of many keys, and the memory that a
// large object costs. `npm run bench -- s3`; NOVACT_BENCH_ROUNDS (default 5), NOVACT_BENCH_S3_MIB (of the large object; default 5120 where the disk has
// room for it), NOVACT_BENCH_S3 (`role`, `radosgw` beside it where it is installed, `up`, `pglite`; default all), NOVACT_BENCH_S3_ONLY (a pattern,
// `PUT (4|1)`: of the rates those, and nothing else).
import { statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { apply } from './load.ts';
import { measureListings } from './listing.ts';
import { measureMemory } from './memory.ts';
import { radosgwObstacle, startRadosgw } from './radosgw.ts';
import { checkBuilt, startBare, startObjectstoreRole, startUp, type S3Server, type Server } from './servers.ts';
import { large, measureRates, medium, small } from './throughput.ts';
import type { BenchRow } from '../row.ts';

const wanted = (process.env['NOVACT_BENCH_S3'] ?? 'role,up,pglite').split(',');

const isSelection = process.env['NOVACT_BENCH_S3_ONLY'] !== undefined;

async function largeMiB(): Promise<number> {
  const set = process.env['NOVACT_BENCH_S3_MIB'];
  if (set !== undefined) return Number(set);
  const { bavail, bsize } = await statfs(tmpdir());
  return bavail * bsize > 30 * 1024 ** 3 ? 5120 : 1024;
}

/** Its rates are measured beside the role only; a bucket of it as of the product. */
async function withRadosgw<T>(measure: (rival?: Server) => Promise<T>): Promise<T> {
  const obstacle = wanted.includes('radosgw') || !('NOVACT_BENCH_S3' in process.env) ? radosgwObstacle() : 'not asked for';
  if (obstacle !== undefined) {
    console.log(`radosgw is not measured: ${obstacle}`);
    return measure();
  }
  return withServer(startRadosgw(), measure);
}

export async function run(): Promise<readonly BenchRow[]> {
  checkBuilt();
  const bare = await startBare();
  try {
    return [
      ...(wanted.includes('role') ? await withServer(startObjectstoreRole(), (server) => measureRole(bare, server)) : []),
      ...(wanted.includes('up') ? await withServer(startUp('PostgreSQL'), (server) => measureUp(bare, server)) : []),
      ...(wanted.includes('pglite') ? await withServer(startUp('PGlite'), (server) => measureUp(bare, server)) : []),
    ];
  } finally {
    await bare.close();
  }
}

async function withServer<S extends Server, T>(starting: Promise<S>, measure: (server: S) => Promise<T>): Promise<T> {
  const server = await starting;
  try {
    await apply({ port: server.port, connections: 1, requests: 1, request: () => server.request('PUT', '/bench') });
    return await measure(server);
  } finally {
    await server.close();
  }
}

/** Memory first: afterwards the process is as large as the load has made it. */
async function measureRole(bare: Server, server: S3Server): Promise<BenchRow[]> {
  const ratesOf = () => withRadosgw((rival) => measureRates(bare, server, [small, medium, large], rival));
  if (isSelection) return ratesOf();
  const memory = await measureMemory(server, await largeMiB());
  const listings = server.db === undefined ? [] : await measureListings(server, server.db);
  return [...(await ratesOf()), ...listings, ...memory];
}

async function measureUp(bare: Server, server: S3Server): Promise<BenchRow[]> {
  if (isSelection) return measureRates(bare, server, [small, medium]);
  return [...(await measureRates(bare, server, [small, medium])), ...(await measureMemory(server, 1024))];
}
