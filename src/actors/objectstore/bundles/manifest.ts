// The manifest of a bundled image, as ec2-ami-tools and euca2ools write it (version 2007-10-10): read under limits, and only in the forms that
// they use. What its signature covers is the text of two elements: so there is nothing in a manifest that a parser and a search would see
// differently, no comment, no entity, no second element of that name.
import { createVerify } from 'node:crypto';
import { Parser } from 'xml2js';

/** What is wrong with a bundle, in words for whoever made it. */
export class BundleError extends Error {
  override readonly name = 'BundleError';
}

export interface BundlePart {
  /** The last part of its object's key; the rest is that of the manifest's. */
  readonly filename: string;
  readonly sha1: string;
}

export interface BundleManifest {
  readonly type: 'machine' | 'kernel' | 'ramdisk';
  readonly architecture: string;
  readonly kernelId: string | undefined;
  readonly ramdiskId: string | undefined;
  /** Of the image itself. */
  readonly sizeBytes: number;
  /** Of all parts together. */
  readonly bundledSizeBytes: number;
  /** Of the archive with the image, before it was compressed. */
  readonly sha1: string;
  readonly encryptedKey: Buffer;
  readonly encryptedIv: Buffer;
  /** In order. */
  readonly parts: readonly BundlePart[];
  readonly signed: string;
  readonly signature: Buffer | undefined;
}

/** A manifest of ten thousand parts of 10 MiB, which is what bundlers make of 100 GiB, has a bit more than half of it. */
export const manifestBytesMax = 4 * 1024 * 1024;
const partsMax = 10_000;
const depthMax = 6;
/** Of a certificate of 16 384 bits. */
const encryptedBytesMax = 2_048;

export async function readManifest(body: Buffer): Promise<BundleManifest> {
  if (body.length > manifestBytesMax) throw new BundleError(`the manifest has more than ${manifestBytesMax} bytes`);
  const text = body.toString('utf8').replace(/^\uFEFF/, '').replace(/^\s*<\?xml[^<>]*\?>/, '');
  checkForm(text);
  const manifest = await parse(text);
  const machine = manifest.child('machine_configuration');
  const image = manifest.child('image');
  const kernelId = machine.optional('kernel_id');
  const ramdiskId = machine.optional('ramdisk_id');
  return {
    type: typeOf(image.optional('type'), { kernelId, ramdiskId }),
    architecture: machine.text('architecture'),
    kernelId: kernelId === 'true' ? undefined : kernelId,
    ramdiskId: ramdiskId === 'true' ? undefined : ramdiskId,
    sizeBytes: image.number('size'),
    bundledSizeBytes: image.number('bundled_size'),
    sha1: digestOf(image),
    encryptedKey: image.hexadecimal('ec2_encrypted_key', 'AES-128-CBC'),
    encryptedIv: image.hexadecimal('ec2_encrypted_iv', 'AES-128-CBC'),
    parts: partsOf(image.child('parts')),
    signed: elementText(text, 'machine_configuration') + elementText(text, 'image'),
    signature: signatureOf(manifest.optional('signature')),
  };
}

/** Whether one of these keys has signed it. Without a signature none has. */
export function isSignedBy({ signed, signature }: Pick<BundleManifest, 'signed' | 'signature'>, publicKeys: readonly string[]): boolean {
  return signature !== undefined && publicKeys.some((key) => createVerify('sha1').update(signed).verify(key, signature));
}

