// What every disk driver must do, as a suite over a factory.
import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DiskDriver } from '../../src/drivers/disk/driver.ts';
import { vdiHeader, vhdImage, vmdkHeader } from './foreign-images.ts';
import { qcow2Header } from './qcow2-image.ts';

export interface DiskFixture {
  readonly driver: DiskDriver;
  /** Writes an honest qcow2 image of that virtual size. */
  makeQcow2(path: string, sizeBytes: number): Promise<void>;
}

const limits = { virtualSizeBytesMax: 64 * 1024 * 1024, timeoutMs: 20_000 };
const mebibyte = 1024 * 1024;

/** Registers the suite. */
export function diskContract(name: string, create: () => Promise<DiskFixture>): void {
  describe(`disk driver ${name}`, () => {
    let fixture: DiskFixture;
    let directory: string;
    const at = (file: string): string => join(directory, file);
    const raw = async (file: string, sizeBytes: number, start: string | Buffer = ''): Promise<string> => {
      await writeFile(at(file), start);
      await truncate(at(file), sizeBytes);
      return at(file);
    };

    beforeAll(async () => {
      fixture = await create();
      directory = await mkdtemp(join(tmpdir(), 'hypervisor-disk-'));
    });
    afterAll(() => rm(directory, { recursive: true, force: true }));

    it('takes a raw image as it is', async () => {
      const path = await raw('plain.raw', 2 * mebibyte);
      expect(await fixture.driver.inspect(path, limits)).toEqual({ format: 'raw', virtualSizeBytes: 2 * mebibyte, sizeBytes: 2 * mebibyte });
    });

    it('tells qcow2 by its content', async () => {
      await fixture.makeQcow2(at('image.qcow2'), 8 * mebibyte);
      expect(await fixture.driver.inspect(at('image.qcow2'), limits)).toMatchObject({ format: 'qcow2', virtualSizeBytes: 8 * mebibyte });
    });

    it.each([
      ['a backing file', { backingFile: '/etc/passwd' }, /backing file/],
      ['a backing file in words of json', { backingFile: 'json:{"driver":"file","filename":"/etc/shadow"}' }, /backing file/],
      ['an external data file', { externalData: true }, /external file/],
      ['encryption', { encrypted: true }, /encrypted/],
      ['the mark of corruption', { corrupt: true }, /corrupt/],
      ['an old version', { version: 1 as const }, /header is wrong/],
      ['more than the allowed size', { sizeBytes: 2 ** 50 }, /more than the/],
      ['no size', { sizeBytes: 0 }, /no size/],
    ])('refuses qcow2 with %s', async (_, wish, message) => {
      await writeFile(at('hostile'), qcow2Header(wish));
      await expect(fixture.driver.inspect(at('hostile'), limits)).rejects.toMatchObject({ kind: 'failed', message: expect.stringMatching(message) });
    });

    it.each([
      ['VMDK', 'KDMV', /VMDK.*qemu-img convert/],
      ['VHDX', 'vhdxfile', /VHDX/],
      ['gzip', Buffer.from('1f8b0800', 'hex'), /gzip; unpack/],
      ['LUKS', Buffer.from('4c554b53babe0001', 'hex'), /encrypted/],
    ])('refuses %s and says what it is', async (_, start, message) => {
      const path = await raw('other', mebibyte, start);
      await expect(fixture.driver.inspect(path, limits)).rejects.toMatchObject({ kind: 'failed', message: expect.stringMatching(message) });
    });

    it('refuses an empty file, a cut-off one, one too large, a folder, and one that is not there', async () => {
      const refused = (file: string) => expect(fixture.driver.inspect(at(file), limits)).rejects;
      await raw('empty', 0);
      await refused('empty').toMatchObject({ kind: 'failed', message: expect.stringContaining('empty') });
      await raw('cut', 1_000);
      await refused('cut').toMatchObject({ kind: 'failed', message: expect.stringContaining('sectors') });
      await raw('large', 65 * mebibyte);
      await refused('large').toMatchObject({ kind: 'failed', message: expect.stringContaining('more than the') });
      await expect(fixture.driver.inspect(directory, limits)).rejects.toMatchObject({ kind: 'failed' });
      await refused('absent').toMatchObject({ kind: 'notFound' });
    });

    it.each([
      ['VMDK', vmdkHeader(), 'vmdk'], ['VMDK for streams', vmdkHeader({ createType: 'streamOptimized' }), 'vmdk'], ['VDI', vdiHeader(), 'vdi'],
      ['VHD', vhdImage(), 'vhd'], ['qcow2', qcow2Header(), 'qcow2'], ['raw', Buffer.alloc(mebibyte), 'raw'],
    ] as const)('knows %s by its header, and what is said to be another kind', async (_, bytes, format) => {
      await writeFile(at('foreign'), bytes);
      const found = { format, virtualSizeBytes: mebibyte, sizeBytes: bytes.length };
      expect(await fixture.driver.identify(at('foreign'), { virtualSizeBytesMax: mebibyte })).toEqual(found);
      expect(await fixture.driver.identify(at('foreign'), { format, virtualSizeBytesMax: mebibyte })).toEqual(found);
      const said = format === 'vmdk' ? 'raw' : 'vmdk';
      await expect(fixture.driver.identify(at('foreign'), { format: said, virtualSizeBytesMax: mebibyte })).rejects.toThrow(`it is ${format}, and not ${said}`);
      await expect(fixture.driver.identify(at('foreign'), { virtualSizeBytesMax: mebibyte - 1 })).rejects.toThrow('more than the');
    });

    it('takes a VHD of fixed size for one when it is said to be, and for a raw disk otherwise', async () => {
      const bytes = vhdImage({ type: 2 });
      await writeFile(at('fixed.vhd'), bytes);
      expect(await fixture.driver.identify(at('fixed.vhd'), { format: 'vhd', virtualSizeBytesMax: 2 * mebibyte })).toMatchObject({
        format: 'vhd', virtualSizeBytes: mebibyte,
      });
      expect(await fixture.driver.identify(at('fixed.vhd'), { virtualSizeBytesMax: 2 * mebibyte })).toMatchObject({ format: 'raw', virtualSizeBytes: bytes.length });
    });

    it.each([
      ['VMDK whose data is in other files', vmdkHeader({ hasSize: false, lines: ['RW 2048 FLAT "/etc/shadow" 0'] }), /data is in other files/],
      ['VMDK of extents', vmdkHeader({ createType: 'monolithicFlat' }), /of the type monolithicFlat/],
      ['VMDK with a parent', vmdkHeader({ lines: ['parentFileNameHint="/etc/shadow"'] }), /stands on another file/],
      ['VMDK with the mark of a parent', vmdkHeader({ parentCid: '0badcafe' }), /stands on another file/],
      ['VMDK with a descriptor elsewhere', vmdkHeader({ descriptorSector: 4_000 }), /not where it belongs/],
      ['a VMDK descriptor', Buffer.from('# Disk DescriptorFile\nRW 2048 FLAT "/etc/shadow" 0\n'), /VMDK descriptor/],
      ['VDI of a difference', vdiHeader({ type: 4 }), /stands on another file/],
      ['VDI with a parent', vdiHeader({ parent: true }), /stands on another file/],
      ['VHD of a difference', vhdImage({ type: 4 }), /stands on another file/],
      ['VHDX', Buffer.from('vhdxfile'), /VHDX/],
      ['qcow2 with a backing file', qcow2Header({ backingFile: '/etc/shadow' }), /backing file/],
      ['qcow2 with an external file', qcow2Header({ externalData: true }), /external file/],
      ['a disk beyond all sizes', vdiHeader({ sizeBytes: 2 ** 52 }), /more than the/],
      ['a disk of no size', vdiHeader({ sizeBytes: 0 }), /no size/],
      ['nothing', Buffer.alloc(0), /empty/],
      ['a cut-off header', Buffer.from('KDMV'), /cut off/],
    ])('refuses, before any tool sees it: %s', async (_, bytes, message) => {
      await writeFile(at('foreign-hostile'), bytes);
      const failure = { kind: 'failed', message: expect.stringMatching(message) };
      await expect(fixture.driver.identify(at('foreign-hostile'), limits)).rejects.toMatchObject(failure);
      const watch = { signal: new AbortController().signal, onProgress: () => undefined };
      await expect(fixture.driver.convert({ path: at('foreign-hostile'), format: 'vmdk', to: at('converted'), virtualSizeBytesMax: mebibyte }, watch))
        .rejects.toMatchObject({ kind: 'failed' });
      expect((await readdir(directory)).filter((file) => file.startsWith('converted'))).toEqual([]);
    });

    it('makes an overlay once and never again, as it has the data of a guest', async () => {
      const base = await raw('base.raw', 2 * mebibyte);
      const overlay = { path: at('overlay'), base, baseFormat: 'raw' as const, sizeBytes: 4 * mebibyte };
      await fixture.driver.ensureOverlay(overlay);
      const before = [await readFile(overlay.path), (await stat(overlay.path)).ino];
      await fixture.driver.ensureOverlay(overlay);
      expect([await readFile(overlay.path), (await stat(overlay.path)).ino]).toEqual(before);
      expect(await fixture.driver.chain(overlay.path)).toEqual([overlay.path, base]);
    });

    it('makes one overlay when asked twice at once', async () => {
      const base = await raw('base2.raw', mebibyte);
      const overlay = { path: at('overlay2'), base, baseFormat: 'raw' as const, sizeBytes: mebibyte };
      await Promise.all([fixture.driver.ensureOverlay(overlay), fixture.driver.ensureOverlay(overlay)]);
      expect(await fixture.driver.chain(overlay.path)).toEqual([overlay.path, base]);
    });

    it('follows a chain over qcow2', async () => {
      await fixture.makeQcow2(at('base3'), 2 * mebibyte);
      await fixture.driver.ensureOverlay({ path: at('overlay3'), base: at('base3'), baseFormat: 'qcow2', sizeBytes: 2 * mebibyte });
      expect(await fixture.driver.chain(at('overlay3'))).toEqual([at('overlay3'), at('base3')]);
    });

    it('makes a drive, leaves it as long as its files stay the same, and makes it anew when they change', async () => {
      const drive = (word: string) => ({ path: at('drive'), label: 'config-2', files: [{ path: 'a/word', content: Buffer.from(word) }] });
      const node = async () => (await stat(at('drive'))).ino;
      const others = async () => (await readdir(directory)).filter((file) => file !== 'drive');
      const before = await others();
      await fixture.driver.ensureDrive(drive('first'));
      const first = [await readFile(at('drive')), await node()];
      await fixture.driver.ensureDrive(drive('first'));
      expect([await readFile(at('drive')), await node()]).toEqual(first);
      await fixture.driver.ensureDrive(drive('second'));
      expect(await readFile(at('drive'))).not.toEqual(first[0]);
      expect(await others()).toEqual(before);
    });

    it('copies an overlay, makes it stand on nothing, and leaves what is whole', async () => {
      const { signal } = new AbortController();
      const base = await raw('base6.raw', mebibyte, 'what the image holds');
      await fixture.driver.ensureOverlay({ path: at('overlay6'), base, baseFormat: 'raw', sizeBytes: 2 * mebibyte });
      await writeFile(at('copy6'), 'an earlier try');
      await fixture.driver.copyOverlay({ path: at('overlay6'), copy: at('copy6') }, signal);
      expect(await fixture.driver.chain(at('copy6'))).toEqual([at('copy6'), base]);
      expect(await readFile(at('copy6'))).toEqual(await readFile(at('overlay6')));
      await fixture.driver.ensureFlat({ path: at('copy6'), flat: at('flat6') }, signal);
      expect(await fixture.driver.inspect(at('flat6'), limits)).toMatchObject({ format: 'qcow2', virtualSizeBytes: 2 * mebibyte });
      expect(await fixture.driver.chain(at('flat6'))).toEqual([at('flat6')]);
      const before = (await stat(at('flat6'))).ino;
      await fixture.driver.ensureFlat({ path: at('absent'), flat: at('flat6') }, signal);
      expect((await stat(at('flat6'))).ino).toBe(before);
      await fixture.driver.ensureFlat({ path: at('flat6'), flat: at('flat7') }, signal);
      expect(await fixture.driver.inspect(at('flat7'), limits)).toMatchObject({ format: 'qcow2', virtualSizeBytes: 2 * mebibyte });
      await expect(fixture.driver.copyOverlay({ path: at('absent'), copy: at('copy7') }, signal)).rejects.toMatchObject({ kind: 'notFound' });
      expect((await readdir(directory)).filter((file) => file.includes('.new'))).toEqual([]);
    });

    it('refuses an overlay smaller than its image, on another image, or on none', async () => {
      const base = await raw('base4.raw', 2 * mebibyte);
      const other = await raw('base5.raw', 2 * mebibyte);
      const overlay = { path: at('overlay4'), base, baseFormat: 'raw' as const, sizeBytes: 2 * mebibyte };
      await expect(fixture.driver.ensureOverlay({ ...overlay, sizeBytes: mebibyte })).rejects.toMatchObject({ kind: 'failed', message: expect.stringContaining('smaller') });
      await fixture.driver.ensureOverlay(overlay);
      await expect(fixture.driver.ensureOverlay({ ...overlay, base: other })).rejects.toMatchObject({ kind: 'failed' });
      await expect(fixture.driver.ensureOverlay({ ...overlay, path: at('none'), base: at('absent') })).rejects.toMatchObject({ kind: 'notFound' });
      await expect(fixture.driver.chain(at('none'))).rejects.toMatchObject({ kind: 'notFound' });
    });
  });
}
