// The content of a bundle as streams: the parts, each held against its digest, one after another through AES; what comes out, unpacked and held
// against the digest of the whole. Nothing is gathered in memory, and nothing is longer than the manifest says.
import { createDecipheriv, createHash } from 'node:crypto';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { messageOf } from '../../../lib/errors.ts';
import { BundleError, type BundleManifest, type BundlePart } from './manifest.ts';
import { soleFile } from './sole-file.ts';

export interface BundleCipher {
  readonly key: Buffer;
  readonly iv: Buffer;
}

/** What is bundled, still compressed. `open` gives the content of a part. */
export function decrypted(parts: readonly BundlePart[], cipher: BundleCipher, open: (part: BundlePart) => Promise<Readable>): Readable {
  return Readable.from(decryptedChunks(parts, cipher, open), { objectMode: false });
}

async function* decryptedChunks(
  parts: readonly BundlePart[], { key, iv }: BundleCipher, open: (part: BundlePart) => Promise<Readable>,
): AsyncGenerator<Buffer> {
  const decipher = createDecipheriv('aes-128-cbc', key, iv);
  for (const part of parts) {
    const hash = createHash('sha1');
    for await (const chunk of (await open(part)) as AsyncIterable<Buffer>) {
      hash.update(chunk);
      yield decipher.update(chunk);
    }
    if (hash.digest('hex') !== part.sha1) throw new BundleError(`the part ${part.filename} has not the digest that the manifest says`);
  }
  yield lastOf(decipher);
}

/** Its length and filling are right only when the key was. */
function lastOf(decipher: ReturnType<typeof createDecipheriv>): Buffer {
  try {
    return decipher.final();
  } catch {
    throw wrongKey();
  }
}

/** One message, whatever was wrong with the key: whoever sends keys of others to be tried learns nothing from it. */
export const wrongKey = (): BundleError =>
  new BundleError('it cannot be decrypted: its key was not encrypted to this cloud\'s certificate (cloud-cert.pem), or its parts are of another bundle');

/** The image in what was decrypted. */
export function unpacked(compressed: Readable, manifest: Pick<BundleManifest, 'sizeBytes' | 'sha1'>): Readable {
  return Readable.from(unpackedChunks(compressed, manifest), { objectMode: false });
}

async function* unpackedChunks(compressed: Readable, manifest: Pick<BundleManifest, 'sizeBytes' | 'sha1'>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip();
  const hash = createHash('sha1');
  // What fails in there ends the stream that is read below with that error.
  const pumping = pipeline(compressed, gunzip).catch(() => undefined);
  try {
    yield* soleFile(hashed(gunzip, hash), manifest);
  } catch (error) {
    throw isOfZlib(error) ? wrongOf(error) : error;
  } finally {
    gunzip.destroy();
    await pumping;
  }
  if (hash.digest('hex') !== manifest.sha1) throw new BundleError('the bundle as a whole has not the digest that its manifest says');
}

async function* hashed(source: AsyncIterable<Buffer>, hash: ReturnType<typeof createHash>): AsyncGenerator<Buffer> {
  for await (const chunk of source) {
    hash.update(chunk);
    yield chunk;
  }
}

const isOfZlib = (error: unknown): boolean => String((error as NodeJS.ErrnoException).code).startsWith('Z_');

/** Bytes that are no gzip at all are what a wrong key gives. */
const wrongOf = (error: unknown): BundleError =>
  (/header check/.test(messageOf(error)) ? wrongKey() : new BundleError(`it is not compressed as bundles are: ${messageOf(error)}`));
