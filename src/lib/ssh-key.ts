// SSH keys as EC2 hands them out and takes them in: generation, OpenSSH's public line and private file, and fingerprints exactly as
// AWS calculates them, which differ by where a key came from.
import { createHash, createPublicKey, generateKeyPair, randomBytes, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';

export type SshKeyType = 'rsa' | 'ed25519';

export interface SshPublicKey {
  readonly type: SshKeyType;
  /** Algorithm and base64, without a comment: `ssh-rsa AAAA…`. */
  readonly line: string;
  readonly fingerprint: string;
}

export interface GeneratedSshKey extends SshPublicKey {
  /** PEM: PKCS#1 for RSA, OpenSSH's own form for ed25519. */
  readonly privateKey: string;
}

const generate = promisify(generateKeyPair);

/** RSA moduli that are taken in. A longer one would cost every login dearly. */
const rsaBitsMin = 1024;
const rsaBitsMax = 16_384;

/** The largest material that is looked at: more than the longest RSA key with a long comment. */
const materialBytesMax = 16_384;

/** A new key pair: RSA with 2048 bits, or ed25519. */
export async function generateSshKey(type: SshKeyType): Promise<GeneratedSshKey> {
  if (type === 'rsa') {
    const { privateKey, publicKey } = await generate('rsa', { modulusLength: 2048 });
    const der = privateKey.export({ type: 'pkcs8', format: 'der' });
    return {
      type,
      line: publicLine(wireOf(publicKey)),
      fingerprint: colonHex('sha1', der),
      privateKey: privateKey.export({ type: 'pkcs1', format: 'pem' }).toString().trimEnd(),
    };
  }
  const { privateKey, publicKey } = await generate('ed25519');
  const wire = wireOf(publicKey);
  return { type, line: publicLine(wire), fingerprint: sha256Base64(wire), privateKey: opensshPrivateKey(privateKey, wire) };
}

/**
 * What a client imports: an OpenSSH line, an RFC 4716 file, PEM, or base64 of a DER public key. Undefined: none of these, or a key of a kind or
 * length that EC2 refuses.
 */
export function parseSshPublicKey(material: Uint8Array): SshPublicKey | undefined {
  if (material.length === 0 || material.length > materialBytesMax) return undefined;
  const bytes = Buffer.from(material);
  const key = keyOf(bytes);
  if (key === undefined) return undefined;
  const type = key.asymmetricKeyType;
  if (type === 'ed25519') {
    const wire = wireOf(key);
    return { type, line: publicLine(wire), fingerprint: sha256Base64(wire) };
  }
  if (type !== 'rsa') return undefined;
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits < rsaBitsMin || bits > rsaBitsMax) return undefined;
  return { type, line: publicLine(wireOf(key)), fingerprint: colonHex('md5', key.export({ type: 'spki', format: 'der' })) };
}

/** The key in any of the forms. Reading what a stranger sends fails in many ways, and each means the same: not a key. */
function keyOf(bytes: Buffer): KeyObject | undefined {
  const text = bytes.toString('latin1').trim();
  try {
    if (text.startsWith('---- BEGIN SSH2 PUBLIC KEY ----')) return keyOfWire(Buffer.from(rfc4716Body(text), 'base64'));
    if (text.startsWith('-----BEGIN ')) return createPublicKey(text);
    const line = /^(ssh-rsa|ssh-ed25519)[ \t]+([A-Za-z0-9+/]+={0,2})(?:[ \t][^\r\n]*)?$/.exec(text);
    if (line?.[1] !== undefined && line[2] !== undefined) return keyOfWire(Buffer.from(line[2], 'base64'), line[1]);
    if (/^[A-Za-z0-9+/=\s]+$/.test(text)) return keyOfDer(Buffer.from(text, 'base64'));
    return keyOfDer(bytes);
  } catch {
    return undefined;
  }
}

const keyOfDer = (der: Buffer): KeyObject => createPublicKey({ key: der, format: 'der', type: 'spki' });