const tags = /<(\/?)[A-Za-z_][\w.:-]*(?:\s+[\w.:-]+\s*=\s*(?:"[^"<>]*"|'[^'<>]*'))*\s*(\/?)>/g;

/** Refused before a parser sees it: what makes parsers disagree or grow. */
function checkForm(text: string): void {
  if (/<[!?]|&(?!(?:amp|lt|gt|quot|apos);)/.test(text)) {
    throw new BundleError('the manifest has comments, entities or declarations, of which bundles have none');
  }
  if (/[<>]/.test(text.replace(tags, ''))) throw new BundleError('the manifest is not the XML of a bundle');
  let depth = 0;
  for (const [, closing, selfClosing] of text.matchAll(tags)) {
    if (closing !== '') depth -= 1;
    else if (selfClosing === '') depth += 1;
    if (depth > depthMax) throw new BundleError(`the manifest has elements more than ${depthMax} deep`);
  }
}

/** An element as it stands in the text: what bundlers sign. */
function elementText(text: string, name: string): string {
  const found = [...text.matchAll(new RegExp(`<${name}(?:\\s[^<>]*)?>[^]*?</${name}\\s*>`, 'g'))];
  if (found.length !== 1) throw new BundleError(`the manifest has not exactly one ${name}`);
  return found[0]?.[0] ?? '';
}

async function parse(text: string): Promise<Element> {
  const parser = new Parser({ explicitArray: true, explicitCharkey: true, explicitRoot: true, attrkey: '$', charkey: '_' });
  const parsed: unknown = await parser.parseStringPromise(text).catch(() => undefined);
  if (!isRecord(parsed) || !isRecord(parsed['manifest'])) throw new BundleError('the manifest is not the XML of a bundle');
  return new Element('manifest', parsed['manifest']);
}

class Element {
  readonly #name: string;
  readonly #content: Readonly<Record<string, unknown>>;

  constructor(name: string, content: unknown) {
    this.#name = name;
    this.#content = isRecord(content) ? content : { _: content };
  }

  all(name: string): readonly Element[] {
    const list = Object.hasOwn(this.#content, name) ? this.#content[name] : undefined;
    return Array.isArray(list) ? list.map((one) => new Element(name, one)) : [];
  }

  child(name: string): Element {
    const [only, ...others] = this.all(name);
    if (only === undefined || others.length > 0) throw new BundleError(`the manifest's ${this.#name} has not exactly one ${name}`);
    return only;
  }

  /** An empty one counts as absent. */
  optional(name: string): string | undefined {
    if (this.all(name).length === 0) return undefined;
    const value = this.child(name).value;
    return value === '' ? undefined : value;
  }

  text(name: string): string {
    const value = this.optional(name);
    if (value === undefined) throw new BundleError(`the manifest's ${this.#name} has no ${name}`);
    return value;
  }

  number(name: string): number {
    const value = this.text(name);
    if (!/^\d{1,15}$/.test(value)) throw new BundleError(`the manifest's ${name} is not a number of bytes`);
    return Number(value);
  }

  hexadecimal(name: string, algorithm: string): Buffer {
    const value = this.text(name);
    this.child(name).checkAlgorithm(algorithm);
    if (!/^(?:[0-9a-f]{2})+$/i.test(value) || value.length > 2 * encryptedBytesMax) throw new BundleError(`the manifest's ${name} is not hexadecimal`);
    return Buffer.from(value, 'hex');
  }

  checkAlgorithm(wanted: string): void {
    const given = this.attribute('algorithm') ?? wanted;
    if (given.toUpperCase() !== wanted) throw new BundleError(`the manifest's ${this.#name} is by ${given.slice(0, 30)}, not by ${wanted}`);
  }

  attribute(name: string): string | undefined {
    const attributes = this.#content['$'];
    return isRecord(attributes) && typeof attributes[name] === 'string' ? attributes[name] : undefined;
  }

  get value(): string {
    return typeof this.#content['_'] === 'string' ? this.#content['_'].trim() : '';
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Eucalyptus' word for a bundle that is a kernel or a ramdisk is `true` where the id of one would be. */
function typeOf(stated: string | undefined, { kernelId, ramdiskId }: { kernelId: string | undefined; ramdiskId: string | undefined }): BundleManifest['type'] {
  if (kernelId === 'true' && ramdiskId === 'true') throw new BundleError('the manifest says that the image is a kernel and a ramdisk');
  if (kernelId === 'true' || stated === 'kernel') return 'kernel';
  if (ramdiskId === 'true' || stated === 'ramdisk') return 'ramdisk';
  if (stated !== undefined && stated !== 'machine') throw new BundleError(`the manifest says that the image is a ${stated.slice(0, 30)}`);
  return 'machine';
}

function digestOf(element: Element): string {
  const digest = element.text('digest').toLowerCase();
  element.child('digest').checkAlgorithm('SHA1');
  if (!/^[0-9a-f]{40}$/.test(digest)) throw new BundleError('a digest of the manifest is not one of SHA1');
  return digest;
}

function partsOf(list: Element): BundlePart[] {
  const elements = list.all('part');
  if (elements.length === 0) throw new BundleError('the manifest names no parts');
  if (elements.length > partsMax) throw new BundleError(`the manifest names more than ${partsMax} parts`);
  if (Number(list.attribute('count') ?? elements.length) !== elements.length) throw new BundleError('the manifest has not as many parts as it says');
  const parts: BundlePart[] = [];
  for (const [position, element] of elements.entries()) {
    const index = Number(element.attribute('index') ?? position);
    if (!Number.isInteger(index) || index < 0 || index >= elements.length || parts[index] !== undefined) {
      throw new BundleError('the parts of the manifest are not numbered from 0 on');
    }
    parts[index] = { filename: filenameOf(element), sha1: digestOf(element) };
  }
  return parts;
}

function filenameOf(part: Element): string {
  const name = part.text('filename');
  // oxlint-disable-next-line no-control-regex
  if (name === '.' || name === '..' || name.length > 255 || /[/\\\u0000-\u001f]/.test(name)) {
    throw new BundleError(`${JSON.stringify(name.slice(0, 60))} is not the name of a part`);
  }
  return name;
}

/** euca2ools writes UNSIGNED where it was given no key. */
function signatureOf(text: string | undefined): Buffer | undefined {
  return text !== undefined && /^(?:[0-9a-f]{2})+$/i.test(text) ? Buffer.from(text, 'hex') : undefined;
}
