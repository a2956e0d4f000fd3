// The one file in a tar archive, as a stream: what a bundle holds. Written down nowhere by name, so that no name leads anywhere; all the same
// an archive with a strange name, a link, a device or a second file is none that a bundler made, and is refused. Sparse files come in GNU
// tar's old form (`tar -S`, as ec2-ami-tools calls it): their holes are given as zeros.
import { BundleError } from './manifest.ts';

const blockBytes = 512;
/** Long names and extended headers, of which a bundler needs a few hundred bytes. */
const headersBytesMax = 64 * 1024;
/** An archive is filled up to a multiple of its record: 10 KiB, seldom more. */
const fillingBytesMax = 1024 * 1024;
const extentsMax = 1_000_000;
const zeros = Buffer.alloc(256 * 1024);

export interface SoleFileWish {
  /** Less or more is refused before a byte of it is given. */
  readonly sizeBytes: number;
}

/** Reads the archive to its end: only then is a digest of it whole. */
export async function* soleFile(archive: AsyncIterable<Buffer>, wish: SoleFileWish): AsyncGenerator<Buffer> {
  const reader = new BlockReader(archive);
  const header = await fileHeader(reader);
  const extents = header.isSparse ? await sparseExtents(reader, header) : [{ offset: 0, length: header.storedBytes }];
  const sizeBytes = header.isSparse ? header.realBytes : header.storedBytes;
  if (sizeBytes !== wish.sizeBytes) throw new BundleError(`the image in it has ${sizeBytes} bytes, and its manifest says ${wish.sizeBytes}`);
  let position = 0;
  for (const { offset, length } of extents) {
    yield* zerosOf(offset - position);
    yield* reader.pass(length);
    position = offset + length;
  }
  yield* zerosOf(sizeBytes - position);
  await reader.skipFilling(header.storedBytes);
  await expectEnd(reader);
}

interface Header {
  readonly isSparse: boolean;
  readonly block: Buffer;
  /** Bytes of it in the archive. */
  readonly storedBytes: number;
  /** With the holes; of sparse files. */
  readonly realBytes: number;
}

async function fileHeader(reader: BlockReader): Promise<Header> {
  let beforeBytes = 0;
  let statedBytes: number | undefined;
  for (;;) {
    const block = await reader.take(blockBytes);
    if (isZero(block)) throw new BundleError('the archive in it is empty');
    checkSum(block);
    const type = String.fromCharCode(block[156] ?? 0);
    const storedBytes = numberAt(block, 124, 12);
    if (type === 'L' || type === 'K' || type === 'x' || type === 'g') {
      beforeBytes += storedBytes;
      if (beforeBytes > headersBytesMax) throw new BundleError('the archive in it has too much before its file');
      const content = await reader.take(storedBytes);
      await reader.skipFilling(storedBytes);
      if (type === 'L') checkName(textAt(content, 0, content.length));
      if (type === 'x') statedBytes = checkExtended(content.toString('utf8')) ?? statedBytes;
      continue;
    }
    if (!['0', '\0', '7', 'S'].includes(type)) throw new BundleError(`the archive in it has ${kinds[type] ?? 'something unknown'} where an image was expected`);
    checkName(textAt(block, 0, 100));
    checkName(block.toString('latin1', 257, 262) === 'ustar' && block[262] === 0 ? textAt(block, 345, 155) : '');
    return { isSparse: type === 'S', block, storedBytes: statedBytes ?? storedBytes, realBytes: type === 'S' ? numberAt(block, 483, 12) : 0 };
  }
}

const kinds: Readonly<Record<string, string>> = { 1: 'a link', 2: 'a symbolic link', 3: 'a device', 4: 'a device', 5: 'a folder', 6: 'a pipe' };

function checkName(name: string): void {
  if (name.startsWith('/') || name.split('/').includes('..')) throw new BundleError(`the archive in it has a file named ${JSON.stringify(name.slice(0, 60))}`);
}

/** `LENGTH KEY=VALUE` on each line. Returns the size, if it says one. */
function checkExtended(text: string): number | undefined {
  const records = new Map([...text.matchAll(/^\d+ ([^=\n]+)=([^\n]*)$/gm)].map(([, key = '', value = '']) => [key, value]));
  if ([...records.keys()].some((key) => key.startsWith('GNU.sparse'))) {
    throw new BundleError('the archive in it is sparse in the form of PAX; bundle it with tar --format=gnu, or not sparse');
  }
  checkName(records.get('path') ?? '');
  const size = records.get('size');
  return size === undefined || !/^\d{1,15}$/.test(size) ? undefined : Number(size);
}

