// What every volume driver must do, as a suite over a factory.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ExportSpec, Initiator, VolumeDriver } from '../../src/drivers/volume/driver.ts';
import { newId } from '../../src/lib/ids.ts';
import { Secret } from '../../src/lib/secret.ts';

export interface VolumeFixture {
  readonly driver: VolumeDriver;
  /** Another driver on the same host, as after a restart of novact. */
  reopen(): Promise<VolumeDriver>;
  /** Looks at the device and writes to it with other tools than the driver. */
  write(volumeId: string, offset: number, text: string): Promise<void>;
  read(volumeId: string, offset: number, length: number): Promise<string>;
  /** Who connects. Default: this machine. */
  readonly initiators?: readonly Initiator[];
  /** More bytes than the store has. */
  readonly tooManyBytes: number;
  close(): Promise<void>;
}

export const mebibyte = 1024 * 1024;

export const exportSpecOf = (volumeId: string, change: Partial<ExportSpec> = {}): ExportSpec => ({
  volumeId, attachmentId: `attach-${randomBytes(8).toString('hex')}`,
  initiators: [{ name: 'iqn.2011-02.org.novact:h1', address: '127.0.0.1' }], secret: new Secret(randomBytes(16).toString('hex')), ...change,
});

/** Registers the suite. */
export function volumeContract(name: string, create: () => Promise<VolumeFixture>): void {
  describe(`volume driver ${name}`, () => {
    let fixture: VolumeFixture;
    let driver: VolumeDriver;
    const volume = async (sizeBytes = 4 * mebibyte, from?: { snapshotId: string }): Promise<string> => {
      const id = newId('vol');
      await driver.ensureVolume({ id, sizeBytes, ...(from === undefined ? {} : { from }) });
      return id;
    };
    const snapshotOf = async (volumeId: string): Promise<string> => {
      const id = newId('snap');
      await driver.ensureSnapshot({ id, volumeId });
      return id;
    };
    const sizeOf = async (id: string) => (await driver.listVolumes()).find((one) => one.id === id)?.sizeBytes;
    const exportOf = (id: string) => exportSpecOf(id, fixture.initiators === undefined ? {} : { initiators: fixture.initiators });
    const zeros = (length: number): string => '\0'.repeat(length);

    beforeAll(async () => {
      fixture = await create();
      driver = fixture.driver;
    }, 60_000);
    afterAll(async () => {
      await driver?.removeAll();
      await fixture?.close();
    }, 60_000);

    it('tells what it is, and what the host has', async () => {
      expect(driver.info.name).not.toBe('');
      const { totalBytes, freeBytes } = await driver.capacity();
      expect(totalBytes).toBeGreaterThan(0);
      expect(freeBytes).toBeLessThanOrEqual(totalBytes);
    });

    it('V1: makes a volume of the right size, of zeros, and leaves it and its content when asked again', async () => {
      const id = await volume();
      expect(await sizeOf(id)).toBe(4 * mebibyte);
      expect(await fixture.read(id, mebibyte, 16)).toBe(zeros(16));
      await fixture.write(id, mebibyte, 'kept');
      await Promise.all([driver.ensureVolume({ id, sizeBytes: 4 * mebibyte }), driver.ensureVolume({ id, sizeBytes: 4 * mebibyte })]);
      expect(await fixture.read(id, mebibyte, 4)).toBe('kept');
      await expect(driver.ensureVolume({ id, sizeBytes: 8 * mebibyte })).rejects.toMatchObject({ kind: 'failed' });
    });

    it('V1: what was written to a volume cannot be read after it was deleted, nor in the next one', async () => {
      const before = await volume(32 * mebibyte);
      await Promise.all(Array.from({ length: 32 }, (_, index) => fixture.write(before, index * mebibyte, 'the last tenant was here')));
      await driver.ensureVolumeAbsent(before);
      await driver.ensureVolumeAbsent(before);
      expect(await sizeOf(before)).toBeUndefined();
      const after = await volume(32 * mebibyte);
      for (let index = 0; index < 32; index += 1) expect(await fixture.read(after, index * mebibyte, 24)).toBe(zeros(24));
    });

    it('grows a volume, keeps its content, adds zeros, and does not shrink it', async () => {
      const id = await volume();
      await fixture.write(id, 0, 'start');
      await driver.resize(id, 8 * mebibyte);
      await driver.resize(id, 8 * mebibyte);
      expect(await sizeOf(id)).toBe(8 * mebibyte);
      expect(await fixture.read(id, 0, 5)).toBe('start');
      expect(await fixture.read(id, 6 * mebibyte, 16)).toBe(zeros(16));
      await expect(driver.resize(id, 4 * mebibyte)).rejects.toMatchObject({ kind: 'failed' });
      await expect(driver.resize(newId('vol'), mebibyte)).rejects.toMatchObject({ kind: 'notFound' });
    });

    it('V10: snapshots a volume: later writes do not change it, and a larger volume begins with it', async () => {
      const origin = await volume();
      await fixture.write(origin, 4096, 'before');
      const snapshot = await snapshotOf(origin);
      await fixture.write(origin, 4096, 'after!');
      await driver.ensureSnapshot({ id: snapshot, volumeId: origin });
      const copy = await volume(8 * mebibyte, { snapshotId: snapshot });
      expect(await fixture.read(copy, 4096, 6)).toBe('before');
      expect(await fixture.read(copy, 6 * mebibyte, 16)).toBe(zeros(16));
      await fixture.write(copy, 4096, 'of its');
      expect(await fixture.read(await volume(4 * mebibyte, { snapshotId: snapshot }), 4096, 6)).toBe('before');
      await driver.ensureVolumeAbsent(origin);
      await driver.ensureSnapshotAbsent(snapshot);
      await driver.ensureSnapshotAbsent(snapshot);
      expect((await driver.listSnapshots()).map((one) => one.id)).not.toContain(snapshot);
      expect(await fixture.read(copy, 4096, 6)).toBe('of its');
    });

    it('says notFound of what is not there, where that matters', async () => {
      const [missing, unknown] = [newId('vol'), newId('snap')];
      await expect(driver.ensureSnapshot({ id: unknown, volumeId: missing })).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.snapshotPath(unknown)).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.ensureVolume({ id: missing, sizeBytes: mebibyte, from: { snapshotId: unknown } })).rejects.toMatchObject({ kind: 'notFound' });
      await expect(driver.ensureExport(exportOf(missing))).rejects.toMatchObject({ kind: 'notFound' });
      expect(await sizeOf(missing)).toBeUndefined();
      expect(await driver.listExports()).toEqual([]);
    });

    it('refuses names that are none, sizes that are none, and content that does not fit', async () => {
      for (const id of ['vol-../../etc', 'snap-0123456789abcdef0', '', 'vol-']) {
        await expect(driver.ensureVolume({ id, sizeBytes: mebibyte })).rejects.toMatchObject({ kind: 'failed' });
        await expect(driver.ensureVolumeAbsent(id)).rejects.toMatchObject({ kind: 'failed' });
      }
      for (const sizeBytes of [0, -512, 1000, Number.NaN]) await expect(volume(sizeBytes)).rejects.toMatchObject({ kind: 'failed' });
      const snapshot = await snapshotOf(await volume(8 * mebibyte));
      await expect(volume(4 * mebibyte, { snapshotId: snapshot })).rejects.toMatchObject({ kind: 'failed' });
    });

    it('says that there is no room, and leaves nothing', async () => {
      const [id, before] = [newId('vol'), await driver.listVolumes()];
      const noRoom = { kind: 'failed', message: expect.stringContaining('no room') };
      await expect(driver.ensureVolume({ id, sizeBytes: fixture.tooManyBytes })).rejects.toMatchObject(noRoom);
      expect(await driver.listVolumes()).toEqual(before);
      const small = await volume();
      await expect(driver.resize(small, fixture.tooManyBytes)).rejects.toMatchObject(noRoom);
      expect(await sizeOf(small)).toBe(4 * mebibyte);
      const { freeBytes } = await driver.capacity();
      expect(freeBytes).toBeGreaterThan(0);
    });

    it('exports a volume to one attachment at a time, the same way each time', async () => {
      const id = await volume();
      const spec = exportOf(id);
      const connection = await driver.ensureExport(spec);
      expect(await driver.ensureExport(spec)).toEqual(connection);
      expect(JSON.stringify(connection)).not.toContain(spec.secret.reveal());
      expect(await driver.listExports()).toEqual([{ volumeId: id, attachmentId: spec.attachmentId, isServed: true }]);
      await expect(driver.ensureExport(exportOf(id))).rejects.toMatchObject({ kind: 'busy' });
      await expect(driver.ensureVolumeAbsent(id)).rejects.toMatchObject({ kind: 'busy' });
      await driver.ensureUnexported(spec.attachmentId);
      await driver.ensureUnexported(spec.attachmentId);
      expect(await driver.listExports()).toEqual([]);
      const next = exportOf(id);
      await driver.ensureExport(next);
      await driver.ensureUnexported(next.attachmentId);
      await driver.ensureVolumeAbsent(id);
    });

    it('V5: finds volumes, snapshots and exports again after a restart of novact', async () => {
      const id = await volume();
      const snapshot = await snapshotOf(id);
      const spec = exportOf(id);
      const connection = await driver.ensureExport(spec);
      const next = await fixture.reopen();
      try {
        expect((await next.listVolumes()).map((one) => one.id)).toContain(id);
        expect((await next.listSnapshots()).map((one) => one.id)).toContain(snapshot);
        expect(await next.listExports()).toEqual([{ volumeId: id, attachmentId: spec.attachmentId, isServed: true }]);
        expect(await next.ensureExport(spec)).toEqual(connection);
        await next.ensureUnexported(spec.attachmentId);
        expect(await driver.listExports()).toEqual([]);
      } finally {
        await next.close();
      }
    });

    it('removes all that it has', async () => {
      const id = await volume();
      await snapshotOf(id);
      await driver.ensureExport(exportOf(id));
      await driver.removeAll();
      expect([await driver.listExports(), await driver.listVolumes(), await driver.listSnapshots()]).toEqual([[], [], []]);
    });
  });
}
