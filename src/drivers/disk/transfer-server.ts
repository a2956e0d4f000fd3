// Hands the files of instances that are on their way to another host to that host, and to nobody else: the connection's key is made for one
// move, and each request asks whether that move is still going on.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { TLSSocket } from 'node:tls';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { identityOf, keyOf, moveOf, tlsOptions, type Move } from './transfer-key.ts';

export interface TransferServerOptions {
  readonly secret: Buffer;
  readonly log: Log;
  /** The folder of the instance if this move is going on; undefined otherwise. */
  readonly authorise: (move: Move) => Promise<string | undefined>;
}

/** Each reads a disk and fills a network: the next is asked to come again. */
const transfersAtOnceMax = 4;
const connectionsMax = 64;
/** Without a byte: a disk's checksum takes so long before its answer. */
const idleMs = 15 * 60_000;
const consoleBytesMax = 64 * 1024;
const checksumsMax = 64;

/** Not listening yet. */
export function createTransferServer(options: TransferServerOptions): Server {
  const moves = new WeakMap<TLSSocket, Move>();
  const state: State = { checksums: new Map(), atOnce: 0 };
  const server = createServer({
    ...tlsOptions,
    requestTimeout: 30_000,
    pskCallback: (socket, identity) => {
      const move = moveOf(identity);
      if (move === undefined) return null;
      moves.set(socket, move);
      return keyOf(options.secret, identity);
    },
  }, (request, response) => {
    answer(options, state, moves.get(request.socket as TLSSocket), request, response).catch((error: unknown) => {
      options.log.warn({ error: messageOf(error) }, 'a disk transfer broke off');
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  server.maxConnections = connectionsMax;
  server.timeout = idleMs;
  server.on('tlsClientError', (error) => options.log.debug({ error: error.message }, 'somebody without a key asked for a disk'));
  return server;
}

interface State {
  /** By path, size and time of change: the disk of a stopped guest does not change. */
  readonly checksums: Map<string, Promise<string>>;
  atOnce: number;
}

async function answer(options: TransferServerOptions, state: State, move: Move | undefined, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = request.url === '/root.qcow2' || request.url === '/console.log' ? request.url.slice(1) : undefined;
  const isKnown = request.method === 'GET' || request.method === 'HEAD';
  const directory = move === undefined || name === undefined || !isKnown ? undefined : await options.authorise(move);
  if (directory === undefined || name === undefined || move === undefined) return void response.writeHead(404).end();
  if (state.atOnce >= transfersAtOnceMax) return void response.writeHead(503, { 'retry-after': '5' }).end();
  state.atOnce += 1;
  try {
    if (name === 'console.log') await sendEnd(join(directory, name), request, response);
    else await sendDisk(state, join(directory, name), request, response);
    if (request.method === 'GET') options.log.info({ move: identityOf(move), file: name }, 'handed over');
  } finally {
    state.atOnce -= 1;
  }
}

async function sendDisk(state: State, path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  if (found === undefined) return void response.writeHead(404).end();
  const sizeBytes = Number(found.size);
  const sha256 = await checksum(state, `${path} ${found.size} ${found.mtimeNs}`, path);
  if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== sha256) return void response.writeHead(412).end();
  const start = rangeStart(request.headers.range, sizeBytes);
  if (start === undefined) return void response.writeHead(416).end();
  response.writeHead(start === 0 ? 200 : 206, { 'content-length': String(sizeBytes - start), 'x-sha256': sha256 });
  if (request.method === 'HEAD' || start === sizeBytes) return void response.end();
  await pipeline(createReadStream(path, { start }), response);
}

/** The last part of a console, which may still be written to: read once, and sent as it was. */
async function sendEnd(path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return void response.writeHead(404).end();
  try {
    const { size } = await file.stat();
    const buffer = Buffer.alloc(Math.min(size, consoleBytesMax));
    await file.read(buffer, 0, buffer.length, size - buffer.length);
    const sha256 = createHash('sha256').update(buffer).digest('hex');
    if (request.headers['if-match'] !== undefined && request.headers['if-match'] !== sha256) return void response.writeHead(412).end();
    response.writeHead(200, { 'content-length': String(buffer.length), 'x-sha256': sha256 });
    response.end(request.method === 'HEAD' ? undefined : buffer);
  } finally {
    await file.close();
  }
}

function checksum(state: State, key: string, path: string): Promise<string> {
  const known = state.checksums.get(key);
  if (known !== undefined) return known;
  const [oldest] = state.checksums.keys();
  if (state.checksums.size >= checksumsMax && oldest !== undefined) state.checksums.delete(oldest);
  const made = hashOf(path);
  state.checksums.set(key, made);
  made.catch(() => state.checksums.delete(key));
  return made;
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Undefined for a range that cannot be had. */
function rangeStart(range: string | undefined, sizeBytes: number): number | undefined {
  if (range === undefined) return 0;
  const start = Number(/^bytes=(\d+)-$/.exec(range)?.[1] ?? Number.NaN);
  return Number.isSafeInteger(start) && start <= sizeBytes ? start : undefined;
}
