// The smallest Linux guest that proves a hypervisor: a ramdisk with one program of 150 bytes, put together here, which greets on
// the console. A boot sector would not do: there are hosts whose KVM runs BIOS code and then chokes on the first kernel.

/** What the program writes once a kernel has booted, mounted its ramdisk and entered user mode. */
export const probeText = 'novact-guest-ok';

const executableMode = 0o100755;
const loadAddress = 0x40_0000;
const headersBytes = 64 + 56;

/** A `newc` archive with `/init` only; the kernel brings its own `/dev/console`. */
export function probeRamdisk(): Buffer {
  const archive = Buffer.concat([archiveMember('init', probeProgram(), executableMode), archiveMember('TRAILER!!!', Buffer.alloc(0), 0)]);
  return Buffer.concat([archive, Buffer.alloc((512 - (archive.length % 512)) % 512)]);
}

/** A static x86-64 ELF program: write(1, text); then pause() for ever, as a kernel panics when its first program ends. */
export function probeProgram(): Buffer {
  const text = Buffer.from(`${probeText}\n`, 'latin1');
  const code = Buffer.from(
    'b801000000' + // mov eax, 1 (write)
      'bf01000000' + // mov edi, 1 (standard output)
      '488d3510000000' + // lea rsi, [the text: 16 bytes after this instruction]
      `ba${littleEndian(text.length)}` + // mov edx, length
      '0f05' + // syscall
      'b822000000' + // again: mov eax, 34 (pause)
      '0f05' + // syscall
      'ebf7', // jmp again
    'hex',
  );
  const size = headersBytes + code.length + text.length;
  return Buffer.concat([elfHeader(), programHeader(size), code, text]);
}

function elfHeader(): Buffer {
  const header = Buffer.alloc(64);
  header.write('7f454c46020101', 'hex'); // magic, 64 bits, little-endian, version 1
  header.writeUInt16LE(2, 16); // executable
  header.writeUInt16LE(62, 18); // x86-64
  header.writeUInt32LE(1, 20);
  header.writeBigUInt64LE(BigInt(loadAddress + headersBytes), 24); // entry
  header.writeBigUInt64LE(64n, 32); // program headers follow
  header.writeUInt16LE(64, 52);
  header.writeUInt16LE(56, 54);
  header.writeUInt16LE(1, 56);
  return header;
}

function programHeader(size: number): Buffer {
  const header = Buffer.alloc(56);
  header.writeUInt32LE(1, 0); // load
  header.writeUInt32LE(5, 4); // readable, executable
  header.writeBigUInt64LE(BigInt(loadAddress), 16);
  header.writeBigUInt64LE(BigInt(loadAddress), 24);
  header.writeBigUInt64LE(BigInt(size), 32);
  header.writeBigUInt64LE(BigInt(size), 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return header;
}

function archiveMember(name: string, content: Buffer, mode: number): Buffer {
  const fields = [1, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length + 1, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}${name}\0`;
  return Buffer.concat([padded(Buffer.from(header, 'latin1')), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4)]);
}

function littleEndian(value: number): string {
  const word = Buffer.alloc(4);
  word.writeUInt32LE(value);
  return word.toString('hex');
}
