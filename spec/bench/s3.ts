// How fast S3 moves bytes and how much memory it takes: a server in a process of its own, a put and a get of 1 GiB, and a listing of
// many keys behind few prefixes. Run: npx tsx spec/bench/s3.ts [MiB]
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

const chunk = Buffer.alloc(1024 * 1024, 'novact');
const agent = new Agent({ keepAlive: true });

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
  const timed = async (query: { prefix: string; delimiter: string; marker: string }) => {
    const startedAt = performance.now();
    const page = await listObjects(s3.database.db, { bucket: 'bench', limit: 1000, ...query });
    return `${(performance.now() - startedAt).toFixed(1)} ms for ${page.objects.length} keys and ${page.commonPrefixes.length} prefixes`;
  };
  await timed({ prefix: 'many/', delimiter: '/', marker: '' });
  const listings = [
    `100 000 keys behind 50 prefixes: ${await timed({ prefix: 'many/', delimiter: '/', marker: '' })}`,
    `a page of 1000 in the middle: ${await timed({ prefix: '', delimiter: '', marker: 'many/25/' })}`,
    `a page of 1000 with a delimiter: ${await timed({ prefix: 'many/25/', delimiter: '/', marker: '' })}`,
  ];
  process.send?.({ port: s3.port, listings });
}

function move(port: number, method: 'PUT' | 'GET', sizeMiB: number): Promise<number> {
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

async function measure(sizeMiB: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 's3-bench-'));
  const child = fork(fileURLToPath(import.meta.url), ['--serve', folder], { execArgv: process.execArgv });
  try {
    const started = await new Promise<{ port: number; listings: string[] }>((resolve, reject) => {
      child.once('message', (message) => resolve(message as { port: number; listings: string[] }));
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}`)));
    });
    for (const line of started.listings) console.log(line);
    const pid = child.pid ?? 0;
    for (const method of ['PUT', 'GET'] as const) {
      const before = rssMiB(pid);
      let most = before;
      const watch = setInterval(() => {
        most = Math.max(most, rssMiB(pid));
      }, 50);
      const ms = await move(started.port, method, sizeMiB);
      clearInterval(watch);
      const speed = `${(ms / 1000).toFixed(2)} s, ${(sizeMiB / (ms / 1000)).toFixed(0)} MiB/s`;
      console.log(`${method} ${sizeMiB} MiB: ${speed}; memory ${before.toFixed(0)} MiB, at most ${most.toFixed(0)} MiB`);
    }
  } finally {
    child.kill();
    agent.destroy();
    rmSync(folder, { recursive: true, force: true });
  }
}

if (process.argv[2] === '--serve') await serve(process.argv[3] ?? '');
else await measure(Number(process.argv[2] ?? 1024));
