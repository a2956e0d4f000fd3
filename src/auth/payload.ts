// How the body of an S3 request is vouched for, and the stream through which it must pass before anybody believes it.
import { createHash, type Hash } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { ApiError } from '../lib/errors.ts';
import { AwsChunkedDecoder, type ChunkSigning } from './aws-chunked.ts';
import { equalSignatures } from './compare.ts';
import { Refusal } from './refusal.ts';
import { headerValue, type SignedRequest } from './request.ts';

/** Passes the body on and fails before its end when it is not what was signed. */
export interface PayloadDecoder extends Transform {
  /** Lower-case names and values of the trailer; complete when the stream has ended. Empty for bodies without one. */
  readonly trailers: ReadonlyMap<string, string>;
}

/** Every kind has a decoder, good for one body. What it let through is only good once it has ended without an error. */
export type Payload =
  | { readonly kind: 'hash'; readonly sha256: string; createDecoder(): PayloadDecoder }
  | { readonly kind: 'unsigned'; createDecoder(): PayloadDecoder }
  | {
      readonly kind: 'chunked';
      /** Of the body without its framing. */
      readonly decodedLength: number;
      /** Lower-case names that the trailer will have, `x-amz-checksum-crc32` for one. */
      readonly trailerNames: readonly string[];
      createDecoder(): PayloadDecoder;
    };

const unsignedPayload = 'UNSIGNED-PAYLOAD';
const unsignedTrailer = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER';
const signedForms = ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER'];
const trailerNamesMax = 16;

/** A value that x-amz-content-sha256 may have. */
export function checkContentHash(text: string): void {
  if (/^[0-9a-f]{64}$/.test(text) || text === unsignedPayload || text === unsignedTrailer || signedForms.includes(text)) return;
  throw new Refusal('badContentHash');
}

/** The payload of a request, from the checked value of x-amz-content-sha256. Signed chunks need a SigV4 header signature to follow from. */
export function payloadOf(request: SignedRequest, contentHash: string, signing: ChunkSigning | undefined): Payload {
  if (contentHash === unsignedPayload) return { kind: 'unsigned', createDecoder: () => new UncheckedPayload() };
  if (/^[0-9a-f]{64}$/.test(contentHash)) {
    return { kind: 'hash', sha256: contentHash, createDecoder: () => new HashedPayload(contentHash) };
  }
  if (contentHash !== unsignedTrailer && signing === undefined) {
    throw new ApiError('InvalidRequest', `${contentHash} needs a version 4 signature in the Authorization header.`, 400);
  }
  const trailerNames = contentHash.endsWith('-TRAILER') ? announcedTrailers(request) : undefined;
  const decodedLength = readDecodedLength(request);
  const options = { decodedLength, trailerNames, signing: contentHash === unsignedTrailer ? undefined : signing };
  return { kind: 'chunked', decodedLength, trailerNames: trailerNames ?? [], createDecoder: () => new AwsChunkedDecoder(options) };
}

function announcedTrailers(request: SignedRequest): readonly string[] {
  const names = (headerValue(request, 'x-amz-trailer') ?? '').split(',').map((name) => name.trim().toLowerCase()).filter((name) => name !== '');
  if (names.length > trailerNamesMax || new Set(names).size !== names.length) {
    throw new ApiError('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported', 400);
  }
  return names;
}

function readDecodedLength(request: SignedRequest): number {
  const text = headerValue(request, 'x-amz-decoded-content-length');
  if (text === undefined) throw new ApiError('MissingContentLength', 'You must provide the Content-Length HTTP header.', 411);
  if (!/^\d{1,15}$/.test(text)) throw new ApiError('InvalidArgument', 'x-amz-decoded-content-length must be a number of bytes.', 400);
  return Number(text);
}

const noTrailers: ReadonlyMap<string, string> = new Map();

class UncheckedPayload extends Transform implements PayloadDecoder {
  readonly trailers = noTrailers;

  override _transform(input: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    callback(null, input);
  }
}

class HashedPayload extends Transform implements PayloadDecoder {
  readonly trailers = noTrailers;
  readonly #sha256: string;
  readonly #hash: Hash = createHash('sha256');

  constructor(sha256: string) {
    super();
    this.#sha256 = sha256;
  }

  override _transform(input: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    this.#hash.update(input);
    callback(null, input);
  }

  override _flush(callback: TransformCallback): void {
    if (equalSignatures(this.#hash.digest('hex'), this.#sha256)) return callback();
    callback(new ApiError('XAmzContentSHA256Mismatch', "The provided 'x-amz-content-sha256' header does not match what was computed.", 400));
  }
}
