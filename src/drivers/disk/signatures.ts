// Formats that novact does not take, by their first bytes, so that the refusal can say what the file is. Everything unknown is raw:
// a raw disk may begin with anything, and is only ever opened as raw.

interface Signature {
  readonly offset: number;
  readonly bytes: string;
  readonly is: string;
  readonly remedy: string;
}

const convert = 'convert it with: qemu-img convert -O qcow2 IMAGE OUT';
const unpack = 'unpack it first';

const signatures: readonly Signature[] = [
  { offset: 0, bytes: 'KDMV', is: 'a VMDK disk', remedy: convert },
  { offset: 0, bytes: 'COWD', is: 'a VMDK disk', remedy: convert },
  { offset: 0, bytes: '# Disk DescriptorFile', is: 'a VMDK descriptor', remedy: convert },
  { offset: 0x40, bytes: '\x7f\x10\xda\xbe', is: 'a VirtualBox disk (VDI)', remedy: convert },
  { offset: 0, bytes: 'vhdxfile', is: 'a VHDX disk', remedy: convert },
  { offset: 0, bytes: 'conectix', is: 'a VHD disk', remedy: convert },
  { offset: 0, bytes: 'QED\0', is: 'a QED disk', remedy: convert },
  { offset: 0, bytes: 'WithoutFreeSpace', is: 'a Parallels disk', remedy: convert },
  { offset: 0, bytes: 'WithouFreSpacExt', is: 'a Parallels disk', remedy: convert },
  { offset: 0, bytes: 'LUKS\xba\xbe', is: 'encrypted (LUKS)', remedy: 'encrypted images cannot be run' },
  { offset: 0, bytes: '\x1f\x8b', is: 'compressed with gzip', remedy: unpack },
  { offset: 0, bytes: '\xfd7zXZ\0', is: 'compressed with xz', remedy: unpack },
  { offset: 0, bytes: 'BZh', is: 'compressed with bzip2', remedy: unpack },
  { offset: 0, bytes: '\x28\xb5\x2f\xfd', is: 'compressed with zstd', remedy: unpack },
  { offset: 0, bytes: 'PK\x03\x04', is: 'a zip archive', remedy: unpack },
  { offset: 257, bytes: 'ustar', is: 'a tar archive', remedy: unpack },
];

/** Undefined for what may be a raw disk. */
export function refusedFormat(bytes: Buffer): { is: string; remedy: string } | undefined {
  return signatures.find(({ offset, bytes: magic }) => bytes.toString('latin1', offset, offset + magic.length) === magic);
}
