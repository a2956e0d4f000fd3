// The file system that guests are given as a drive, read back by its own rules. Linux reads it in spec/host/flat.spec.ts.
import { describe, expect, it } from 'vitest';
import { iso9660, type IsoFile } from '../../../src/lib/iso9660.ts';

const sector = 2_048;
const files: readonly IsoFile[] = [
  { path: 'openstack/latest/meta_data.json', content: Buffer.from('{}') },
  { path: 'openstack/latest/user_data', content: Buffer.alloc(3 * sector + 7, 'u') },
  { path: 'openstack/content/0000', content: Buffer.from('auto lo\n') },
  { path: 'empty', content: Buffer.alloc(0) },
];

/** Every file below the folder whose entry begins there, with names as Linux shows them. */
function read(image: Buffer, at: number, folder = ''): Record<string, string> {
  const [start, size] = [image.readUInt32LE(at + 2) * sector, image.readUInt32LE(at + 10)];
  const found: Record<string, string> = {};
  for (let offset = start; offset < start + size;) {
    const length = image[offset] ?? 0;
    if (length === 0) {
      offset += sector - (offset % sector);
      continue;
    }
    const name = image.toString('latin1', offset + 33, offset + 33 + (image[offset + 32] ?? 0));
    const path = `${folder}${name.replace(/\.?;1$/, '').toLowerCase()}`;
    if (name > '\x01' && image[offset + 25] === 2) Object.assign(found, read(image, offset, `${path}/`));
    const content = image.readUInt32LE(offset + 2) * sector;
    if (image[offset + 25] === 0) found[path] = image.toString('latin1', content, content + image.readUInt32LE(offset + 10));
    offset += length;
  }
  return found;
}

const contents = (wanted: readonly IsoFile[]) => Object.fromEntries(wanted.map(({ path, content }) => [path, content.toString('latin1')]));

describe('a file system of a CD', () => {
  it('has its label where guests look for it, and holds the files', () => {
    const image = iso9660('config-2', files);
    expect(image.toString('latin1', 32_769, 32_774)).toBe('CD001');
    expect(image.toString('latin1', 32_808, 32_840).trimEnd()).toBe('config-2');
    expect(image.length).toBe(image.readUInt32LE(32_768 + 80) * sector);
    expect(read(image, 32_768 + 156)).toEqual(contents(files));
  });

  it('holds more entries than one sector has room for, none of them across its end', () => {
    const many = Array.from({ length: 100 }, (_, n): IsoFile => ({ path: `a/file-with-a-long-name-${n}.txt`, content: Buffer.from(String(n)) }));
    expect(read(iso9660('config-2', many), 32_768 + 156)).toEqual(contents(many));
  });

  it('of the same files is the same bytes', () => {
    expect(iso9660('config-2', files).equals(iso9660('config-2', files))).toBe(true);
  });
});