interface Extent {
  readonly offset: number;
  readonly length: number;
}

/** Four in the header, 21 in each block after it. They must be in order, lie within the file, and be as long together as what is stored. */
async function sparseExtents(reader: BlockReader, { block, storedBytes, realBytes }: Header): Promise<Extent[]> {
  const extents = extentsAt(block, 386, 4);
  let isExtended = block[482] === 1;
  while (isExtended) {
    const more = await reader.take(blockBytes);
    extents.push(...extentsAt(more, 0, 21));
    if (extents.length > extentsMax) throw new BundleError('the archive in it is of too many pieces');
    isExtended = more[504] === 1;
  }
  let [position, stored] = [0, 0];
  for (const { offset, length } of extents) {
    if (offset < position || offset + length > realBytes) throw new BundleError('the sparse file in it contradicts itself');
    position = offset + length;
    stored += length;
  }
  if (stored !== storedBytes) throw new BundleError('the sparse file in it contradicts itself');
  return extents;
}

function extentsAt(block: Buffer, start: number, count: number): Extent[] {
  return Array.from({ length: count }, (_, index) => start + index * 24)
    .filter((at) => block[at] !== 0)
    .map((at) => ({ offset: numberAt(block, at, 12), length: numberAt(block, at + 12, 12) }));
}

async function expectEnd(reader: BlockReader): Promise<void> {
  let fillingBytes = 0;
  for (let rest = await reader.some(); rest !== undefined; rest = await reader.some()) {
    if (!isZero(rest)) throw new BundleError('the archive in it has more than one file');
    fillingBytes += rest.length;
    if (fillingBytes > fillingBytesMax) throw new BundleError('the archive in it does not end after its file');
  }
}

function* zerosOf(count: number): Generator<Buffer> {
  for (let left = count; left > 0; left -= zeros.length) yield zeros.subarray(0, Math.min(left, zeros.length));
}

const isZero = (bytes: Buffer): boolean => bytes.every((byte) => byte === 0);

const textAt = (bytes: Buffer, at: number, length: number): string => bytes.toString('utf8', at, at + length).replace(/\0[^]*$/, '');

/** Octal digits, or with the first bit set a number of that many bytes. */
function numberAt(block: Buffer, at: number, length: number): number {
  const first = block[at] ?? 0;
  const text = textAt(block, at, length).trim();
  const value = first === 0x80 ? Number(block.readBigUInt64BE(at + length - 8)) : /^[0-7]*$/.test(text) ? Number.parseInt(text || '0', 8) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw new BundleError('the archive in it has a number that is none');
  return value;
}

/** Of all bytes, with the eight of the sum itself as blanks. */
function checkSum(block: Buffer): void {
  const stated = Number.parseInt(textAt(block, 148, 8).trim(), 8);
  const sum = block.reduce((total, byte, index) => total + (index >= 148 && index < 156 ? 32 : byte), 0);
  if (sum !== stated) throw new BundleError('it holds no tar archive');
}

/** Bytes of a stream in the amounts that are asked for. */
class BlockReader {
  readonly #source: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** What there is next; undefined at the end. */
  async some(): Promise<Buffer | undefined> {
    while (this.#rest.length === 0) {
      const { done, value } = await this.#source.next();
      if (done === true) return undefined;
      this.#rest = value;
    }
    const rest = this.#rest;
    this.#rest = Buffer.alloc(0);
    return rest;
  }

  async take(count: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    for await (const piece of this.pass(count)) pieces.push(piece);
    return Buffer.concat(pieces);
  }

  async *pass(count: number): AsyncGenerator<Buffer> {
    let left = count;
    while (left > 0) {
      const piece = await this.some();
      if (piece === undefined) throw new BundleError('the archive in it is cut off');
      if (piece.length > left) this.#rest = piece.subarray(left);
      yield piece.subarray(0, left);
      left -= Math.min(left, piece.length);
    }
  }

  /** Content is filled up to whole blocks. */
  async skipFilling(contentBytes: number): Promise<void> {
    await this.take((blockBytes - (contentBytes % blockBytes)) % blockBytes);
  }
}
