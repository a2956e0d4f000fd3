// Pages of a listing, in a bucket with few keys and in one with a hundred times as many: at its beginning, in its middle, and with a delimiter.
import type { Db } from '../../../src/db/db.ts';
import { objects } from '../../../src/db/schema/objects.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { apply, Connection } from './load.ts';
import type { Server } from './servers.ts';
import { atMost, median, type BenchRow } from '../row.ts';

const batch = 2_000;
const times = 15;

/** Keys behind 50 prefixes, without content: a listing does not look at it. */
async function fill(db: Db, bucket: string, count: number): Promise<void> {
  const now = systemClock.date();
  for (let first = 0; first < count; first += batch) {
    const keys = Array.from({ length: Math.min(batch, count - first) }, (_, index) => first + index);
    await db.insert(objects).values(keys.map((number) => ({
      bucket, key: `many/${String(number % 50).padStart(2, '0')}/${String(number).padStart(7, '0')}`, blobId: `${bucket}-${number}`, sizeBytes: 1, etag: 'x',
      headers: {}, metadata: {}, checksums: {}, projectId: '111111111111', modifiedAt: now,
    })));
  }
}

export async function measureListings(product: Server, db: Db): Promise<BenchRow[]> {
  for (const [bucket, count] of [['few', 2_000], ['many', 100_000]] as const) {
    await apply({ port: product.port, connections: 1, requests: 1, request: () => product.request('PUT', `/${bucket}`) });
    await fill(db, bucket, count);
  }
  const connection = await Connection.open(product.port);
  const timed = async (path: string): Promise<number> => {
    const request = product.request('GET', path);
    const took: number[] = [];
    for (let time = 0; time < times; time += 1) {
      const startedAt = performance.now();
      await connection.ask(request);
      took.push(performance.now() - startedAt);
    }
    return median(took);
  };
  try {
    const base = await timed('/few?list-type=2');
    const beside = { baseline: `a page of a bucket of 2 000, ${base.toFixed(1)} ms`, unit: 'ms' };
    const pages = [
      ['the first page of 100 000 keys', '/many?list-type=2'],
      ['a page in the middle of them', `/many?list-type=2&start-after=${encodeURIComponent('many/25/')}`],
      ['the last page', `/many?list-type=2&start-after=${encodeURIComponent('many/49/0050')}`],
    ] as const;
    const rows: BenchRow[] = [];
    for (const [name, path] of pages) {
      const ms = await timed(path);
      rows.push({ name: `${name}, 1 000 keys`, value: ms, ratio: ms / base, target: atMost(ms / base, 1.5, '×'), ...beside });
    }
    const grouped = await timed(`/many?list-type=2&prefix=${encodeURIComponent('many/')}&delimiter=%2F`);
    return [...rows, { name: '100 000 keys behind 50 prefixes, by a delimiter', value: grouped, unit: 'ms' }];
  } finally {
    connection.close();
  }
}
