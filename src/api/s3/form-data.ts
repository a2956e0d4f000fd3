// multipart/form-data as browsers send it, read as it arrives: fields under limits, and then the file as a stream. What follows the file
// is not looked at, as at AWS.
import { Readable } from 'node:stream';
import { fail } from './errors.ts';

export interface Form {
  /** By name in lower case. */
  readonly fields: ReadonlyMap<string, string>;
  readonly file: { readonly name: string; readonly content: Readable };
}

const headBytesMax = 8 * 1024;
const fieldsBytesMax = 64 * 1024;
const fieldsMax = 200;

const malformed = (): never => fail('MalformedPOSTRequest', 'The body of your POST request is not well-formed multipart/form-data.');

export function boundaryOf(contentType: string | undefined): string | undefined {
  const [, quoted, plain] = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))/i.exec(contentType ?? '') ?? [];
  return quoted ?? plain;
}

export async function readForm(body: Readable, boundary: string): Promise<Form> {
  const reader = new BoundaryReader(body, boundary);
  const fields = new Map<string, string>();
  let size = 0;
  await reader.skipToFirst();
  for (let count = 0; count <= fieldsMax; count += 1) {
    const head = await reader.head();
    if (head === undefined) return fail('InvalidArgument', 'POST requires exactly one file upload per request.');
    const name = parameterOf(head, 'name') ?? malformed();
    if (name.toLowerCase() === 'file') {
      return { fields, file: { name: baseName(parameterOf(head, 'filename') ?? ''), content: Readable.from(reader.content(), { objectMode: false }) } };
    }
    const value = await reader.text(fieldsBytesMax);
    size += name.length + value.length;
    if (size > fieldsBytesMax) fail('MaxPostPreDataLengthExceeded', 'Your POST request fields preceding the upload file were too large.');
    fields.set(name.toLowerCase(), value);
  }
  return malformed();
}

/** Only quotes are escaped by browsers: a backslash may be one of a path. */
const parameterOf = (head: string, name: string): string | undefined =>
  new RegExp(`^content-disposition:[^\\n]*[;\\s]${name}="((?:[^"\\\\\\r\\n]|\\\\.)*)"`, 'im').exec(head)?.[1]?.replaceAll('\\"', '"');

/** Old browsers send the whole path. */
const baseName = (path: string): string => path.split(/[/\\]/).at(-1) ?? '';

/** Cuts a stream at its boundaries. */
class BoundaryReader {
  readonly #source: AsyncIterator<Buffer>;
  readonly #delimiter: Buffer;
  #rest: Buffer = Buffer.from('\r\n');

  constructor(body: Readable, boundary: string) {
    this.#source = (body as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  async #more(): Promise<void> {
    const next = await this.#source.next();
    if (next.done === true) malformed();
    this.#rest = Buffer.concat([this.#rest, next.value as Buffer]);
  }

  async #until(mark: Buffer | string, bytesMax: number): Promise<Buffer> {
    for (;;) {
      const at = this.#rest.indexOf(mark);
      if (at > bytesMax || (at < 0 && this.#rest.length > bytesMax + mark.length)) malformed();
      if (at >= 0) {
        const found = this.#rest.subarray(0, at);
        this.#rest = this.#rest.subarray(at + mark.length);
        return found;
      }
      await this.#more();
    }
  }

  async skipToFirst(): Promise<void> {
    await this.#until(this.#delimiter, headBytesMax);
  }

  /** The headers of the next part; undefined: that was the last. */
  async head(): Promise<string | undefined> {
    while (this.#rest.length < 2) await this.#more();
    if (this.#rest.subarray(0, 2).toString('latin1') === '--') return undefined;
    return `${(await this.#until('\r\n\r\n', headBytesMax)).toString('utf8').trim()}\n`;
  }

  async text(bytesMax: number): Promise<string> {
    return (await this.#until(this.#delimiter, bytesMax)).toString('utf8');
  }

  /** What may be the beginning of a boundary is held back. */
  async *content(): AsyncGenerator<Buffer> {
    for (;;) {
      const at = this.#rest.indexOf(this.#delimiter);
      const ready = at >= 0 ? at : Math.max(0, this.#rest.length - this.#delimiter.length + 1);
      if (ready > 0) yield this.#rest.subarray(0, ready);
      this.#rest = this.#rest.subarray(ready);
      if (at >= 0) break;
      await this.#more();
    }
    // The rest is read away, so that the client gets its answer.
    while ((await this.#source.next()).done !== true);
  }
}
