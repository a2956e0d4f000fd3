// What only a real machine shows: memory stays flat while large objects stream, and a full disk is said plainly and harms nothing.
import { mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { openFilesystemStore } from '../../src/drivers/objectstore/filesystem.ts';
import type { ObjectStoreDriver } from '../../src/drivers/objectstore/driver.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { apply } from '../bench/s3/load.ts';
import { memoryMiBMax, moveOne } from '../bench/s3/memory.ts';
import { startObjectstoreRole } from '../bench/s3/servers.ts';
import { newSealer } from '../support/new-sealer.ts';
import { isBuilt } from '../support/product-command.ts';
import { startS3, texts } from '../support/s3-server.ts';

const run = createRun({ log: silentLog });

async function blobsOf(store: ObjectStoreDriver): Promise<number> {
  let count = 0;
  for await (const _ of store.list({ changedBefore: new Date(systemClock.now() + 60_000) })) count += 1;
  return count;
}

describe('memory', () => {
  it('does not grow with the size of what is put and got', async () => {
    const server = await startObjectstoreRole();
    try {
      await apply({ port: server.port, connections: 1, requests: 1, request: () => server.request('PUT', '/bench') });
      const before = (await moveOne(server, 'PUT', '/bench/small', 1)).mostMiB;
      for (const method of ['PUT', 'GET'] as const) {
        const { mostMiB } = await moveOne(server, method, '/bench/large', 300);
        expect(mostMiB - before, method).toBeLessThan(60);
        // What runs from source has a compiler with it.
        if (isBuilt()) expect(mostMiB, method).toBeLessThan(memoryMiBMax);
      }
    } finally {
      await server.close();
    }
  });
});

describe('S12: a full disk', () => {
  it('is answered with InsufficientStorage, keeps the old object and leaves nothing', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3-full-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=12m', 's3-full', folder]);
    const store = await openFilesystemStore({ folder, sealer: newSealer() });
    const s3 = await startS3({ store });
    try {
      await s3.ask({ method: 'PUT', path: '/full' });
      await s3.ask({ method: 'PUT', path: '/full/k', body: 'old' });
      for (const headers of [{}, { expect: '100-continue' }]) {
        const put = await s3.ask({ method: 'PUT', path: '/full/k', body: Buffer.alloc(24 * 1024 * 1024, 1), headers });
        expect([put.status, texts(put.body, 'Code')]).toEqual([507, ['InsufficientStorage']]);
      }
      expect((await s3.ask({ method: 'GET', path: '/full/k' })).body).toBe('old');
      expect(await blobsOf(store)).toBe(1);
      expect((await s3.ask({ method: 'PUT', path: '/full/k', body: Buffer.alloc(1024 * 1024) })).status).toBe(200);
    } finally {
      await s3.close();
      await run('umount', [folder]);
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('clients that go away', () => {
  it('leave no file open and no blob, whether they read or wrote', async () => {
    const folder = await mkdtemp(join(tmpdir(), 's3-gone-'));
    const store = await openFilesystemStore({ folder, sealer: newSealer() });
    const s3 = await startS3({ store });
    const openFiles = async () => {
      const targets = await Promise.all((await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')));
      return targets.filter((target) => target.startsWith(folder) && /[0-9a-f]{32}/.test(target));
    };
    try {
      await s3.ask({ method: 'PUT', path: '/gone' });
      await s3.ask({ method: 'PUT', path: '/gone/k', body: Buffer.alloc(32 * 1024 * 1024) });
      for (const head of ['GET /gone/k HTTP/1.1', 'PUT /gone/k HTTP/1.1\r\nContent-Length: 50000000']) {
        await Promise.all(Array.from({ length: 20 }, () => new Promise<void>((resolve, reject) => {
          const socket = connect(s3.port, '127.0.0.1', () => {
            socket.write(`${head}\r\nHost: x\r\nx-spec-project: one\r\n\r\n${head.startsWith('PUT') ? 'x'.repeat(3_000_000) : ''}`);
          });
          const goAway = () => socket.destroy();
          if (head.startsWith('GET')) socket.once('data', goAway);
          else void vi.waitUntil(async () => (await openFiles()).length > 0, { timeout: 60_000 }).then(goAway, reject);
          socket.on('error', reject).on('close', () => resolve());
        })));
        await vi.waitUntil(async () => (await openFiles()).length === 0, { timeout: 60_000 });
      }
      await vi.waitUntil(async () => (await blobsOf(store)) === 1, { timeout: 60_000 });
      expect((await s3.ask({ method: 'HEAD', path: '/gone/k' })).headers['content-length']).toBe(String(32 * 1024 * 1024));
    } finally {
      await s3.close();
      await rm(folder, { recursive: true, force: true });
    }
  });
});
