// The one file in an archive, against GNU tar itself and against archives that no bundler makes.
import { execFileSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { soleFile } from '../../../../src/actors/objectstore/bundles/sole-file.ts';
import { tarFile, tarOf } from '../../../support/bundles.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'novact-tar-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** In pieces of an odd size, so that nothing lies where a block begins. */
function* pieces(content: Buffer, bytes = 777): Generator<Buffer> {
  for (let at = 0; at < content.length; at += bytes) yield content.subarray(at, at + bytes);
}

async function read(archive: Buffer, sizeBytes: number): Promise<Buffer> {
  const found: Buffer[] = [];
  for await (const piece of soleFile(Readable.from(pieces(archive)) as AsyncIterable<Buffer>, { sizeBytes })) found.push(piece);
  return Buffer.concat(found);
}

function packed(name: string, ...args: readonly string[]): { archive: Buffer; content: Buffer } {
  execFileSync('tar', ['-C', folder, ...args, '-cf', join(folder, 'a.tar'), name]);
  return { archive: readFileSync(join(folder, 'a.tar')), content: readFileSync(join(folder, name)) };
}

function sparseFile(name: string, sizeBytes: number, at: readonly number[]): void {
  const file = openSync(join(folder, name), 'w');
  ftruncateSync(file, sizeBytes);
  for (const offset of at) writeSync(file, `here is ${offset}`, offset);
  closeSync(file);
}

describe('the file in an archive', () => {
  it.each(['gnu', 'ustar', 'posix', 'v7'])('is read as GNU tar wrote it (%s)', async (format) => {
    writeFileSync(join(folder, 'image'), Buffer.alloc(100_001, 'novact'));
    const { archive, content } = packed('image', `--format=${format}`);
    expect(await read(archive, content.length)).toEqual(content);
  });

  it.each(['gnu', 'posix'])('may have a long name (%s)', async (format) => {
    const name = `${'long-'.repeat(40)}image`;
    writeFileSync(join(folder, name), 'content');
    const { archive } = packed(name, `--format=${format}`);
    expect((await read(archive, 7)).toString()).toBe('content');
  });

  it('S7: may be sparse, as ec2-ami-tools packs it: of few pieces and of many', async () => {
    for (const count of [0, 1, 3, 100]) {
      sparseFile('image', 8 * 2 ** 20, Array.from({ length: count }, (_, index) => 40_960 * (2 * index + 1)));
      const { archive, content } = packed('image', '--format=gnu', '-S');
      expect(archive.length).toBeLessThan(2 ** 20);
      expect((await read(archive, content.length)).equals(content), `${count} pieces`).toBe(true);
    }
  });

  it('is refused when it is sparse in a form that is not read', async () => {
    sparseFile('image', 2 ** 20, [500_000]);
    await expect(read(packed('image', '--format=posix', '-S').archive, 2 ** 20)).rejects.toThrow('sparse in the form of PAX');
  });
});

describe('S8: an archive that no bundler makes', () => {
  const file = tarFile({ name: 'image', content: Buffer.from('content') });
  const refused: [string, Buffer, string][] = [
    ['a name that climbs', tarOf([tarFile({ name: '../../etc/passwd', content: Buffer.from('content') })]), 'a file named "../../etc/passwd"'],
    ['a name from the root', tarOf([tarFile({ name: '/etc/passwd', content: Buffer.from('content') })]), 'a file named'],
    ['a long name that climbs', tarOf([tarFile({ name: '././@LongLink', type: 'L', content: Buffer.from('a/../../b\0') }), file]), 'a file named'],
    ['an extended name that climbs', tarOf([tarFile({ name: 'x', type: 'x', content: Buffer.from('16 path=../x/y\n') }), file]), 'a file named'],
    ['a symbolic link', tarOf([tarFile({ name: 'image', type: '2', linkTo: '/etc/passwd' })]), 'a symbolic link where an image'],
    ['a link', tarOf([tarFile({ name: 'image', type: '1', linkTo: 'other' })]), 'a link where an image'],
    ['a device', tarOf([tarFile({ name: 'image', type: '4' })]), 'a device where an image'],
    ['a folder', tarOf([tarFile({ name: 'image', type: '5' })]), 'a folder where an image'],
    ['a second file', tarOf([file, file]), 'more than one file'],
    ['nothing', tarOf([]), 'is empty'],
    ['fewer bytes than it says', tarFile({ name: 'image', content: Buffer.from('cont'), sizeBytes: 7_000 }), 'has 7000 bytes'],
    ['an end too early', file.subarray(0, 515), 'cut off'],
    ['no end of its filling', Buffer.concat([file, Buffer.alloc(3 * 2 ** 20)]), 'does not end'],
    ['too much before its file', tarOf([tarFile({ name: 'l', type: 'L', content: Buffer.alloc(70_000, 'x') }), file]), 'too much before'],
    ['no archive', Buffer.alloc(20_000, 'x'), 'no tar archive'],
  ];
  it.each(refused)('with %s is refused', async (_, archive, reason) => {
    await expect(read(archive, 7)).rejects.toThrow(reason);
  });

  it('with more bytes than the manifest says is refused before it is unpacked', async () => {
    await expect(read(tarOf([tarFile({ name: 'bomb', content: Buffer.alloc(8_000) })]), 7)).rejects.toThrow('has 8000 bytes, and its manifest says 7');
  });

  it('whose sparse map contradicts itself is refused', async () => {
    sparseFile('image', 2 ** 20, [0, 500_000]);
    const { archive } = packed('image', '--format=gnu', '-S');
    const broken = Buffer.from(archive);
    broken.write('77777777777\0', 386 + 24, 'latin1');
    const sum = broken.subarray(0, 512).reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
    broken.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
    await expect(read(broken, 2 ** 20)).rejects.toThrow('contradicts itself');
  });
});
