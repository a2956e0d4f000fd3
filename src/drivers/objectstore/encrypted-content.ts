// What a file of an encrypted blob holds: a head with the blob's own key, sealed with the cloud's, and the content in AES-256-CTR. A key is for
// one content only, so that its counter may begin with zero; any byte can be read without those before it.
import { createCipheriv, randomBytes, type Cipher } from 'node:crypto';
import { DriverError } from '../../lib/errors.ts';
import { readFileAt } from '../../lib/read-file-at.ts';
import type { Sealer } from '../../lib/sealed.ts';
import { attempt } from './attempt.ts';

/** Before the content: the mark, the sealed key, and line ends. */
export const headBytes = 128;

const nearBytes = 64 * 1024;
const mark = 'novact-1 ';
const keyBytes = 32;
const counterBytes = 16;
/** Of the seal: no other secret's text is taken for a key of content. */
const context = 'content';

/** For what is written once. */
export function startEncryption(sealer: Sealer): { readonly head: Buffer; readonly cipher: Cipher } {
  const key = randomBytes(keyBytes);
  const text = mark + sealer.seal(key.toString('base64'), context);
  if (text.length > headBytes) throw new Error(`a sealed key has ${text.length} bytes`);
  return { head: Buffer.from(text.padEnd(headBytes, '\n'), 'latin1'), cipher: cipherAt(key, 0) };
}

/** What decrypts the content of that file from a place on. */
export async function decryptionFrom(path: string, sealer: Sealer, first: number): Promise<Cipher> {
  const head = Buffer.alloc(headBytes);
  await attempt(`read the head of ${path}`, () => readFileAt(path, head, 0));
  return decryptionBy(head, { path, sealer, first });
}

/** Those bytes of the content. Near the beginning head and content are read at once: a call costs more than some KiB. */
export async function decryptedBytes(path: string, sealer: Sealer, { first, last }: { first: number; last: number }): Promise<Buffer> {
  if (first > nearBytes) {
    const decryption = await decryptionFrom(path, sealer, first);
    const stored = Buffer.allocUnsafeSlow(last + 1 - first);
    await readFileAt(path, stored, headBytes + first);
    return decryption.update(stored);
  }
  const stored = Buffer.allocUnsafeSlow(headBytes + last + 1);
  await readFileAt(path, stored, 0);
  return decryptionBy(stored.subarray(0, headBytes), { path, sealer, first }).update(stored.subarray(headBytes + first));
}

function decryptionBy(head: Buffer, { path, sealer, first }: { path: string; sealer: Sealer; first: number }): Cipher {
  const text = head.toString('latin1').trimEnd();
  if (!text.startsWith(mark)) throw new DriverError('failed', `${path} does not begin as an encrypted blob does`);
  return cipherAt(Buffer.from(sealer.open(text.slice(mark.length), context), 'base64'), first);
}

/** With a counter, to encrypt and to decrypt is the same. */
function cipherAt(key: Buffer, first: number): Cipher {
  const counter = Buffer.alloc(counterBytes);
  counter.writeBigUInt64BE(BigInt(Math.floor(first / counterBytes)), counterBytes / 2);
  const cipher = createCipheriv('aes-256-ctr', key, counter);
  cipher.update(Buffer.alloc(first % counterBytes));
  return cipher;
}
