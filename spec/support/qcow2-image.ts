// qcow2 headers made by hand, honest and hostile, so that specs need no tool to make an image.

export interface Qcow2Wish {
  readonly version?: 1 | 2 | 3;
  readonly sizeBytes?: number;
  readonly backingFile?: string;
  readonly encrypted?: boolean;
  readonly externalData?: boolean;
  readonly corrupt?: boolean;
}

/** The first cluster of an image. Enough for whoever reads headers; a tool finds no data behind it. */
export function qcow2Header(wish: Qcow2Wish = {}): Buffer {
  const bytes = Buffer.alloc(65_536);
  bytes.write('QFI\xfb', 'latin1');
  bytes.writeUInt32BE(wish.version ?? 3, 4);
  if (wish.backingFile !== undefined) {
    bytes.writeBigUInt64BE(512n, 8);
    bytes.writeUInt32BE(Buffer.byteLength(wish.backingFile), 16);
    bytes.write(wish.backingFile, 512);
  }
  bytes.writeUInt32BE(16, 20);
  bytes.writeBigUInt64BE(BigInt(wish.sizeBytes ?? 1024 * 1024), 24);
  bytes.writeUInt32BE(wish.encrypted === true ? 1 : 0, 32);
  bytes.writeBigUInt64BE((wish.corrupt === true ? 2n : 0n) | (wish.externalData === true ? 4n : 0n), 72);
  bytes.writeUInt32BE(104, 100);
  return bytes;
}
