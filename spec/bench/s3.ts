// How fast S3 moves bytes and how much memory it takes: a server in a process of its own, a put and a get of 1 GiB, and a listing of
// many keys behind few prefixes: `npm run bench -- s3`.
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { listObjects } from '../../src/db/list-objects.ts';
import { objects } from '../../src/db/schema/objects.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { startS3 } from '../support/s3-server.ts';
import type { BenchRow } from './row.ts';

const chunk = Buffer.alloc(1024 * 1024, 'novact');
const sizeMiB = Number(process.env['NOVACT_BENCH_S3_MIB'] ?? 1024);
const agent = new Agent({ keepAlive: true });

interface Started {
  readonly port: number;
  readonly listings: readonly BenchRow[];
}

async function serve(folder: string): Promise<void> {
  const s3 = await startS3({ store: await openFilesystemStore({ folder }) });
  await s3.ask({ method: 'PUT', path: '/bench' });
  const now = systemClock.date();
  for (let first = 0; first < 100_000; first += 2_000) {
    await s3.database.db.insert(objects).values(Array.from({ length: 2_000 }, (_, index) => ({
      bucket: 'bench', key: `many/${String((first + index) % 50).padStart(2, '0')}/${first + index}`, blobId: `${first + index}`, sizeBytes: 1, etag: 'x',
        headers: {},
      metadata: {}, checksums: {}, projectId: '111111111111', modifiedAt: now,
    })));
  }
  const timed = async (name: string, query: { prefix: string; delimiter: string; marker: string }): Promise<BenchRow> => {
    const startedAt = performance.now();
    const page = await listObjects(s3.database.db, { bucket: 'bench', limit: 1000, ...query });
    return { name: `${name}: ${page.objects.length} keys, ${page.commonPrefixes.length} prefixes`, value: performance.now() - startedAt, unit: 'ms' };
  };
  await timed('warm', { prefix: 'many/', delimiter: '/', marker: '' });
  const listings = [
    await timed('list 100 000 keys behind 50 prefixes', { prefix: 'many/', delimiter: '/', marker: '' }),
    await timed('list a page in the middle', { prefix: '', delimiter: '', marker: 'many/25/' }),
    await timed('list a page with a delimiter', { prefix: 'many/25/', delimiter: '/', marker: '' }),
  ];
  process.send?.({ port: s3.port, listings });
}

function move(port: number, method: 'PUT' | 'GET'): Promise<number> {
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const headers = { 'x-spec-project': 'one', ...(method === 'PUT' ? { 'content-length': String(sizeMiB * chunk.length) } : {}) };
    const outgoing = request({ agent, host: '127.0.0.1', port, method, path: '/bench/large', headers }, (response) => {
      response.resume().on('end', () => {
        if (response.statusCode === 200) resolve(performance.now() - startedAt);
        else reject(new Error(`status ${response.statusCode}`));
      });
    });
    outgoing.on('error', reject);
    if (method === 'GET') outgoing.end();
    else Readable.from(Array.from({ length: sizeMiB }, () => chunk)).pipe(outgoing);
  });
}

const rssMiB = (pid: number): number => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

async function measure(method: 'PUT' | 'GET', server: { port: number; pid: number }): Promise<BenchRow[]> {
  const before = rssMiB(server.pid);
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, rssMiB(server.pid));
  }, 50);
  const ms = await move(server.port, method);
  clearInterval(watch);
  return [
    { name: `${method} of ${sizeMiB} MiB`, value: sizeMiB / (ms / 1000), unit: 'MiB/s' },
    { name: '  most memory of the server in it', value: most, unit: 'MiB', baseline: `before, ${before.toFixed(0)} MiB`, ratio: most / before },
  ];
}

export async function run(): Promise<readonly BenchRow[]> {
  const folder = mkdtempSync(join(tmpdir(), 's3-bench-'));
  const child = fork(fileURLToPath(import.meta.url), ['--serve', folder], { execArgv: ['--import', 'tsx'] });
  try {
    const started = await new Promise<Started>((resolve, reject) => {
      child.once('message', (message) => resolve(message as Started));
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    const server = { port: started.port, pid: child.pid ?? 0 };
    return [...(await measure('PUT', server)), ...(await measure('GET', server)), ...started.listings];
  } finally {
    child.kill();
    agent.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[2] === '--serve') await serve(process.argv[3] ?? '');
