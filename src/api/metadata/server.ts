// 169.254.169.254 for the guests of one network. Who asks is told by the source address of the connection, which the host's anti-spoofing rules
// make the identity of a port; no header is believed. Guests are strangers: everything here is bounded.
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Server as SocketServer, Socket } from 'node:net';
import Koa, { type Context } from 'koa';
import { LRUCache } from 'lru-cache';
import type { Db } from '../../db/db.ts';
import { instanceByAddress, projectAddresses, type InstanceMetadata } from '../../db/metadata.ts';
import type { Clock } from '../../lib/clock.ts';
import { SetupError } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { createTokens, ttlSecondsMax, type Tokens } from './tokens.ts';
import { findNode, metadataTree, renderNode, versions, type TreeContext } from './tree.ts';

/** Where a request came from. */
export interface MetadataSource {
  readonly networkId: string;
  readonly address: string;
}

export interface MetadataSettings {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  /** At least 32 secret bytes; the same in all processes that serve one network. */
  readonly tokenKey: Buffer;
  /** Whose guests are served; the same addresses on another network are somebody else's. */
  readonly networkId: string;
  readonly region: string;
  /** Default `novalocal`. */
  readonly dnsDomain?: string;
  /** Which instance asks. Default: the one that holds the address on the network, by the database. */
  readonly resolve?: (source: MetadataSource) => Promise<InstanceMetadata | undefined>;
}

export interface MetadataServer {
  /**
   * Also serves on this address from now on, with a socket that somebody else opens (in another network namespace) if one is given. Saying it twice
   * is no error. Returns the port (which matters when it was 0).
   */
  listen(host: string, port: number, openSocket?: () => Promise<SocketServer>): Promise<number>;
  close(): Promise<void>;
}

const cacheMs = 500;
const cacheEntriesMax = 1_000;
const connectionsPerGuestMax = 32;
const connectionsMax = 4_096;

export function createMetadataServer(settings: MetadataSettings): MetadataServer {
  const { db, log } = settings;
  const tokens = createTokens({ key: settings.tokenKey, clock: settings.clock });
  const resolve = cached(settings.resolve ?? ((source) => instanceByAddress(db, source)), settings.clock);
  const context: TreeContext = {
    region: settings.region,
    dnsDomain: settings.dnsDomain ?? 'novalocal',
    listProject: async (projectId) => (await projectAddresses(db, projectId)).map((row) => `${row.address} slots=${row.cores}`).join('\n'),
  };
  const app = new Koa();
  app.silent = true;
  app.on('error', (error: Error) => log.error({ err: error }, 'metadata request failed'));
  app.use((ctx) => answer(ctx, { networkId: settings.networkId, resolve, tokens, context }));
  const handle = app.callback();
  const servers = new Map<string, Promise<Server>>();
  return {
    async listen(host, port, openSocket) {
      const key = `${host} ${port}`;
      const opening = servers.get(key) ?? open(handle, { host, port, openSocket });
      servers.set(key, opening);
      const server = await opening.catch((error: unknown) => {
        servers.delete(key);
        throw error;
      });
      const { port: given } = server.address() as AddressInfo;
      servers.set(`${host} ${given}`, opening);
      return given;
    },
    async close() {
      const opened = await Promise.allSettled(new Set(servers.values()));
      servers.clear();
      await Promise.all(opened.map((result) => (result.status === 'fulfilled' ? closeServer(result.value) : undefined)));
    },
  };
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly openSocket: (() => Promise<SocketServer>) | undefined;
}

async function open(handle: Parameters<typeof createServer>[1], at: Place): Promise<Server> {
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000, keepAliveTimeout: 5_000, maxHeaderSize: 16 * 1024 }, handle);
  // A guest's `nc` says that it has no more to send as soon as it has asked: Node would hang up on it instead of answering. Not in Node's types.
  Object.assign(server, { httpAllowHalfOpen: true });
  server.maxConnections = connectionsMax;
  const connections = new Map<string, number>();
  server.on('connection', (socket) => limitConnections(socket, connections));
  const socket = await at.openSocket?.().catch((error: unknown) => {
    throw listenError(error as NodeJS.ErrnoException, at);
  });
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(listenError(error, at)));
    server.listen(socket ?? { host: at.host, port: at.port }, () => resolve(server));
  });
}

function listenError(error: NodeJS.ErrnoException, at: Place): Error {
  const message = `the metadata service cannot listen on ${at.host}:${at.port}`;
  if (error.code === 'EADDRINUSE') {
    return new SetupError(`${message}: the port is in use`, 'Stop what uses it, or choose another by NOVACT_METADATA_PORT.', { cause: error });
  }
  return new SetupError(`${message}: ${error.message}`, 'The address must be on this host: it is the gateway of a network, on its bridge.', { cause: error });
}

const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

/** One guest cannot use up what serves all. */
function limitConnections(socket: Socket, connections: Map<string, number>): void {
  const guest = socket.remoteAddress ?? '';
  const count = (connections.get(guest) ?? 0) + 1;
  connections.set(guest, count);
  socket.once('close', () => {
    const left = (connections.get(guest) ?? 1) - 1;
    if (left > 0) connections.set(guest, left);
    else connections.delete(guest);
  });
  if (count > connectionsPerGuestMax) socket.destroy();
}

