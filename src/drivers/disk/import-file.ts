// What a disk image of another kind says of itself in its first bytes, before any tool opens it. Some kinds can name other files (a parent, extents, a
// backing file), and a tool would open whatever is named: those are refused here. Facts from the public descriptions of VMDK (VMware's "Virtual Disk
// Format 5.0"), VDI (VirtualBox's VDICore.h) and VHD ("Virtual Hard Disk Image Format Specification"), and from what QEMU reads of them.
import { open } from 'node:fs/promises';
import type { ImportedFile, ImportFormat } from './driver.ts';
import { checkHeader, checkSize, headerOf, mustExist, refusal } from './image-file.ts';
import { refusedFormat } from './signatures.ts';

interface Bytes {
  readonly start: Buffer;
  /** The last sector. */
  readonly end: Buffer;
  readonly sizeBytes: number;
}

const startBytesMax = 64 * 1024;
const sectorBytes = 512;

/** `format`: what it is said to be. Throws `notFound`, and a refusal for what is something else, names other files, or is too large. */
export async function identify(path: string, wish: { format?: ImportFormat | undefined; virtualSizeBytesMax: number }): Promise<ImportedFile> {
  const bytes = await readEnds(path);
  if (bytes.sizeBytes === 0) throw refusal('it is empty');
  const format = formatOf(bytes, wish.format);
  if (wish.format !== undefined && wish.format !== format) throw refusal(`it is ${format}, and not ${wish.format} as was said`);
  const virtualSizeBytes = readers[format](bytes);
  checkSize(virtualSizeBytes, wish.virtualSizeBytesMax);
  return { format, virtualSizeBytes, sizeBytes: bytes.sizeBytes };
}

function formatOf({ start, end }: Bytes, said: ImportFormat | undefined): ImportFormat {
  if (headerOf(start) !== undefined) return 'qcow2';
  if (textAt(start, 0, 4) === 'KDMV') return 'vmdk';
  if (textAt(start, vdi.signature, 4) === '\x7f\x10\xda\xbe') return 'vdi';
  // One of fixed size is a raw disk with a footer, which a raw disk may have as well: it is what it is said to be.
  if (textAt(start, 0, 8) === vhd.cookie || (said === 'vhd' && textAt(end, 0, 8) === vhd.cookie)) return 'vhd';
  return 'raw';
}

const readers: Readonly<Record<ImportFormat, (bytes: Bytes) => number>> = { raw: readRaw, qcow2: readQcow2, vmdk: readVmdk, vdi: readVdi, vhd: readVhd };

function readRaw({ start, sizeBytes }: Bytes): number {
  const refused = refusedFormat(start);
  if (refused !== undefined) throw refusal(`it is ${refused.is}; ${refused.remedy}`);
  if (sizeBytes % sectorBytes !== 0) throw refusal(`its ${sizeBytes} bytes are not a whole number of sectors of ${sectorBytes}: is it cut off?`);
  return sizeBytes;
}

function readQcow2({ start }: Bytes): number {
  const header = headerOf(start);
  if (header === undefined) throw refusal('it is not qcow2');
  checkHeader(header);
  return header.virtualSizeBytes;
}

const flatten = 'convert it with: qemu-img convert -O qcow2 IMAGE OUT';
/** Where tools look for the descriptor of a disk that is one file, and how much of it. */
const descriptor = { offset: 512, bytes: 20 * sectorBytes };

/**
 * One file with its own data. Without a size, QEMU takes the descriptor in it for a list of extents, which are other files; and it opens a parent by
 * the name in the descriptor (CVE-2022-47951 and its kin).
 */
function readVmdk({ start }: Bytes): number {
  if (start.length < descriptor.offset) throw refusal('its VMDK header is cut off');
  const [sectors, descriptorSector] = [start.readBigUInt64LE(12), start.readBigUInt64LE(28)];
  if (sectors === 0n) throw refusal(`it is a VMDK whose data is in other files; ${flatten}`);
  if (descriptorSector > 1n) throw refusal('its VMDK header is wrong: the descriptor is not where it belongs');
  const text = start.toString('latin1', descriptor.offset, descriptor.offset + descriptor.bytes);
  if (/parentFileNameHint/i.test(text)) throw refusal(`it is a VMDK that stands on another file; ${flatten}`);
  const parent = /parentCID\s*=\s*([0-9a-f]+)/i.exec(text)?.[1];
  if (parent !== undefined && parent.toLowerCase() !== 'ffffffff') throw refusal(`it is a VMDK that stands on another file; ${flatten}`);
  const type = /createType\s*=\s*"?([a-z0-9]+)/i.exec(text)?.[1];
  if (type !== undefined && !['monolithicsparse', 'streamoptimized'].includes(type.toLowerCase())) {
    throw refusal(`it is a VMDK of the type ${type.slice(0, 40)}, whose data may be in other files; ${flatten}`);
  }
  return sizeOf(sectors * BigInt(sectorBytes));
}

const vdi = { signature: 0x40, type: 0x4c, size: 0x170, link: 0x1a8, parent: 0x1b8, uuidBytes: 16, headerBytes: 0x1c8, types: [1, 2] };

function readVdi({ start }: Bytes): number {
  if (start.length < vdi.headerBytes) throw refusal('its VDI header is cut off');
  const isNamed = (offset: number): boolean => start.subarray(offset, offset + vdi.uuidBytes).some((byte) => byte !== 0);
  if (!vdi.types.includes(start.readUInt32LE(vdi.type)) || isNamed(vdi.link) || isNamed(vdi.parent)) {
    throw refusal('it is a VDI that stands on another file; convert it with: VBoxManage clonemedium IMAGE OUT');
  }
  return sizeOf(start.readBigUInt64LE(vdi.size));
}

const vhd = { cookie: 'conectix', size: 48, type: 60, types: [2, 3] };

function readVhd({ start, end }: Bytes): number {
  const footer = textAt(start, 0, 8) === vhd.cookie ? start : end;
  if (footer.length < sectorBytes) throw refusal('its VHD footer is cut off');
  if (!vhd.types.includes(footer.readUInt32BE(vhd.type))) throw refusal('it is a VHD that stands on another file; merge it with its parent first');
  return sizeOf(footer.readBigUInt64BE(vhd.size));
}

/** More than a number can say is too large for every limit. */
const sizeOf = (bytes: bigint): number => (bytes > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(bytes));

const textAt = (bytes: Buffer, offset: number, length: number): string => bytes.toString('latin1', offset, offset + length);

async function readEnds(path: string): Promise<Bytes> {
  await mustExist(path);
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const read = async (position: number, length: number): Promise<Buffer> => {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, position);
      return buffer.subarray(0, bytesRead);
    };
    const endBytes = Math.min(size, sectorBytes);
    return { start: await read(0, Math.min(size, startBytesMax)), end: await read(size - endBytes, endBytes), sizeBytes: size };
  } finally {
    await file.close();
  }
}
