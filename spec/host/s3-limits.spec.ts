// What only a real machine shows: memory stays flat while large objects stream, and a full disk is said plainly and harms nothing.
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { startS3, texts } from '../support/s3-server.ts';

const run = createRun({ log: silentLog });

describe('memory', () => {
  it('does not grow with the size of what is put and got', async () => {
    const bench = fileURLToPath(new URL('../bench/s3.ts', import.meta.url));
    const { stdout } = await run(process.execPath, ['--import', 'tsx', bench, '300'], { timeoutMs: 200_000 });
    const measured = [...stdout.matchAll(/^(PUT|GET) 300 MiB: .* memory (\d+) MiB, at most (\d+) MiB$/gm)];
    expect(measured.map((match) => match[1])).toEqual(['PUT', 'GET']);
    for (const [, , before, most] of measured) expect(Number(most) - Number(before)).toBeLessThan(100);
  });
});

describe('a full disk', () => {
  it('is answered with InsufficientStorage, keeps the old object and leaves no temporary file', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=12m', 's3-full', folder]);
    const s3 = await startS3({ store: await openFilesystemStore({ folder }) });
    try {
      await s3.ask({ method: 'PUT', path: '/full' });
      await s3.ask({ method: 'PUT', path: '/full/k', body: 'old' });
      for (const headers of [{}, { expect: '100-continue' }]) {
        const put = await s3.ask({ method: 'PUT', path: '/full/k', body: Buffer.alloc(24 * 1024 * 1024, 1), headers });
        expect([put.status, texts(put.body, 'Code')]).toEqual([507, ['InsufficientStorage']]);
      }
      expect((await s3.ask({ method: 'GET', path: '/full/k' })).body).toBe('old');
      expect(await readdir(join(folder, 'tmp'))).toEqual([]);
      expect((await s3.ask({ method: 'PUT', path: '/full/k', body: Buffer.alloc(1024 * 1024) })).status).toBe(200);
    } finally {
      await s3.close();
      await run('umount', [folder]);
      await rm(folder, { recursive: true, force: true });
    }
  });
});
