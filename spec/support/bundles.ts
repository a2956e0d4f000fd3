// Bundles of images as bundlers make them (tar, gzip, AES-128-CBC, parts, a signed manifest), and each with a fault if one is wished.
import { createCipheriv, createHash, createSign, constants, publicEncrypt, randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';

export interface BundleWish {
  readonly name: string;
  readonly image: Buffer;
  /** PEM, or its public key: to which the key is encrypted. */
  readonly certificate: string;
  /** PEM: what the manifest is signed with. */
  readonly signingKey?: string;
  readonly archive?: Buffer;
  readonly partBytes?: number;
  readonly machine?: string;
  readonly type?: string;
  /** Changes what the manifest says, after its facts are known and before it is signed. */
  readonly change?: (manifest: string) => string;
  readonly compress?: (archive: Buffer) => Buffer;
}

export interface Bundle {
  readonly manifest: string;
  /** By the name in the manifest. */
  readonly parts: ReadonlyMap<string, Buffer>;
}

const sha1 = (content: Buffer): string => createHash('sha1').update(content).digest('hex');

export function makeBundle(wish: BundleWish): Bundle {
  const { name, image, certificate, archive = tarOf([tarFile({ name, content: image })]), partBytes = 10 * 2 ** 20, compress = gzipSync } = wish;
  const [key, iv] = [randomBytes(16), randomBytes(16)];
  const cipher = createCipheriv('aes-128-cbc', key, iv);
  const bundled = Buffer.concat([cipher.update(compress(archive)), cipher.final()]);
  const parts = new Map<string, Buffer>();
  for (let at = 0; at < bundled.length; at += partBytes) parts.set(`${name}.part.${String(parts.size).padStart(2, '0')}`, bundled.subarray(at, at + partBytes));
  const sealed = (secret: Buffer) =>
    publicEncrypt({ key: certificate, padding: constants.RSA_PKCS1_PADDING }, Buffer.from(secret.toString('hex'))).toString('hex');
  const listed = [...parts].map(([filename, content], index) =>
    `<part index="${index}"><filename>${filename}</filename><digest algorithm="SHA1">${sha1(content)}</digest></part>`);
  const signed = (wish.change ?? ((text) => text))(
    `<machine_configuration><architecture>x86_64</architecture>${wish.machine ?? ''}</machine_configuration>`
    + `<image><name>${name}</name><user>123456789012</user><type>${wish.type ?? 'machine'}</type><digest algorithm="SHA1">${sha1(archive)}</digest>`
    + `<size>${image.length}</size><bundled_size>${bundled.length}</bundled_size>`
    + `<ec2_encrypted_key algorithm="AES-128-CBC">${sealed(key)}</ec2_encrypted_key><user_encrypted_key algorithm="AES-128-CBC"/>`
    + `<ec2_encrypted_iv>${sealed(iv)}</ec2_encrypted_iv><user_encrypted_iv/><parts count="${parts.size}">${listed.join('')}</parts></image>`,
  );
  const signature = wish.signingKey === undefined ? 'UNSIGNED' : createSign('sha1').update(signed).sign(wish.signingKey).toString('hex');
  const bundler = '<version>2007-10-10</version><bundler><name>spec</name><version>1</version><release>0</release></bundler>';
  return { parts, manifest: `<?xml version='1.0' encoding='ASCII'?>\n<manifest>${bundler}${signed}<signature>${signature}</signature></manifest>` };
}

export interface TarEntry {
  readonly name: string;
  readonly content?: Buffer;
  readonly type?: string;
  readonly linkTo?: string;
  /** What the header says, where it is not the content's. */
  readonly sizeBytes?: number;
}

const octal = (value: number, length: number): string => `${value.toString(8).padStart(length - 1, '0')}\0`;

export function tarFile({ name, content = Buffer.alloc(0), type = '0', linkTo = '', sizeBytes = content.length }: TarEntry): Buffer {
  const header = Buffer.alloc(512);
  const fields: readonly (readonly [number, string])[] = [
    [0, name], [100, octal(0o644, 8)], [108, octal(0, 8)], [116, octal(0, 8)], [124, octal(sizeBytes, 12)], [136, octal(0, 12)], [148, ' '.repeat(8)],
    [156, type], [157, linkTo], [257, 'ustar\0'], [263, '00'],
  ];
  for (const [at, text] of fields) header.write(text, at, 'latin1');
  header.write(`${header.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

/** Filled up to a record, as tar does. */
export function tarOf(entries: readonly Buffer[]): Buffer {
  const content = Buffer.concat([...entries, Buffer.alloc(1024)]);
  return Buffer.concat([content, Buffer.alloc((10_240 - (content.length % 10_240)) % 10_240)]);
}
