// The body of a request: asked for (100-continue) only once somebody wants it, taken out of its framing, counted, digested and
// compared with what the client said of it. The request itself is never destroyed, so that an error can still be answered.
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Readable, Transform } from 'node:stream';
import type { Payload, PayloadDecoder } from '../../auth/payload.ts';
import type { BlobWritten, ObjectStoreDriver } from '../../drivers/objectstore/driver.ts';
import { ApiError } from '../../lib/errors.ts';
import { bodyChunks, incompleteBody } from './body-chunks.ts';
import { checksumsIn, contentMd5, createDigester, isChecksumName, type ChecksumName, type Checksums, type Digester } from './checksums.ts';
import { fail } from './errors.ts';

export interface WrittenContent extends BlobWritten {
  /** Those that the client sent, verified, and the one that was asked for. */
  readonly checksums: Checksums;
}

export interface OpenContent {
  readonly stream: Readable;
  /** Lets go of the request, of which the rest can be read away after it. Safe to repeat, and after the end. */
  close(): Promise<void>;
}

export interface StoreOptions {
  /** Computed in any case. */
  readonly alsoChecksum?: ChecksumName | undefined;
  /** At rest. */
  readonly isEncrypted?: boolean;
}

export interface Content {
  /** Of the content without framing; undefined when the client did not say. */
  readonly lengthBytes: number | undefined;
  /** Streams to a new blob and verifies it: what does not match what the client said of it leaves nothing. */
  storeIn(store: ObjectStoreDriver, sizeBytesMax: number, options?: StoreOptions): Promise<WrittenContent>;
  /** The content as it arrives, without its framing: whoever reads it judges it, and closes it. */
  open(): Promise<OpenContent>;
  /** The whole content, for XML bodies. More than `sizeBytesMax` is an error. `ofBody` false: checksum headers speak of something else. */
  read(sizeBytesMax: number, checksums?: { ofBody: boolean }): Promise<Buffer>;
}

export interface ContentSource {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expectsContinue: boolean;
  readonly payload: Payload;
  /** Called when the client is about to send, or has been told to. */
  readonly onOpen: () => void;
}

/** The header checks happen here, before the client is told to go on. */
export function createContent(source: ContentSource): Content {
  const lengthBytes = lengthOf(source);
  return {
    lengthBytes,
    async storeIn(store, sizeBytesMax, { alsoChecksum, isEncrypted = false } = {}) {
      if (lengthBytes === undefined) fail('MissingContentLength', 'You must provide the Content-Length HTTP header.');
      if (lengthBytes > sizeBytesMax) fail('EntityTooLarge', 'Your proposed upload exceeds the maximum allowed size');
      const body = await takeBody(source, { withChecksums: true, alsoChecksum });
      const written = await store.write(body.chunks, { isEncrypted });
      try {
        return { ...written, checksums: body.verify(written) };
      } catch (error) {
        await store.remove(written.blobId);
        throw error;
      }
    },
    async open() {
      return openBody(source);
    },
    async read(sizeBytesMax, checksums = { ofBody: true }) {
      if ((lengthBytes ?? 0) > sizeBytesMax) fail('MaxMessageLengthExceeded', 'Your request was too big.');
      const body = await takeBody(source, { withChecksums: checksums.ofBody });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of body.chunks) {
        size += chunk.length;
        if (size > sizeBytesMax) fail('MaxMessageLengthExceeded', 'Your request was too big.');
        chunks.push(chunk);
      }
      const whole = Buffer.concat(chunks);
      body.verify({ md5: createHash('md5').update(whole).digest('hex') });
      return whole;
    },
  };
}

function lengthOf({ request, payload }: ContentSource): number | undefined {
  if (payload.kind === 'chunked') return payload.decodedLength;
  const header = request.headers['content-length'];
  if (header !== undefined) return Number(header);
  return request.headers['transfer-encoding'] === undefined ? 0 : undefined;
}

interface Body {
  /** Without framing; digested on their way. What was taken is judged after the end. */
  readonly chunks: AsyncIterable<Buffer>;
  /** After the end. Returns the verified checksums. */
  verify(written: { md5: string }): Checksums;
}

