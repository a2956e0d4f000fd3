// The digests that a client may send beside its content (Content-MD5, x-amz-checksum-*), computed while the content streams by.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { createCRC32, createCRC64 } from 'hash-wasm';
import { fail } from './errors.ts';

export const checksumNames = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const;
export type ChecksumName = (typeof checksumNames)[number];

/** Algorithm → base64. */
export type Checksums = Partial<Record<ChecksumName, string>>;

export interface Digester {
  update(chunk: Buffer): void;
  /** Base64. Once. */
  digest(): string;
}

const bytes: Readonly<Record<ChecksumName, number>> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 };

export const isChecksumName = (name: string): name is ChecksumName => (checksumNames as readonly string[]).includes(name);

export async function createDigester(name: ChecksumName): Promise<Digester> {
  if (name === 'crc32') return crc32Digester();
  if (name === 'sha1' || name === 'sha256') {
    const hash = createHash(name);
    return { update: (chunk) => void hash.update(chunk), digest: () => hash.digest('base64') };
  }
  const hash = name === 'crc32c' ? await createCRC32(0x82f63b78) : await createCRC64('9a6c9329ac4bc9b5');
  hash.init();
  return { update: (chunk) => void hash.update(chunk), digest: () => Buffer.from(hash.digest('hex'), 'hex').toString('base64') };
}

function crc32Digester(): Digester {
  let value = 0;
  return {
    update: (chunk) => {
      value = crc32(chunk, value);
    },
    digest: () => {
      const result = Buffer.alloc(4);
      result.writeUInt32BE(value >>> 0);
      return result.toString('base64');
    },
  };
}

/** The checksums named by headers or trailers. A value that is no base64 of the right length is refused as AWS refuses it. */
export function checksumsIn(headers: Iterable<readonly [string, string | readonly string[] | undefined]>): Checksums {
  const found: Checksums = {};
  for (const [header, value] of headers) {
    const name = header.toLowerCase().replace(/^x-amz-checksum-/, '');
    if (!header.toLowerCase().startsWith('x-amz-checksum-') || !isChecksumName(name) || typeof value !== 'string') continue;
    if (!isBase64(value, bytes[name])) fail('InvalidRequest', `Value for ${header.toLowerCase()} header is invalid.`);
    found[name] = value;
  }
  return found;
}

/** Hexadecimal of a Content-MD5 header; undefined when there is none. */
export function contentMd5(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  if (!isBase64(header, 16)) fail('InvalidDigest', 'The Content-MD5 you specified was invalid.');
  return Buffer.from(header, 'base64').toString('hex');
}

export function isBase64(text: string, length: number): boolean {
  const decoded = Buffer.from(text, 'base64');
  return decoded.length === length && decoded.toString('base64') === text;
}