/** The base64 between the markers: header lines hold a colon and may be continued with a backslash. */
function rfc4716Body(text: string): string {
  const lines = text.split(/\r?\n/).slice(1);
  const end = lines.findIndex((line) => line.startsWith('---- END SSH2 PUBLIC KEY ----'));
  let isHeader = false;
  return lines.slice(0, Math.max(0, end)).filter((line) => {
    const belongs = isHeader || line.includes(':');
    isHeader = belongs && line.endsWith('\\');
    return !belongs;
  }).join('');
}

/** RFC 4253's encoding: fields with their lengths in front. Exact: trailing bytes are an error. */
function keyOfWire(wire: Buffer, algorithm?: string): KeyObject {
  const fields: Buffer[] = [];
  for (let at = 0; at < wire.length; ) {
    const length = wire.readUInt32BE(at);
    if (at + 4 + length > wire.length) throw new RangeError('a field is longer than the key');
    fields.push(wire.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  const [name, first, second] = fields;
  const kind = name?.toString('latin1');
  if (algorithm !== undefined && kind !== algorithm) throw new RangeError('the algorithm differs from the line');
  if (kind === 'ssh-ed25519' && first?.length === 32 && fields.length === 2) {
    return createPublicKey({ format: 'jwk', key: { kty: 'OKP', crv: 'Ed25519', x: first.toString('base64url') } });
  }
  if (kind === 'ssh-rsa' && first !== undefined && second !== undefined && fields.length === 3) {
    return createPublicKey({ format: 'jwk', key: { kty: 'RSA', e: unsigned(first).toString('base64url'), n: unsigned(second).toString('base64url') } });
  }
  throw new RangeError('not a key of a known kind');
}

function wireOf(publicKey: KeyObject): Buffer {
  const jwk = publicKey.export({ format: 'jwk' });
  if (jwk.kty === 'RSA') return fieldsOf(Buffer.from('ssh-rsa'), signed(jwk.e), signed(jwk.n));
  return fieldsOf(Buffer.from('ssh-ed25519'), Buffer.from(jwk.x ?? '', 'base64url'));
}

function publicLine(wire: Buffer): string {
  const nameLength = wire.readUInt32BE(0);
  return `${wire.subarray(4, 4 + nameLength).toString('latin1')} ${wire.toString('base64')}`;
}

function fieldsOf(...fields: readonly Buffer[]): Buffer {
  return Buffer.concat(fields.flatMap((field) => [uint32(field.length), field]));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** A multiple-precision integer: a zero byte in front keeps it positive. */
function signed(base64url: string | undefined): Buffer {
  const bytes = Buffer.from(base64url ?? '', 'base64url');
  return (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes;
}

function unsigned(integer: Buffer): Buffer {
  const start = integer.findIndex((byte) => byte !== 0);
  return start > 0 ? integer.subarray(start) : integer;
}

/** The file format of `ssh-keygen`, without a passphrase: Node cannot write it. Ssh refuses such a file without its last newline. */
function opensshPrivateKey(privateKey: KeyObject, wire: Buffer): string {
  const jwk = privateKey.export({ format: 'jwk' });
  const seed = Buffer.from(jwk.d ?? '', 'base64url');
  const point = Buffer.from(jwk.x ?? '', 'base64url');
  const check = randomBytes(4);
  const secret = Buffer.concat([check, check, fieldsOf(Buffer.from('ssh-ed25519'), point, Buffer.concat([seed, point]), Buffer.alloc(0))]);
  const padding = Buffer.from(Array.from({ length: (8 - (secret.length % 8)) % 8 }, (_, index) => index + 1));
  const body = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    fieldsOf(Buffer.from('none'), Buffer.from('none'), Buffer.alloc(0)),
    uint32(1),
    fieldsOf(wire, Buffer.concat([secret, padding])),
  ]);
  const lines = body.toString('base64').match(/.{1,70}/g) ?? [];
  return ['-----BEGIN OPENSSH PRIVATE KEY-----', ...lines, '-----END OPENSSH PRIVATE KEY-----', ''].join('\n');
}

const colonHex = (algorithm: 'md5' | 'sha1', bytes: Buffer): string =>
  createHash(algorithm).update(bytes).digest('hex').replace(/..(?=.)/g, '$&:');

/** With its padding, which ssh-keygen leaves out. */
const sha256Base64 = (wire: Buffer): string => createHash('sha256').update(wire).digest('base64');
