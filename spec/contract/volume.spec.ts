// The volume contract over the drivers that need no root: the one in memory and local files. What is served to other hosts: spec/host/volume.spec.ts.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { open, readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFakeVolumes, FakeVolumeWorld } from '../../src/drivers/volume/fake.ts';
import { createVolumes } from '../../src/drivers/volume/index.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { exportSpecOf, mebibyte, volumeContract } from '../support/volume-contract.ts';

volumeContract('fake', async () => {
  const world = new FakeVolumeWorld();
  return {
    driver: createFakeVolumes(world),
    reopen: async () => createFakeVolumes(world),
    write: async (id, offset, text) => world.write(id, offset, text),
    read: async (id, offset, length) => (world.volumes.get(id)?.content[offset] ?? '').padEnd(length, '\0'),
    tooManyBytes: 2 * world.totalBytes,
    close: async () => undefined,
  };
});

async function localFixture(allocation: 'thick' | 'thin') {
  const stateDirectory = mkdtempSync(join(tmpdir(), 'volumes-'));
  const start = async () => {
    const driver = createVolumes('local', { allocation }, { run: createRun({ log }), log, clock, stateDirectory, address: '127.0.0.1' });
    await driver.probe();
    return driver;
  };
  const withFile = async <T>(id: string, work: (file: Awaited<ReturnType<typeof open>>) => Promise<T>): Promise<T> => {
    const file = await open(join(stateDirectory, 'volumes', 'volumes', `${id}.raw`), 'r+');
    return work(file).finally(() => file.close());
  };
  return {
    driver: await start(),
    reopen: start,
    write: (id: string, offset: number, text: string) => withFile(id, async (file) => void (await file.write(text, offset))),
    read: (id: string, offset: number, length: number) =>
      withFile(id, async (file) => (await file.read(Buffer.alloc(length), 0, length, offset)).buffer.toString()),
    tooManyBytes: 2 ** 46,
    close: async () => rmSync(stateDirectory, { recursive: true, force: true }),
    stateDirectory,
  };
}

volumeContract('local', () => localFixture('thick'));

describe('local volumes', () => {
  it('take their room when they are made, or, thin, when they are written', async () => {
    for (const [allocation, expected] of [['thick', 8 * mebibyte], ['thin', 0]] as const) {
      const { driver, stateDirectory, close } = await localFixture(allocation);
      const id = newId('vol');
      await driver.ensureVolume({ id, sizeBytes: 8 * mebibyte });
      const used = Number(execFileSync('stat', ['-c', '%b', join(stateDirectory, 'volumes', 'volumes', `${id}.raw`)], { encoding: 'utf8' })) * 512;
      expect(Math.abs(used - expected)).toBeLessThan(mebibyte);
      await close();
    }
  });

  it('are not snapshotted while attached where the file system cannot do it in one step', async () => {
    const { driver, close } = await localFixture('thin');
    const [id, snapshot] = [newId('vol'), newId('snap')];
    await driver.ensureVolume({ id, sizeBytes: mebibyte });
    const spec = exportSpecOf(id);
    await driver.ensureExport(spec);
    const taking = driver.ensureSnapshot({ id: snapshot, volumeId: id })
      .then(() => 'instant', (error: { kind: string }) => (error.kind === 'busy' ? 'detached' : error.kind));
    expect(await taking).toBe(driver.info.capabilities.attachedSnapshots);
    await driver.ensureUnexported(spec.attachmentId);
    await driver.ensureSnapshot({ id: snapshot, volumeId: id });
    await close();
  });

  it('are copied while attached by the guest that has them; what no guest has is copied here, and again by one that began meanwhile', async () => {
    const { driver, close } = await localFixture('thin');
    if (driver.info.capabilities.attachedSnapshots === 'instant') return close();
    const id = newId('vol');
    await driver.ensureVolume({ id, sizeBytes: mebibyte });
    const connection = await driver.ensureExport(exportSpecOf(id));
    const place = connection.protocol === 'file' ? connection.path : '';
    const taken = async (...answers: readonly boolean[]) => {
      const [snapshot, asked] = [newId('snap'), [...answers]];
      await driver.ensureSnapshot({ id: snapshot, volumeId: id }, async (path) => {
        const copies = asked.shift() ?? false;
        if (copies) await writeFile(path, Buffer.concat([Buffer.from('guest'), Buffer.alloc(mebibyte - 5)]));
        return copies;
      });
      expect(asked).toEqual([]);
      const from = await driver.snapshotPath(snapshot);
      const { blocks, mode, size } = await stat(from);
      expect({ isSparse: blocks * 512 < mebibyte / 2, size, mode: mode & 0o777 }).toEqual({ isSparse: true, size: mebibyte, mode: 0o600 });
      return (await readFile(from)).subarray(0, 5).toString();
    };
    await writeFile(place, 'files', { flag: 'r+' });
    expect(await taken(true)).toBe('guest');
    expect(await taken(false, false)).toBe('files');
    expect(await taken(false, true)).toBe('guest');
    const failing = driver.ensureSnapshot({ id: newId('snap'), volumeId: id }, () => Promise.reject(new Error('no guest')));
    await expect(failing).rejects.toThrow('no guest');
    expect((await driver.listSnapshots()).length).toBe(3);
    await close();
  });
});

describe('fake volumes', () => {
  it('fail when told to, and tell of servers that die', async () => {
    const world = new FakeVolumeWorld();
    const driver = createFakeVolumes(world);
    const id = newId('vol');
    world.failNext('ensureVolume', new Error('out of luck'));
    await expect(driver.ensureVolume({ id, sizeBytes: mebibyte })).rejects.toThrow('out of luck');
    await driver.ensureVolume({ id, sizeBytes: mebibyte });
    const spec = exportSpecOf(id);
    await driver.ensureExport(spec);
    const events: unknown[] = [];
    driver.subscribe((event) => events.push(event));
    world.killServer(spec.attachmentId);
    expect(events).toEqual([{ type: 'exportDied', volumeId: id, attachmentId: spec.attachmentId }]);
    expect(await driver.listExports()).toMatchObject([{ isServed: false }]);
    await driver.ensureExport(spec);
    expect(await driver.listExports()).toMatchObject([{ isServed: true }]);
  });

  it('are found again in the state folder by the next start', async () => {
    const stateDirectory = mkdtempSync(join(tmpdir(), 'volumes-'));
    const id = newId('vol');
    const start = () => createVolumes('fake', {}, { run: createRun({ log }), log, clock, stateDirectory, address: '127.0.0.1' });
    await start().ensureVolume({ id, sizeBytes: mebibyte });
    expect(await start().listVolumes()).toEqual([{ id, sizeBytes: mebibyte }]);
    rmSync(stateDirectory, { recursive: true, force: true });
  });
});
