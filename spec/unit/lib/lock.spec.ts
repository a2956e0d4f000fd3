// One owner for a folder: refused while the owner lives, free when it has ended, never taken from a living one.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acquireLock, lockHolder, startTicks } from '../../../src/lib/lock.ts';

const now = new Date('2026-01-02T03:04:05Z');
let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'novact-lock-'));
  path = join(folder, 'lock');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const change = async (changes: Record<string, unknown>) => writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), ...changes }));

describe('a lock', () => {
  it('is held by the first, refused to the second, and free after release', async () => {
    const lock = await acquireLock(path, { now, notes: { command: 'up' } });
    await expect(acquireLock(path, { now })).rejects.toMatchObject({
      name: 'LockHeld', holder: { pid: process.pid, notes: { command: 'up' }, since: now.toISOString() },
    });
    await lock.release();
    await lock.release();
    expect(await lockHolder(path)).toBeUndefined();
    await (await acquireLock(path, { now })).release();
    expect(await readdir(folder)).toEqual(['lock.guard']);
  });

  it('goes to exactly one of many that ask at once', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(path, { now })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('goes to exactly one of many when its owner is dead', async () => {
    await acquireLock(path, { now });
    await change({ startTicks: '1' });
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => acquireLock(path, { now })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it.each([
    ['its process has ended and the number is another\'s', { startTicks: '1' }],
    ['the machine was restarted', { bootId: 'before' }],
    ['no process has the number', { pid: 2 ** 22 + 1 }],
  ])('is free when %s', async (_, changes) => {
    await acquireLock(path, { now });
    await change(changes);
    expect(await lockHolder(path)).toBeUndefined();
    await (await acquireLock(path, { now })).release();
  });

  it('of another host is never taken', async () => {
    await acquireLock(path, { now });
    await change({ host: `not-${hostname()}`, bootId: 'other' });
    await expect(acquireLock(path, { now })).rejects.toMatchObject({ name: 'LockHeld' });
  });

  it('that cannot be read is not taken away', async () => {
    await writeFile(path, 'mine');
    await expect(acquireLock(path, { now })).rejects.toMatchObject({ name: 'LockHeld', holder: undefined });
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('does not count a process that has ended', async () => {
    const child = spawn('sleep', ['60']);
    expect(await startTicks(child.pid ?? 0)).toMatch(/^\d+$/);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(await startTicks(child.pid ?? 0)).toBeUndefined();
  });
});