async function takeBody(source: ContentSource, wanted: { withChecksums: boolean; alsoChecksum?: ChecksumName | undefined }): Promise<Body> {
  const { request, payload } = source;
  const md5 = contentMd5(headerOf(request, 'content-md5'));
  const promised = wanted.withChecksums ? checksumsIn(Object.entries(request.headers)) : {};
  const names = new Set([...checksumsPromised(promised, payload), ...(wanted.alsoChecksum === undefined ? [] : [wanted.alsoChecksum])]);
  const digesters = new Map<ChecksumName, Digester>();
  for (const name of names) digesters.set(name, await createDigester(name));
  // What is not vouched for goes through no decoder.
  const decoder = payload.kind === 'unsigned' ? undefined : payload.createDecoder();
  return {
    chunks: chunksOf(source, decoder, [...digesters.values()]),
    verify: (written) => verify({ written, md5, promised, trailers: decoder?.trailers ?? new Map(), digesters }),
  };
}

/** Asked for when the first is wanted. */
async function* chunksOf(source: ContentSource, decoder: PayloadDecoder | undefined, digesters: readonly Digester[]): AsyncGenerator<Buffer, void, undefined> {
  if (decoder !== undefined) connect(source.request, decoder);
  askFor(source);
  try {
    for await (const chunk of bodyChunks(decoder ?? source.request)) {
      for (const digester of digesters) digester.update(chunk);
      yield chunk;
    }
  } finally {
    if (decoder !== undefined) await closed(decoder);
  }
}

function openBody(source: ContentSource): OpenContent {
  const decoder = source.payload.createDecoder();
  decoder.on('error', () => undefined); // whoever reads it learns of it, even when that begins later
  askFor(source);
  connect(source.request, decoder);
  return { stream: decoder, close: () => closed(decoder) };
}

function askFor({ expectsContinue, onOpen, response }: ContentSource): void {
  onOpen();
  if (expectsContinue) response.writeContinue();
}

/** And the request is let go of: later it would be paused while somebody reads it away. */
async function closed(decoder: PayloadDecoder): Promise<void> {
  if (decoder.closed) return;
  const gone = new Promise((resolve) => decoder.once('close', resolve));
  decoder.destroy();
  await gone;
}

/** Of one upload AWS takes one checksum; several are no harm. */
function checksumsPromised(promised: Checksums, payload: Payload): readonly ChecksumName[] {
  const trailers = payload.kind === 'chunked' ? payload.trailerNames : [];
  const trailing = trailers.map((name) => name.replace(/^x-amz-checksum-/, '')).filter(isChecksumName);
  return [...new Set([...(Object.keys(promised) as ChecksumName[]), ...trailing])];
}

interface Verification {
  readonly written: { readonly md5: string };
  readonly md5: string | undefined;
  readonly promised: Checksums;
  readonly trailers: ReadonlyMap<string, string>;
  readonly digesters: ReadonlyMap<ChecksumName, Digester>;
}

function verify({ written, md5, promised, trailers, digesters }: Verification): Checksums {
  if (md5 !== undefined && md5 !== written.md5) fail('BadDigest', 'The Content-MD5 you specified did not match what we received.');
  const trailing = checksumsIn(trailers);
  const verified: Checksums = {};
  for (const [name, digester] of digesters) {
    const value = digester.digest();
    for (const said of [promised[name], trailing[name]]) {
      if (said !== undefined && said !== value) fail('BadDigest', `The ${name.toUpperCase()} you specified did not match the calculated checksum.`);
    }
    verified[name] = value;
  }
  return verified;
}

/** Like `pipe`, and a source that fails or ends early fails the target; a target that fails only lets go of the source. */
function connect(source: Readable, target: Transform): void {
  let ended = false;
  source.once('end', () => {
    ended = true;
  });
  source.once('error', (error) => target.destroy(error instanceof ApiError ? error : incompleteBody()));
  source.once('close', () => {
    if (!ended && !target.destroyed) target.destroy(incompleteBody());
  });
  target.once('close', () => source.unpipe(target));
  source.pipe(target);
}

function headerOf(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
