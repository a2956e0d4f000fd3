// The disk contract over qemu-img, and what only real tools show: trees of hostile file systems, overlays that a guest can use.
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createQemuImg } from '../../src/drivers/disk/qemu-img.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { createRun } from '../../src/lib/exec.ts';
import { silentLog } from '../../src/lib/log.ts';
import { diskContract } from '../support/disk-contract.ts';
import { vmdkHeader } from '../support/foreign-images.ts';
import { qcow2Header } from '../support/qcow2-image.ts';

const driver = createQemuImg({ run: createRun({ log: silentLog }), log: silentLog, clock: systemClock });
const tool = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });

diskContract('qemu-img', async () => ({
  driver,
  makeQcow2: async (path, sizeBytes) => void tool('qemu-img', 'create', '-q', '-f', 'qcow2', path, String(sizeBytes)),
}));

describe('qemu-img, debugfs and xorriso', () => {
  let directory: string;
  const at = (file: string): string => join(directory, file);

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'hypervisor-disk-host-'));
    const source = at('source');
    mkdirSync(join(source, 'etc'), { recursive: true });
    writeFileSync(join(source, 'etc', 'hostname'), 'guest\n');
    writeFileSync(join(source, 'etc', 'shadow'), 'root:*\n', { mode: 0o640 });
    chownSync(join(source, 'etc', 'shadow'), 0, 42);
    writeFileSync(join(source, 'su'), 'set-uid');
    chmodSync(join(source, 'su'), 0o4755);
    mkdirSync(join(source, 'home', 'ü name'), { recursive: true, mode: 0o700 });
    chownSync(join(source, 'home', 'ü name'), 1000, 1000);
    symlinkSync('../etc/hostname', join(source, 'home', 'link'));
    symlinkSync('/etc/passwd', join(source, 'absolute'));
    tool('truncate', '-s', '16M', at('root.ext4'));
    tool('mke2fs', '-q', '-t', 'ext4', '-F', '-d', source, at('root.ext4'));
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  it('packs a tree into an image that has all of it again, and names no half of one', async () => {
    await driver.ensureTree({ path: at('root.ext4'), format: 'raw', directory: at('packed') });
    await driver.packTree({ directory: at('packed'), image: at('packed.ext4'), sizeBytesMin: 200 * 1024 ** 2 }, new AbortController().signal);
    expect((await driver.inspect(at('packed.ext4'), { virtualSizeBytesMax: 2 ** 30, timeoutMs: 20_000 })).virtualSizeBytes).toBe(200 * 1024 ** 2);
    await driver.ensureTree({ path: at('packed.ext4'), format: 'raw', directory: at('unpacked') });
    const seen = (path: string) => `${lstatSync(path).mode} ${lstatSync(path).uid} ${lstatSync(path).gid}`;
    for (const name of ['etc/shadow', 'su', 'home/ü name', 'home/link']) expect(seen(at(`unpacked/${name}`))).toBe(seen(at(`packed/${name}`)));
    expect(readFileSync(at('unpacked/etc/hostname'), 'utf8')).toBe('guest\n');
    expect(readdirSync(at('.')).filter((name) => name.includes('.new-'))).toEqual([]);
  });

  it.each([
    ['vmdk', ['-O', 'vmdk']], ['vmdk', ['-O', 'vmdk', '-o', 'subformat=streamOptimized']], ['vdi', ['-O', 'vdi']], ['vdi', ['-O', 'vdi', '-o', 'static=on']],
    ['vhd', ['-O', 'vpc', '-o', 'force_size=on']], ['vhd', ['-O', 'vpc', '-o', 'subformat=fixed,force_size=on']],
  ] as const)('converts %s, made by %j, to the qcow2 with the same content, and says how far it has come', async (format, form) => {
    tool('qemu-img', 'convert', '-f', 'raw', ...form, at('root.ext4'), at('foreign'));
    const found = await driver.identify(at('foreign'), { format, virtualSizeBytesMax: 2 ** 30 });
    expect(found).toMatchObject({ format, virtualSizeBytes: 16 * 1024 ** 2 });
    const seen: number[] = [];
    const watch = { signal: new AbortController().signal, onProgress: (fraction: number) => void seen.push(fraction) };
    await driver.convert({ path: at('foreign'), format, to: at('converted.qcow2'), virtualSizeBytesMax: 2 ** 30 }, watch);
    expect(await driver.inspect(at('converted.qcow2'), { virtualSizeBytesMax: 2 ** 30, timeoutMs: 20_000 })).toMatchObject({
      format: 'qcow2', virtualSizeBytes: 16 * 1024 ** 2,
    });
    expect(tool('qemu-img', 'compare', '-f', 'raw', '-F', 'qcow2', at('root.ext4'), at('converted.qcow2'))).toContain('identical');
    expect(seen.at(-1)).toBe(1);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it('ends a conversion that nobody wants any more, and fails one whose disk is a lie', async () => {
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', at('root.ext4'), at('foreign'));
    const watch = { signal: AbortSignal.abort(new Error('cancelled')), onProgress: () => undefined };
    const conversion = { path: at('foreign'), format: 'vmdk' as const, to: at('unwanted.qcow2'), virtualSizeBytesMax: 2 ** 30 };
    await expect(driver.convert(conversion, watch)).rejects.toThrow();
    writeFileSync(at('foreign'), vmdkHeader({ sizeBytes: 2 ** 29 }));
    const failure = driver.convert(conversion, { ...watch, signal: new AbortController().signal });
    await expect(failure).rejects.toMatchObject({ kind: 'failed', message: expect.not.stringContaining(directory) });
  });

  it('makes overlays that qemu-img itself finds sound, with the format of the base stated', async () => {
    await driver.ensureOverlay({ path: at('overlay'), base: at('root.ext4'), baseFormat: 'raw', sizeBytes: 64 * 1024 * 1024 });
    const info = JSON.parse(tool('qemu-img', 'info', '--output=json', at('overlay'))) as Record<string, unknown>;
    expect(info).toMatchObject({ format: 'qcow2', 'virtual-size': 64 * 1024 * 1024, 'backing-filename': at('root.ext4'), 'backing-filename-format': 'raw' });
    expect(() => tool('qemu-img', 'check', '-q', at('overlay'))).not.toThrow();
    expect(readdirSync(directory).filter((name) => name.includes('.new-'))).toEqual([]);
  });

  it('keeps raw raw: an image that was registered as raw is never read as the qcow2 that a guest wrote into it', async () => {
    writeFileSync(at('turned.raw'), qcow2Header({ backingFile: '/etc/shadow' }));
    await driver.ensureOverlay({ path: at('turned'), base: at('turned.raw'), baseFormat: 'raw', sizeBytes: 1024 * 1024 });
    expect(await driver.chain(at('turned'))).toEqual([at('turned'), at('turned.raw')]);
  });

  it('refuses a qcow2 image whose tables lie, without the host paths in its words', async () => {
    const image = qcow2Header({ sizeBytes: 1024 * 1024 });
    image.writeUInt32BE(0x7fff_ffff, 36); // entries of the first table
    writeFileSync(at('lying'), image);
    const failure = driver.inspect(at('lying'), { virtualSizeBytesMax: 2 ** 40, timeoutMs: 20_000 });
    await expect(failure).rejects.toMatchObject({ kind: 'failed', message: expect.not.stringContaining(directory) });
  });

  it('copies a tree with owners, modes and links, once', async () => {
    const tree = at('tree');
    await driver.ensureTree({ path: at('root.ext4'), format: 'raw', directory: tree });
    expect(readFileSync(join(tree, 'etc', 'hostname'), 'utf8')).toBe('guest\n');
    expect(lstatSync(join(tree, 'etc', 'shadow'))).toMatchObject({ uid: 0, gid: 42 });
    expect(lstatSync(join(tree, 'etc', 'shadow')).mode & 0o7777).toBe(0o640);
    expect(lstatSync(join(tree, 'su')).mode & 0o7777).toBe(0o4755);
    expect(lstatSync(join(tree, 'home', 'ü name'))).toMatchObject({ uid: 1000, gid: 1000 });
    expect(lstatSync(join(tree, 'home', 'link')).isSymbolicLink()).toBe(true);
    expect(lstatSync(tree).mode & 0o777).toBe(0o755);
    writeFileSync(join(tree, 'etc', 'hostname'), 'changed by the guest\n');
    await driver.ensureTree({ path: at('root.ext4'), format: 'raw', directory: tree });
    expect(readFileSync(join(tree, 'etc', 'hostname'), 'utf8')).toBe('changed by the guest\n');
  });

  it('copies the tree in a qcow2 image', async () => {
    tool('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', at('root.ext4'), at('root.qcow2'));
    await driver.ensureTree({ path: at('root.qcow2'), format: 'qcow2', directory: at('tree2') });
    expect(readFileSync(join(at('tree2'), 'etc', 'hostname'), 'utf8')).toBe('guest\n');
  });

  it('writes nothing outside the tree, whatever names the image has', async () => {
    const victim = at('victim');
    tool('truncate', '-s', '16M', at('hostile.ext4'));
    tool('mke2fs', '-q', '-t', 'ext4', '-O', '^metadata_csum', '-F', '-d', at('source'), at('hostile.ext4'));
    writeFileSync(at('payload'), 'owned\n');
    // A file system with a link and a file of one name: whoever opens the name writes where the link points. The file is written
    // under another name of the same length first, which is then changed in the raw bytes of the folder.
    tool('debugfs', '-w', '-R', `symlink trap0 ${victim}`, at('hostile.ext4'));
    tool('debugfs', '-w', '-R', `write ${at('payload')} trap1`, at('hostile.ext4'));
    const image = readFileSync(at('hostile.ext4'));
    image.write('trap0', image.indexOf('trap1'));
    writeFileSync(at('hostile.ext4'), image);
    expect(tool('debugfs', '-R', 'ls -p /', at('hostile.ext4')).match(/trap0/g)).toHaveLength(2);
    await driver.ensureTree({ path: at('hostile.ext4'), format: 'raw', directory: at('tree3') }).catch(() => undefined); // refusing it is as good
    expect(existsSync(victim)).toBe(false);
  });

  it('makes drives that other tools read, with every name as it was given, and that only root can read on the host', async () => {
    const files = [
      { path: 'openstack/latest/user_data', content: Buffer.from('#!/bin/sh\n\0\xff', 'latin1') }, { path: 'openstack/content/0000', content: Buffer.alloc(0) },
      ...Array.from({ length: 100 }, (_, n) => ({ path: `many/file-with-a-long-name-${n}.txt`, content: Buffer.from(String(n)) })),
    ];
    await driver.ensureDrive({ path: at('drive'), label: 'config-2', files });
    expect(tool('blkid', '-o', 'value', '-s', 'LABEL', at('drive')).trim()).toBe('config-2');
    expect(lstatSync(at('drive')).mode & 0o777).toBe(0o600);
    tool('xorriso', '-no_rc', '-osirrox', 'on', '-indev', at('drive'), '-extract', '/', at('extracted'));
    for (const { path, content } of files) expect(readFileSync(join(at('extracted'), path))).toEqual(content);
    expect(readdirSync(at('extracted')).toSorted()).toEqual(['many', 'openstack']);
  });

  it('refuses what holds no file system, and leaves nothing behind', async () => {
    tool('truncate', '-s', '1M', at('nothing.raw'));
    await expect(driver.ensureTree({ path: at('nothing.raw'), format: 'raw', directory: at('tree4') })).rejects.toMatchObject({
      kind: 'failed', message: expect.stringContaining('no ext2'),
    });
    expect(readdirSync(directory).filter((name) => name.startsWith('tree4'))).toEqual([]);
  });
});
