// Writes a zip archive of a few small files, not compressed. Reading one, which is where the danger lies, is not done here.
import { crc32 } from 'node:zlib';

export interface ZipEntry {
  /** Of ASCII, and no path. */
  readonly name: string;
  readonly content: string;
  /** As of chmod: 0o600. */
  readonly mode: number;
}

const version = 20;
/** Who made it: Unix, so that modes are kept. */
const madeBy = (3 << 8) | version;
const regularFile = 0o100_000;

export function writeZip(entries: readonly ZipEntry[], now: Date): Buffer {
  const stamp = dosTime(now);
  const locals: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { name, content, mode } of entries) {
    const bytes = Buffer.from(content, 'utf8');
    const common = commonHeader(name, bytes, stamp);
    const local = Buffer.concat([signature(0x04034b50), common, Buffer.from(name, 'ascii'), bytes]);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(((regularFile | mode) << 16) >>> 0, 6);
    rest.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([signature(0x02014b50), words(madeBy), common, rest, Buffer.from(name, 'ascii')]));
    locals.push(local);
    offset += local.length;
  }
  const size = directory.reduce((sum, each) => sum + each.length, 0);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(size, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, ...directory, signature(0x06054b50), end]);
}

/** What the header before a file and its line in the directory have alike. */
function commonHeader(name: string, bytes: Buffer, { time, date }: { readonly time: number; readonly date: number }): Buffer {
  const sizes = Buffer.alloc(12);
  sizes.writeUInt32LE(crc32(bytes), 0);
  sizes.writeUInt32LE(bytes.length, 4);
  sizes.writeUInt32LE(bytes.length, 8);
  return Buffer.concat([words(version, 0, 0, time, date), sizes, words(name.length, 0)]);
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  values.forEach((value, index) => bytes.writeUInt16LE(value, 2 * index));
  return bytes;
}

/** In UTC, to two seconds. */
const dosTime = (now: Date) => ({
  time: (now.getUTCHours() << 11) | (now.getUTCMinutes() << 5) | (now.getUTCSeconds() >> 1),
  date: ((now.getUTCFullYear() - 1980) << 9) | ((now.getUTCMonth() + 1) << 5) | now.getUTCDate(),
});
