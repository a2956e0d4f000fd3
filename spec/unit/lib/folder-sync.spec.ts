import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FolderSync } from '../../../src/lib/folder-sync.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'folder-sync-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Waits that end when the spec says so. */
function waits() {
  const begun: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const wait = () => new Promise<void>((resolve, reject) => void begun.push({ resolve, reject }));
  return { begun, wait };
}

describe('a folder that many have made durable', () => {
  it('is waited for once by all who came during a wait, and never by a wait that began before them', async () => {
    const { begun, wait } = waits();
    const sync = new FolderSync(folder, wait);
    const done: string[] = [];
    const ask = (name: string) => sync.sync().then(() => done.push(name));
    const first = ask('first');
    await expect.poll(() => begun.length).toBe(1);
    const later = [ask('second'), ask('third')];
    begun[0]?.resolve();
    await first;
    await expect.poll(() => begun.length).toBe(2);
    expect(done).toEqual(['first']);
    begun[1]?.resolve();
    await Promise.all(later);
    expect([done, begun.length]).toEqual([['first', 'second', 'third'], 2]);
  });

  it('that fails tells those who waited for it, and nobody after them', async () => {
    const { begun, wait } = waits();
    const sync = new FolderSync(folder, wait);
    const first = sync.sync();
    await expect.poll(() => begun.length).toBe(1);
    const second = sync.sync();
    begun[0]?.reject(new Error('the disk is gone'));
    await expect(first).rejects.toThrow('the disk is gone');
    await expect.poll(() => begun.length).toBe(2);
    begun[1]?.resolve();
    await second;
  });

  it('that was not there is found when it is', async () => {
    const sync = new FolderSync(join(folder, 'later'));
    await expect(sync.sync()).rejects.toMatchObject({ code: 'ENOENT' });
    await mkdir(join(folder, 'later'));
    await sync.sync();
  });
});
