// Takes the aws-chunked framing off a body, in all three forms: signed chunks, signed chunks with a signed trailer, and unsigned chunks
// with a trailer. Each chunk's signature follows from the one before, the first from the request's own. Memory stays flat: a chunk is
// handed on while it is hashed, so what was read is only good once the stream has ended without an error.
import { createHash, createHmac, type Hash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { ApiError } from '../lib/errors.ts';
import { emptySha256 } from './canonical-v4.ts';
import { equalSignatures } from './compare.ts';

/** What the first chunk signature is chained to. */
export interface ChunkSigning {
  readonly key: Buffer;
  readonly timestamp: string;
  /** `20261122/nova/s3/aws4_request` */
  readonly scope: string;
  /** The request's own signature. */
  readonly seed: string;
}

export interface ChunkedOptions {
  /** The value of x-amz-decoded-content-length. */
  readonly decodedLength: number;
  /** Undefined for the unsigned form. */
  readonly signing: ChunkSigning | undefined;
  /** The lower-case names that x-amz-trailer announces; undefined for the form without a trailer. */
  readonly trailerNames: readonly string[] | undefined;
}

const chunkLineLengthMax = 256;
const trailerLineLengthMax = 4096;
const trailersMax = 16;
const lineFeed = 0x0a;

export class AwsChunkedDecoder extends Transform {
  readonly #options: ChunkedOptions;
  readonly #trailers = new Map<string, string>();
  #state: 'size' | 'data' | 'dataEnd' | 'trailer' | 'lastLine' | 'done' = 'size';
  #line = '';
  #left = 0;
  #decoded = 0;
  #previousSignature: string;
  #chunkSignature = '';
  #chunkHash: Hash | undefined;
  #trailerSigned = false;

  constructor(options: ChunkedOptions) {
    super();
    this.#options = options;
    this.#previousSignature = options.signing?.seed ?? '';
  }

  /** Lower-case names and values; complete when the stream has ended. */
  get trailers(): ReadonlyMap<string, string> {
    return this.#trailers;
  }

  override _transform(input: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    try {
      let offset = 0;
      while (offset < input.length) offset = this.#state === 'data' ? this.#readData(input, offset) : this.#readLine(input, offset);
      callback();
    } catch (error) {
      callback(asError(error));
    }
  }

  override _flush(callback: TransformCallback): void {
    const complete = this.#state === 'done' || (this.#state === 'trailer' && this.#trailerSigned && this.#line === '');
    if (!complete) return callback(incompleteBody());
    if (this.#decoded !== this.#options.decodedLength) return callback(incompleteBody());
    const missing = (this.#options.trailerNames ?? []).find((name) => !this.#trailers.has(name));
    callback(missing === undefined ? null : malformedTrailer(`The announced trailer ${missing} is missing.`));
  }

  #readData(input: Buffer, offset: number): number {
    const data = input.subarray(offset, offset + this.#left);
    this.#chunkHash?.update(data);
    this.push(data);
    this.#left -= data.length;
    if (this.#left === 0) this.#endChunk('dataEnd');
    return offset + data.length;
  }

  #endChunk(next: 'dataEnd' | 'trailer' | 'lastLine'): void {
    this.#state = next;
    const { signing } = this.#options;
    if (signing === undefined) return;
    const digest = this.#chunkHash?.digest('hex') ?? emptySha256;
    this.#chunkHash = undefined;
    this.#check('AWS4-HMAC-SHA256-PAYLOAD', `${emptySha256}\n${digest}`, this.#chunkSignature);
  }

  #check(kind: string, digests: string, signature: string): void {
    const { signing } = this.#options;
    if (signing === undefined) return;
    const text = `${kind}\n${signing.timestamp}\n${signing.scope}\n${this.#previousSignature}\n${digests}`;
    const expected = createHmac('sha256', signing.key).update(text, 'latin1').digest('hex');
    if (!equalSignatures(expected, signature)) {
      throw new ApiError('SignatureDoesNotMatch', 'The signature of a chunk or trailer of the body does not match.', 403);
    }
    this.#previousSignature = expected;
  }

  /** Collects up to a line feed, within a bound. */
  #readLine(input: Buffer, offset: number): number {
    if (this.#state === 'done') throw incompleteBody('The request body goes on after its last chunk.');
    const lengthMax = this.#state === 'trailer' ? trailerLineLengthMax : chunkLineLengthMax;
    const end = input.indexOf(lineFeed, offset);
    const stop = end === -1 ? input.length : end;
    if (this.#line.length + stop - offset > lengthMax) throw incompleteBody('A line of the aws-chunked body is too long.');
    this.#line += input.toString('latin1', offset, stop);
    if (end === -1) return input.length;
    const line = this.#line;
    this.#line = '';
    this.#takeLine(line);
    return end + 1;
  }

  #takeLine(line: string): void {
    switch (this.#state) {
      case 'size': return this.#takeChunkLine(withoutReturn(line));
      case 'dataEnd':
        if (line !== '\r') throw incompleteBody('A chunk is not as long as it says.');
        this.#state = 'size';
        return;
      case 'lastLine':
        if (line !== '\r') throw incompleteBody('The last chunk is not empty.');
        this.#state = 'done';
        return;
      // A trailer's line may end in a bare line feed: AWS's documentation shows it so.
      case 'trailer': return this.#takeTrailerLine(line.endsWith('\r') ? line.slice(0, -1) : line);
      case 'data': case 'done': throw incompleteBody();
    }
  }

  #takeChunkLine(line: string): void {
    const { signing, decodedLength, trailerNames } = this.#options;
    const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line);
    if (match === null || (match[2] === undefined) !== (signing === undefined)) throw incompleteBody('The head of a chunk is malformed.');
    this.#left = Number.parseInt(match[1] ?? '', 16);
    this.#chunkSignature = match[2] ?? '';
    this.#decoded += this.#left;
    if (this.#decoded > decodedLength) throw incompleteBody('The body is longer than x-amz-decoded-content-length.');
    if (this.#left === 0) return this.#endChunk(trailerNames === undefined ? 'lastLine' : 'trailer');
    this.#state = 'data';
    if (signing !== undefined) this.#chunkHash = createHash('sha256');
  }

  #takeTrailerLine(line: string): void {
    const { signing, trailerNames } = this.#options;
    if (line === '') {
      // In the signed form an empty line may stand before the signature as well as after it.
      if (signing === undefined || this.#trailerSigned) this.#state = 'done';
      return;
    }
    if (this.#trailerSigned) throw malformedTrailer('The trailer goes on after its signature.');
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    if (signing !== undefined && name === 'x-amz-trailer-signature') return this.#checkTrailer(value);
    if (this.#trailers.size >= trailersMax || this.#trailers.has(name) || trailerNames?.includes(name) !== true) {
      throw malformedTrailer('The trailer has a field that x-amz-trailer does not announce.');
    }
    this.#trailers.set(name, value);
  }

  #checkTrailer(signature: string): void {
    const text = [...this.#trailers].map(([name, value]) => `${name}:${value}\n`).join('');
    this.#check('AWS4-HMAC-SHA256-TRAILER', createHash('sha256').update(text, 'latin1').digest('hex'), signature);
    this.#trailerSigned = true;
  }
}

function withoutReturn(line: string): string {
  if (!line.endsWith('\r')) throw incompleteBody('The head of a chunk is malformed.');
  return line.slice(0, -1);
}

const incompleteBody = (message = 'The request body terminated unexpectedly'): ApiError => new ApiError('IncompleteBody', message, 400);

const malformedTrailer = (message: string): ApiError => new ApiError('MalformedTrailerError', message, 400);

const asError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)));
