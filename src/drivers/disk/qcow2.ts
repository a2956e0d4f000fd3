// Reads the header of a qcow2 image, before any tool opens the file: a hostile header may name other files of the host.
// Facts from the format's public specification (docs/interop/qcow2.txt).

export interface Qcow2Header {
  readonly version: number;
  readonly virtualSizeBytes: number;
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  readonly encrypted: boolean;
  readonly externalDataFile: boolean;
  readonly corrupt: boolean;
}

/** What to read of a file to know its header: the backing file's name lies within the first cluster, of at most 2 MiB. */
export const qcow2HeaderBytesMax = 64 * 1024;

const incompatible = { corrupt: 1n << 1n, externalData: 1n << 2n } as const;
const extensions = { end: 0, backingFormat: 0xe279_2aca } as const;
const cryptNone = 0;
const version2HeaderBytes = 72;

/** Undefined when these bytes do not begin a qcow2 image. Throws RangeError for a header that contradicts itself. */
export function parseQcow2Header(bytes: Buffer): Qcow2Header | undefined {
  if (bytes.length < version2HeaderBytes || bytes.toString('latin1', 0, 4) !== 'QFI\xfb') return undefined;
  const version = bytes.readUInt32BE(4);
  if (version !== 2 && version !== 3) throw new RangeError(`qcow version ${version}`);
  const features = version === 3 ? bytes.readBigUInt64BE(72) : 0n;
  const headerBytes = version === 3 ? bytes.readUInt32BE(100) : version2HeaderBytes;
  const backingOffset = Number(bytes.readBigUInt64BE(8));
  const backingBytes = bytes.readUInt32BE(16);
  if (backingOffset !== 0 && (backingBytes > 1023 || backingOffset + backingBytes > bytes.length)) throw new RangeError('the name of its backing file');
  return {
    version,
    virtualSizeBytes: Number(bytes.readBigUInt64BE(24)),
    backingFile: backingOffset === 0 ? undefined : bytes.toString('utf8', backingOffset, backingOffset + backingBytes),
    backingFormat: findExtension(bytes, headerBytes, extensions.backingFormat)?.toString('latin1'),
    encrypted: bytes.readUInt32BE(32) !== cryptNone,
    externalDataFile: (features & incompatible.externalData) !== 0n,
    corrupt: (features & incompatible.corrupt) !== 0n,
  };
}

function findExtension(bytes: Buffer, start: number, wanted: number): Buffer | undefined {
  for (let offset = start; offset + 8 <= bytes.length; ) {
    const type = bytes.readUInt32BE(offset);
    const length = bytes.readUInt32BE(offset + 4);
    if (type === extensions.end || offset + 8 + length > bytes.length) return undefined;
    if (type === wanted) return bytes.subarray(offset + 8, offset + 8 + length);
    offset += 8 + Math.ceil(length / 8) * 8;
  }
  return undefined;
}

/** The header of an image of version 2 in which nothing was ever written, for drivers without tools. */
export function emptyQcow2(virtualSizeBytes: number): Buffer {
  const header = Buffer.alloc(512);
  header.write('QFI\xfb', 0, 'latin1');
  header.writeUInt32BE(2, 4);
  header.writeUInt32BE(16, 20);
  header.writeBigUInt64BE(BigInt(virtualSizeBytes), 24);
  return header;
}