type Resolve = (source: MetadataSource) => Promise<InstanceMetadata | undefined>;

/** A booting guest asks for forty things in one breath: one query serves them. An address that is nobody's yet is asked for again each time. */
function cached(resolve: Resolve, clock: Clock): Resolve {
  const answers = new LRUCache<string, { until: number; instance: Promise<InstanceMetadata | undefined> }>({ max: cacheEntriesMax });
  return (source) => {
    const key = `${source.networkId} ${source.address}`;
    const known = answers.get(key);
    if (known !== undefined && known.until > clock.now()) return known.instance;
    const entry = { until: clock.now() + cacheMs, instance: resolve(source) };
    answers.set(key, entry);
    const forget = () => {
      if (answers.get(key) === entry) answers.delete(key);
    };
    entry.instance.then((instance) => (instance === undefined ? forget() : undefined), forget);
    return entry.instance;
  };
}

interface Tools {
  readonly networkId: string;
  readonly resolve: Resolve;
  readonly tokens: Tokens;
  readonly context: TreeContext;
}

async function answer(ctx: Context, tools: Tools): Promise<void> {
  ctx.set('Server', 'EC2ws');
  ctx.set('Connection', 'close');
  const instance = await tools.resolve({ networkId: tools.networkId, address: plainAddress(ctx.socket.remoteAddress) });
  if (instance === undefined) return fail(ctx, 404);
  if (instance.metadataEndpoint === 'disabled') return fail(ctx, 403);
  const path = pathOf(ctx.path);
  if (path === undefined) return fail(ctx, 400);
  if (path.join('/') === 'latest/api/token') return issueToken(ctx, instance, tools.tokens);
  if (ctx.method !== 'GET' && ctx.method !== 'HEAD') return fail(ctx, 405, { Allow: 'GET, HEAD' });
  const token = ctx.get('x-aws-ec2-metadata-token');
  const isNeeded = instance.metadataTokens === 'required' || ctx.req.headers['x-aws-ec2-metadata-token'] !== undefined;
  if (isNeeded && !tools.tokens.isValid(instance.instanceId, token)) return fail(ctx, 401);
  return serve(ctx, instance, { path, context: tools.context });
}

async function serve(ctx: Context, instance: InstanceMetadata, at: { path: readonly string[]; context: TreeContext }): Promise<void> {
  const [version, ...path] = at.path;
  if (version === undefined) return send(ctx, versions.join('\n'));
  if (!versions.includes(version)) return fail(ctx, 404);
  const node = findNode(metadataTree(instance, at.context), path);
  if (node === undefined) return fail(ctx, 404);
  return send(ctx, await renderNode(node, { path, keyName: instance.keyName }));
}

function issueToken(ctx: Context, instance: InstanceMetadata, tokens: Tokens): void {
  if (ctx.method !== 'PUT') return fail(ctx, 405, { Allow: 'OPTIONS, PUT' });
  // A proxy inside the guest that passes on strangers' requests is what session tokens are there to stop.
  if (ctx.req.headers['x-forwarded-for'] !== undefined) return fail(ctx, 403);
  const ttl = ctx.get('x-aws-ec2-metadata-token-ttl-seconds');
  if (!/^\d{1,5}$/.test(ttl) || Number(ttl) < 1 || Number(ttl) > ttlSecondsMax) return fail(ctx, 400);
  ctx.set('X-Aws-Ec2-Metadata-Token-Ttl-Seconds', String(Number(ttl)));
  send(ctx, tokens.issue(instance.instanceId, Number(ttl)));
}

/** Doubled and trailing slashes mean nothing here, as on EC2. Undefined: not well-formed. */
function pathOf(path: string): string[] | undefined {
  try {
    return path.split('/').filter((part) => part !== '').map(decodeURIComponent);
  } catch {
    return undefined;
  }
}

/** Without the prefix of an IPv4 address on an IPv6 socket. */
const plainAddress = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');

function send(ctx: Context, body: string | Buffer): void {
  ctx.status = 200;
  ctx.type = Buffer.isBuffer(body) ? 'application/octet-stream' : 'text/plain';
  // An empty value is 200 with no bytes; Koa would make 204 of it.
  ctx.body = Buffer.isBuffer(body) ? body : Buffer.from(body);
  ctx.set('Accept-Ranges', 'none');
}

const reasons: Readonly<Record<number, string>> = {
  400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found', 405: 'Method Not Allowed',
};

function fail(ctx: Context, status: number, headers: Record<string, string> = {}): void {
  const title = `${status} - ${reasons[status]}`;
  ctx.status = status;
  ctx.set(headers);
  ctx.type = 'text/html';
  ctx.body = `<?xml version="1.0" encoding="iso-8859-1"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"
	"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head>
  <title>${title}</title>
 </head>
 <body>
  <h1>${title}</h1>
 </body>
</html>
`;
}
