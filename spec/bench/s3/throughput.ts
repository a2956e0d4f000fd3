// Rates of GET and PUT by size, beside the bare server: round by round, one after the other, and of each the median.
import { createHash } from 'node:crypto';
import { apply, type Body } from './load.ts';
import type { S3Server, Server } from './servers.ts';
import { atLeast, median, type BenchRow } from '../row.ts';

const kib = 1024;
const mib = 1024 * kib;

export interface Case {
  readonly sizeBytes: number;
  readonly connections: number;
  /** In one round. */
  readonly gets: number;
  readonly puts: number;
  /** Of the bare server's rate. */
  readonly ratioMin: number;
}

export const small: Case = { sizeBytes: 4 * kib, connections: 16, gets: 6_000, puts: 1_500, ratioMin: 0.5 };
export const medium: Case = { sizeBytes: mib, connections: 8, gets: 600, puts: 200, ratioMin: 0.8 };
export const large: Case = { sizeBytes: 64 * mib, connections: 4, gets: 12, puts: 8, ratioMin: 0.8 };

/** So many keys are got and put in turn: none is asked for again at once. */
const keys = 64;
const rounds = Number(process.env['NOVACT_BENCH_ROUNDS'] ?? 5);

/** Of the rates, those with such a name. */
const only = new RegExp(process.env['NOVACT_BENCH_S3_ONLY'] ?? '');

interface Work {
  readonly name: string;
  readonly requests: number;
  readonly method: 'GET' | 'PUT';
  readonly body?: Body;
  readonly payloadSha256?: string;
}

const sizeText = ({ sizeBytes }: Case): string => (sizeBytes < mib ? `${sizeBytes / kib} KiB` : `${sizeBytes / mib} MiB`);

function worksOf(one: Case): readonly Work[] {
  const piece = Buffer.alloc(Math.min(one.sizeBytes, mib), 'novact');
  const body = { piece, times: one.sizeBytes / piece.length };
  const hash = createHash('sha256');
  for (let time = 0; time < body.times; time += 1) hash.update(piece);
  const size = sizeText(one);
  return [
    { name: `PUT ${size}`, requests: one.puts, method: 'PUT', body },
    { name: `PUT ${size}, its body signed too`, requests: one.puts, method: 'PUT', body, payloadSha256: hash.digest('hex') },
    { name: `GET ${size}`, requests: one.gets, method: 'GET' },
  ];
}

/** Requests a second. */
async function rateOf(server: Server, one: Case, { requests, method, body, payloadSha256 }: Work): Promise<number> {
  const pathOf = (number: number): string => (server.name.startsWith('a bare') ? `/${one.sizeBytes}-${number}` : `/bench/${one.sizeBytes}-${number}`);
  const count = Math.min(keys, one.puts);
  const prepared = Array.from({ length: count }, (_, number) => server.request(method, pathOf(number), body, payloadSha256));
  const request = (number: number) => prepared[number % count] ?? server.request(method, pathOf(0), body, payloadSha256);
  return requests / (await apply({ port: server.port, connections: one.connections, requests, request }) / 1000);
}

/** Issue 5: ahead of it in every cell by so much. */
const rivalRatioMin = 1.5;

/** The bucket `bench` must be there. Beside a rival, too, where there is one. */
export async function measureRates(bare: Server, product: S3Server, cases: readonly Case[], rival?: Server): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const one of cases) {
    for (const work of worksOf(one).filter(({ name }) => only.test(name))) {
      const [bares, products, rivals]: [number[], number[], number[]] = [[], [], []];
      // The first round warms up, and makes what is got.
      for (let round = 0; round <= rounds; round += 1) {
        const [of, mine] = [await rateOf(bare, one, work), await rateOf(product, one, work)];
        const its = rival === undefined ? undefined : await rateOf(rival, one, work);
        if (round === 0) continue;
        bares.push(of);
        products.push(mine);
        if (its !== undefined) rivals.push(its);
      }
      const [of, mine] = [median(bares), median(products)];
      // Its body signed too is one digest more than the bare server makes.
      const target = work.payloadSha256 === undefined ? { target: atLeast(mine / of, one.ratioMin, '×') } : {};
      rows.push({ name: `${work.name}, ${product.name}`, value: mine, unit: '/s', baseline: `${bare.name}, ${of.toFixed(0)} /s`, ratio: mine / of, ...target });
      if (rival === undefined) continue;
      const [its, row] = [median(rivals), `${work.name}, ${product.name}`];
      const ratio = mine / its;
      rows.push({ name: row, value: mine, unit: '/s', baseline: `${rival.name}, ${its.toFixed(0)} /s`, ratio, target: atLeast(ratio, rivalRatioMin, '×') });
    }
  }
  return rows;
}
