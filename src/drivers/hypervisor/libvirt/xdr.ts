// The little of XDR (RFC 4506) that libvirt's protocol needs: big-endian words, and everything padded to four bytes. Readers
// refuse to run past the end, because a daemon's answer is input like any other.
import { DriverError } from '../../../lib/errors.ts';

/** A domain as libvirt names it on the wire. */
export interface DomainHandle {
  readonly name: string;
  readonly uuid: Buffer;
  /** −1 when it is not running. */
  readonly id: number;
}

/** No text, list or body of ours is longer; libvirt's own limit for one packet is 32 MiB. */
const lengthMax = 32 * 1024 * 1024;

/** VIR_TYPED_PARAM_STRING. */
const typedText = 7;

export class XdrWriter {
  readonly #parts: Buffer[] = [];

  uint(value: number): this {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(value >>> 0);
    this.#parts.push(word);
    return this;
  }

  ulong(value: bigint): this {
    const words = Buffer.alloc(8);
    words.writeBigUInt64BE(value);
    this.#parts.push(words);
    return this;
  }

  fixed(bytes: Buffer): this {
    this.#parts.push(bytes, Buffer.alloc((4 - (bytes.length % 4)) % 4));
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value, 'utf8');
    return this.uint(bytes.length).fixed(bytes);
  }

  optionalText(value: string | undefined): this {
    return value === undefined ? this.uint(0) : this.uint(1).text(value);
  }

  domain(domain: DomainHandle): this {
    return this.text(domain.name).fixed(domain.uuid).uint(domain.id);
  }

  /** Typed parameters, all of them texts; a name may come several times. */
  textParameters(parameters: readonly (readonly [name: string, value: string])[]): this {
    this.uint(parameters.length);
    for (const [name, value] of parameters) this.text(name).uint(typedText).text(value);
    return this;
  }

  bytes(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

export class XdrReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  uint(): number {
    return this.#take(4).readUInt32BE();
  }

  int(): number {
    return this.#take(4).readInt32BE();
  }

  ulong(): bigint {
    return this.#take(8).readBigUInt64BE();
  }

  fixed(length: number): Buffer {
    const bytes = this.#take(length);
    this.#take((4 - (length % 4)) % 4);
    return bytes;
  }

  text(): string {
    return this.fixed(this.#length()).toString('utf8');
  }

  optionalText(): string | undefined {
    return this.uint() === 0 ? undefined : this.text();
  }

  domain(): DomainHandle {
    return { name: this.text(), uuid: Buffer.from(this.fixed(16)), id: this.int() };
  }

  list<T>(item: (reader: this) => T): T[] {
    return Array.from({ length: this.#length() }, () => item(this));
  }

  /** virTypedParameter: a name, a type, and a value of it. */
  parameters(): ReadonlyMap<string, number | bigint | boolean | string> {
    return new Map(this.list((reader) => [reader.text(), reader.#value(reader.int())] as const));
  }

  #value(type: number): number | bigint | boolean | string {
    switch (type) {
      case 1: return this.int();
      case 2: return this.uint();
      case 3: return BigInt.asIntN(64, this.ulong());
      case 4: return this.ulong();
      case 5: return this.fixed(8).readDoubleBE(0);
      case 6: return this.int() !== 0;
      case 7: return this.text();
      default: throw malformed(`a value of type ${type}`);
    }
  }

  /** What has not been read yet. */
  rest(): Buffer {
    return this.#bytes.subarray(this.#offset);
  }

  #length(): number {
    const length = this.uint();
    // Every item of a list takes at least a word, every character of a text a byte: more than what is left is a lie.
    if (length > Math.min(lengthMax, this.#bytes.length - this.#offset)) throw malformed(`a length of ${length}`);
    return length;
  }

  #take(length: number): Buffer {
    const end = this.#offset + length;
    if (end > this.#bytes.length) throw malformed('a short packet');
    const bytes = this.#bytes.subarray(this.#offset, end);
    this.#offset = end;
    return bytes;
  }
}

function malformed(what: string): DriverError {
  return new DriverError('failed', `libvirtd sent ${what}, which its protocol does not allow`);
}
