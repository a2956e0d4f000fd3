// A file system for CDs (ISO 9660), made whole in memory: how a guest is given files before it has a network. Pure, so that the same files give
// the same bytes. Names are of capital letters, as the standard wants them, and every system shows them in small ones.

export interface IsoFile {
  /** `openstack/latest/user_data`. */
  readonly path: string;
  readonly content: Buffer;
}

interface Placed {
  readonly name: string;
  sector: number;
  sizeBytes: number;
}

interface Folder extends Placed {
  /** Itself, for the root. */
  readonly parent: Folder | undefined;
  readonly folders: Folder[];
  readonly files: (Placed & { readonly content: Buffer })[];
}

const sectorBytes = 2_048;
const firstFree = 20;
const [descriptorSector, endSector, littleTableSector, bigTableSector] = [16, 17, 18, 19];

/** `label`: at most 32 characters. A file system of some KiB: folders with hundreds of entries, and tables of more than a sector, are not made. */
export function iso9660(label: string, files: readonly IsoFile[]): Buffer {
  const root = treeOf(files);
  const folders = breadthFirst(root);
  const contents = folders.flatMap((folder) => folder.files);
  let next = firstFree;
  for (const folder of folders) next = place(folder, next, entriesBytes(folder));
  for (const file of contents) next = place(file, next, file.content.length);
  const image = Buffer.alloc(next * sectorBytes);
  const tables = [pathTable(folders, 'LE'), pathTable(folders, 'BE')] as const;
  descriptor({ label, root, sectors: next, tableBytes: tables[0].length }).copy(image, descriptorSector * sectorBytes);
  Buffer.from('\xffCD001\x01', 'latin1').copy(image, endSector * sectorBytes);
  tables[0].copy(image, littleTableSector * sectorBytes);
  tables[1].copy(image, bigTableSector * sectorBytes);
  for (const folder of folders) entriesOf(folder).copy(image, folder.sector * sectorBytes);
  for (const file of contents) file.content.copy(image, file.sector * sectorBytes);
  return image;
}

function treeOf(files: readonly IsoFile[]): Folder {
  const root = newFolder('\0', undefined);
  for (const { path, content } of files) {
    const names = path.split('/');
    const file = names.pop() ?? '';
    let folder = root;
    for (const name of names.map((one) => one.toUpperCase())) {
      const known = folder.folders.find((one) => one.name === name);
      const found: Folder = known ?? newFolder(name, folder);
      if (known === undefined) folder.folders.push(found);
      folder = found;
    }
    folder.files.push({ name: `${file.toUpperCase()}${file.includes('.') ? '' : '.'};1`, content, sector: 0, sizeBytes: 0 });
  }
  return root;
}

const newFolder = (name: string, parent: Folder | undefined): Folder => ({ name, parent, folders: [], files: [], sector: 0, sizeBytes: 0 });

function breadthFirst(root: Folder): Folder[] {
  const all = [root];
  for (const folder of all) all.push(...folder.folders.toSorted(byName));
  return all;
}

const byName = (a: Placed, b: Placed): number => (a.name < b.name ? -1 : 1);

function place(what: Placed, sector: number, sizeBytes: number): number {
  what.sector = sector;
  what.sizeBytes = sizeBytes;
  return sector + Math.max(1, Math.ceil(sizeBytes / sectorBytes));
}

/** No entry lies across the end of a sector. */
function pack(records: readonly Buffer[]): Buffer {
  const parts: Buffer[] = [];
  let used = 0;
  for (const record of records) {
    const left = sectorBytes - (used % sectorBytes);
    if (record.length > left) parts.push(Buffer.alloc(left));
    used += record.length + (record.length > left ? left : 0);
    parts.push(record);
  }
  return Buffer.concat([...parts, Buffer.alloc((sectorBytes - (used % sectorBytes)) % sectorBytes)]);
}

function entriesOf(folder: Folder): Buffer {
  const isFolder = true;
  const children = [...folder.folders.map((one) => ({ one, isFolder })), ...folder.files.map((one) => ({ one, isFolder: false }))];
  return pack([
    entry(folder, { name: '\0', isFolder }),
    entry(folder.parent ?? folder, { name: '\x01', isFolder }),
    ...children.toSorted((a, b) => byName(a.one, b.one)).map(({ one, ...rest }) => entry(one, { name: one.name, ...rest })),
  ]);
}

const entriesBytes = (folder: Folder): number => entriesOf(folder).length;

/** Numbers stand twice, in either order of bytes. */
function both(buffer: Buffer, offset: number, value: number, bytes: 2 | 4): void {
  buffer.writeUIntLE(value, offset, bytes);
  buffer.writeUIntBE(value, offset + bytes, bytes);
}

/** No time is told: the same files are the same bytes. */
const someDay = Buffer.from([111, 2, 4, 0, 0, 0, 0]);

function entry({ sector, sizeBytes }: Placed, { name, isFolder }: { readonly name: string; readonly isFolder: boolean }): Buffer {
  const bytes = Buffer.alloc(33 + name.length + (name.length % 2 === 0 ? 1 : 0));
  bytes[0] = bytes.length;
  both(bytes, 2, sector, 4);
  both(bytes, 10, sizeBytes, 4);
  someDay.copy(bytes, 18);
  bytes[25] = isFolder ? 2 : 0;
  both(bytes, 28, 1, 2);
  bytes[32] = name.length;
  bytes.write(name, 33, 'latin1');
  return bytes;
}

function pathTable(folders: readonly Folder[], order: 'LE' | 'BE'): Buffer {
  return Buffer.concat(folders.map(({ name, sector, parent }) => {
    const bytes = Buffer.alloc(8 + name.length + (name.length % 2));
    bytes[0] = name.length;
    bytes[order === 'LE' ? 'writeUInt32LE' : 'writeUInt32BE'](sector, 2);
    bytes[order === 'LE' ? 'writeUInt16LE' : 'writeUInt16BE'](parent === undefined ? 1 : folders.indexOf(parent) + 1, 6);
    bytes.write(name, 8, 'latin1');
    return bytes;
  }));
}

function descriptor(of: { readonly label: string; readonly root: Folder; readonly sectors: number; readonly tableBytes: number }): Buffer {
  const bytes = Buffer.alloc(sectorBytes);
  bytes.write('\x01CD001\x01', 0, 'latin1');
  bytes.fill(' ', 8, 72).write(of.label.slice(0, 32), 40, 'latin1');
  both(bytes, 80, of.sectors, 4);
  for (const offset of [120, 124]) both(bytes, offset, 1, 2); // one disc of one
  both(bytes, 128, sectorBytes, 2);
  both(bytes, 132, of.tableBytes, 4);
  bytes.writeUInt32LE(littleTableSector, 140);
  bytes.writeUInt32BE(bigTableSector, 148);
  entry(of.root, { name: '\0', isFolder: true }).copy(bytes, 156);
  bytes.fill(' ', 190, 813);
  for (const offset of [813, 830, 847, 864]) bytes.write(`${'0'.repeat(16)}\0`, offset, 'latin1');
  bytes[881] = 1;
  return bytes;
}
