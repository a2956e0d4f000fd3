// Disks from host to host, over real sockets on the loopback: whole, resumed, refused.
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import type { Server } from 'node:https';
import { createServer as createProxy, connect, type AddressInfo, type Server as NetServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createTransferServer } from '../../../src/drivers/disk/transfer-server.ts';
import { createDiskTransfer } from '../../../src/drivers/disk/transfer.ts';
import type { RemoteFile } from '../../../src/drivers/disk/driver.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { newId } from '../../../src/lib/ids.ts';
import { silentLog } from '../../../src/lib/log.ts';

const secret = randomBytes(32);
const signal = new AbortController().signal;
let folder: string;
let server: Server;
let port: number;
let file: RemoteFile;
let going: boolean;

const listen = (listener: Server | NetServer): Promise<number> =>
  new Promise((resolve) => listener.listen(0, '127.0.0.1', () => resolve((listener.address() as AddressInfo).port)));
const transfer = (over: { port?: number; secret?: Buffer } = {}) => createDiskTransfer({ clock: systemClock, secret, port, stallMs: 2_000, ...over });
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'novact-transfer-'));
  file = { address: '127.0.0.1', instanceId: newId('i'), operationId: newId('op'), target: 'h2', name: 'root.qcow2' };
  going = true;
  server = createTransferServer({ secret, log: silentLog, authorise: async (move) => (going && move.operationId === file.operationId ? folder : undefined) });
  port = await listen(server);
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(folder, { recursive: true });
});

describe('disk transfer', () => {
  it('brings a disk over as it was', async () => {
    const bytes = randomBytes(3 * 1024 * 1024 + 17);
    await writeFile(join(folder, 'root.qcow2'), bytes);
    await transfer().fetch(file, join(folder, 'here'), signal);
    expect(digest(await readFile(join(folder, 'here')))).toBe(digest(bytes));
  });

  it('brings the end of a console that is being written to', async () => {
    await writeFile(join(folder, 'console.log'), Buffer.concat([Buffer.alloc(70_000, 'a'), Buffer.from('the end')]));
    await transfer().fetch({ ...file, name: 'console.log' }, join(folder, 'here'), signal);
    const text = await readFile(join(folder, 'here'), 'latin1');
    expect(text.length).toBe(64 * 1024);
    expect(text.endsWith('the end')).toBe(true);
  });

  it('goes on where a broken connection ended', async () => {
    const bytes = randomBytes(2 * 1024 * 1024);
    await writeFile(join(folder, 'root.qcow2'), bytes);
    let [connections, passed] = [0, 0];
    const proxy = createProxy((client) => {
      const upstream = connect(port, '127.0.0.1');
      const nth = (connections += 1);
      client.on('error', () => undefined).on('close', () => upstream.destroy());
      upstream.on('error', () => undefined).on('close', () => client.destroy());
      client.pipe(upstream);
      let here = 0;
      upstream.on('data', (chunk) => {
        here += chunk.length;
        passed += chunk.length;
        client.write(chunk);
        // The second connection carries the disk, the first its description.
        if (nth === 2 && here > 700_000) client.destroy();
      });
    });
    const through = await listen(proxy);
    try {
      await transfer({ port: through }).fetch(file, join(folder, 'here'), signal);
    } finally {
      await new Promise((resolve) => proxy.close(resolve));
    }
    expect(digest(await readFile(join(folder, 'here')))).toBe(digest(bytes));
    expect(connections).toBe(3);
    expect(passed).toBeLessThan(bytes.length * 1.5);
  });

  it('gives up a connection that is silent, and goes on over the next', async () => {
    const bytes = randomBytes(2 * 1024 * 1024);
    await writeFile(join(folder, 'root.qcow2'), bytes);
    let connections = 0;
    const proxy = createProxy((client) => {
      const upstream = connect(port, '127.0.0.1');
      const nth = (connections += 1);
      client.on('error', () => undefined).on('close', () => upstream.destroy());
      upstream.on('error', () => undefined).on('close', () => client.destroy());
      client.pipe(upstream);
      let here = 0;
      upstream.on('data', (chunk) => {
        here += chunk.length;
        if (nth !== 2 || here < 700_000) client.write(chunk);
      });
    });
    const through = await listen(proxy);
    try {
      await createDiskTransfer({ clock: systemClock, secret, port: through, stallMs: 300 }).fetch(file, join(folder, 'here'), signal);
    } finally {
      await new Promise((resolve) => proxy.close(resolve));
    }
    expect(digest(await readFile(join(folder, 'here')))).toBe(digest(bytes));
    expect(connections).toBe(3);
  });

  it('refuses another move, one that is over, another file and another key, and leaves nothing half', async () => {
    await writeFile(join(folder, 'root.qcow2'), 'secret');
    const here = join(folder, 'here');
    await expect(transfer().fetch({ ...file, operationId: newId('op') }, here, signal)).rejects.toMatchObject({ kind: 'notFound' });
    await expect(transfer().fetch({ ...file, name: '../root.qcow2' as 'root.qcow2' }, here, signal)).rejects.toMatchObject({ kind: 'notFound' });
    going = false;
    await expect(transfer().fetch(file, here, signal)).rejects.toMatchObject({ kind: 'notFound' });
    going = true;
    await expect(transfer({ secret: randomBytes(32) }).fetch(file, here, AbortSignal.timeout(1_500))).rejects.toThrow();
    expect(await readdir(folder)).toEqual(['root.qcow2']);
  });

  it('does not speak without a key', async () => {
    const answer = await fetch(`https://127.0.0.1:${port}/root.qcow2`).catch((error: unknown) => error);
    expect(answer).toBeInstanceOf(Error);
    const plain = await fetch(`http://127.0.0.1:${port}/root.qcow2`).catch((error: unknown) => error);
    expect(plain).toBeInstanceOf(Error);
  });
});
