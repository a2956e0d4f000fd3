// Headers of VMDK, VDI and VHD disks made by hand, honest and hostile, so that specs need no tool to make one.

const sectorBytes = 512;

export interface VmdkWish {
  readonly sizeBytes?: number;
  /** Zero: QEMU would take the descriptor for a list of extents. */
  readonly hasSize?: boolean;
  readonly createType?: string;
  /** Further lines of the descriptor. */
  readonly lines?: readonly string[];
  readonly parentCid?: string;
  readonly descriptorSector?: number;
}

export function vmdkHeader({ sizeBytes = 2 ** 20, hasSize = true, createType = 'monolithicSparse', lines = [], parentCid = 'ffffffff', descriptorSector = 1 }:
VmdkWish = {}): Buffer {
  const bytes = Buffer.alloc(65_536);
  bytes.write('KDMV', 'latin1');
  bytes.writeUInt32LE(1, 4);
  bytes.writeUInt32LE(3, 8);
  bytes.writeBigUInt64LE(hasSize ? BigInt(sizeBytes / sectorBytes) : 0n, 12);
  bytes.writeBigUInt64LE(128n, 20);
  bytes.writeBigUInt64LE(BigInt(descriptorSector), 28);
  bytes.writeBigUInt64LE(20n, 36);
  const text = ['# Disk DescriptorFile', 'version=1', 'CID=12345678', `parentCID=${parentCid}`, `createType="${createType}"`, ...lines];
  bytes.write(`${text.join('\n')}\n`, sectorBytes, 'latin1');
  return bytes;
}

export function vdiHeader({ sizeBytes = 2 ** 20, type = 1, parent = false } = {}): Buffer {
  const bytes = Buffer.alloc(4_096);
  bytes.write('<<< QEMU VM Virtual Disk Image >>>\n', 'latin1');
  bytes.writeUInt32LE(0xbeda107f, 0x40);
  bytes.writeUInt32LE(0x00010001, 0x44);
  bytes.writeUInt32LE(type, 0x4c);
  bytes.writeBigUInt64LE(BigInt(sizeBytes), 0x170);
  if (parent) bytes.writeUInt8(7, 0x1b8);
  return bytes;
}

/** `type`: 2 fixed (a footer behind the data), 3 dynamic, 4 differencing. */
export function vhdImage({ sizeBytes = 2 ** 20, type = 3 } = {}): Buffer {
  const footer = Buffer.alloc(sectorBytes);
  footer.write('conectix', 'latin1');
  footer.writeBigUInt64BE(BigInt(sizeBytes), 48);
  footer.writeUInt32BE(type, 60);
  return type === 2 ? Buffer.concat([Buffer.alloc(sizeBytes), footer]) : Buffer.concat([footer, Buffer.alloc(4_096), footer]);
}
