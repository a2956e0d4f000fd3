// The S3 endpoint: node's HTTP server, and a Koa application whose middleware gives each request an id, logs it, turns failures
// into S3's XML, authenticates, finds the operation and writes its result. Bodies stay raw streams throughout.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import Koa, { type Context, type Middleware } from 'koa';
import type { Authority, S3Authentication, SignedRequest } from '../../auth/authenticate.ts';
import type { AuditTrail } from '../../db/audit.ts';
import { findImageBlob, type ImageBlob } from '../../db/blobs.ts';
import type { Db } from '../../db/db.ts';
import { finderInBuckets } from '../../db/find-in-bucket.ts';
import { looksOf } from '../../db/looks.ts';
import type { ObjectStoreDriver, Pieces } from '../../drivers/objectstore/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { recordChanges, type KnownRequest } from '../audit/s3-changes.ts';
import { acceptWaiting } from '../http/server.ts';
import { createWebServer, isSecure, plainRefusal, type Tls } from '../http/web-server.ts';
import { addressOf, bucketOfHost, queryOf, splitUrl } from './address.ts';
import { callOf, header, type S3Call, type S3Result, type S3Services } from './call.ts';
import { createContent } from './content.ts';
import { corsRules, crossOriginHeaders } from './cors.ts';
import { fail } from './errors.ts';
import { lookEarly } from './early-look.ts';
import { answerErrors, identify, logRequests } from './middleware.ts';
import { routeOf, type Route } from './routes.ts';
import { sendPieces } from './send-pieces.ts';

export interface S3ServerOptions {
  readonly db: Db;
  readonly store: ObjectStoreDriver;
  /** `authenticateS3` with its dependencies. Throws ApiError. */
  readonly authenticate: (request: SignedRequest) => Promise<S3Authentication>;
  readonly clock: Clock;
  readonly log: Log;
  readonly region: string;
  readonly quotas: S3Services['quotas'];
  /** Under which `BUCKET.domain` is virtual-host style, besides `localhost` and AWS's own names. */
  readonly domains?: readonly string[];
  /** Absent: plain HTTP. */
  readonly tls?: Tls | undefined;
  /** Where the content of images is found; the database by default. */
  readonly findImage?: (imageId: string) => Promise<ImageBlob | undefined>;
  /** What becomes of content that compute hosts bring; nothing is wanted by default. */
  readonly receiveImage?: S3Services['receiveImage'];
  /** For forms, which are signed within. */
  readonly authority?: Authority;
  /** To which every request that changes something, or was to, is told. Absent: nowhere. */
  readonly audit?: AuditTrail;
  /** Of the objectstore, as S3Services has it; without it there are none. */
  readonly olderHosts?: S3Services['olderHosts'];
}

export interface S3Server {
  /** Resolves with the port, which matters for port 0. */
  listen(host: string, port: number): Promise<number>;
  /** Stops accepting, lets running requests end, and cuts what is left after `graceMs` (default 5 s). */
  close(options?: { graceMs?: number }): Promise<void>;
}

/** A connection on which nothing moves for so long is cut. A joined upload of 5 GiB takes less. */
const idleTimeoutMs = 300_000;
const headersTimeoutMs = 60_000;
const keepAliveTimeoutMs = 75_000;
const graceMsDefault = 5_000;
const connectionsMax = 10_000;

export function createS3Server(options: S3ServerOptions): S3Server {
  const findImage = options.findImage ?? ((imageId: string) => findImageBlob(options.db, imageId));
  const looks = looksOf(options);
  const services: S3Services = {
    ...options, findInBucket: finderInBuckets(options.db, looks), findBucket: looks.bucket, findImage,
    receiveImage: options.receiveImage ?? (() => Promise.resolve('unwanted')),
    authority: options.authority, olderHosts: options.olderHosts ?? (() => Promise.resolve(undefined)),
  };
  const own = (options.domains ?? []).map((domain) => domain.toLowerCase());
  const domains = [...own, 'localhost', 's3.localhost', 's3.amazonaws.com', `s3.${options.region}.amazonaws.com`];
  // Requests whose client waits for `100 Continue` before it sends the body.
  const waiting = new WeakSet<IncomingMessage>();
  const koa = new Koa();
  koa.silent = true;
  koa.on('error', (error: unknown) => options.log.debug({ err: error }, 's3: a connection failed'));
  koa.use(identify());
  koa.use(logRequests(options));
  if (options.audit !== undefined) koa.use(recordChanges({ trail: options.audit, clock: options.clock }));
  koa.use(answerErrors({ ...options, isWaiting: (request) => waiting.has(request) }));
  koa.use(perform({ services, domains, authenticate: options.authenticate, tls: options.tls, waiting }));
  return serve(koa, waiting, options);
}

interface Performing {
  readonly services: S3Services;
  readonly domains: readonly string[];
  readonly authenticate: S3ServerOptions['authenticate'];
  readonly tls: Tls | undefined;
  readonly waiting: WeakSet<IncomingMessage>;
}

/** The innermost middleware: address, authentication, route, operation, answer. */
function perform({ services, domains, authenticate, tls, waiting }: Performing): Middleware {
  return async (context) => {
    const { req: request, res: response } = context;
    const refusal = plainRefusal(request, tls);
    if (refusal !== undefined) fail('InvalidRequest', refusal);
    const { rawPath, rawQuery } = splitUrl(request.url ?? '/');
    const method = request.method ?? 'GET';
    const virtualHostBucket = bucketOfHost(request.headers.host, domains);
    const meant = meantBy(() => ({ method, ...addressOf(rawPath, virtualHostBucket), query: queryOf(rawQuery), headers: request.headers }));
    const early = lookEarly(services, meant.asked, meant.route);
    const known = context.state as KnownRequest;
    const authentication = await authenticate({
      // A preflight for a signed address: the signature is that of the request which is to follow.
      method, rawPath, rawQuery: method === 'OPTIONS' ? '' : rawQuery, headers: request.headers, rawHeaders: request.rawHeaders,
      ...(virtualHostBucket === undefined ? {} : { virtualHostBucket }),
    }).catch((error: unknown) => {
      // Who was not believed has asked for something all the same.
      if (meant.asked !== undefined) [known.bucket, known.key] = [meant.asked.bucket, meant.asked.key];
      if (meant.route !== undefined) known.operation = meant.route.name;
      throw error;
    });
    const { principal } = authentication;
    const { asked, route } = meant;
    if (asked !== undefined) [known.bucket, known.key, known.principal] = [asked.bucket, asked.key, principal];
    if (asked === undefined || route === undefined) throw meant.error;
    known.operation = route.name;
    context.state['projectId'] = principal?.projectId;
    const expectsContinue = waiting.has(request);
    const call = callOf(services, early, {
      method, bucket: asked.bucket, key: asked.key, query: asked.query, headers: request.headers,
      requestId: String(context.state['requestId']), principal, foundOut: (more) => void Object.assign(known, more),
      remoteAddress: request.socket.remoteAddress ?? '', isSecure: isSecure(request),
      content: createContent({ request, response, expectsContinue, payload: authentication.payload, onOpen: () => waiting.delete(request) }),
    });
    await shareAcrossOrigins(context, call);
    const result = await route.operation(call);
    // Nobody asked for the body: whether the client sends it now is open, so the connection cannot be used again.
    if (waiting.has(request)) context.set('Connection', 'close');
    const pieces = write(context, result);
    if (pieces !== undefined) await sendPieces(response, pieces).catch((error: unknown) => services.log.debug({ err: error }, 's3: an answer broke off'));
  };
}

type Asked = Parameters<typeof routeOf>[0];

/** What the request is about, as far as it can be read. */
interface Meant {
  readonly asked?: Asked;
  readonly route?: Route;
  /** Why there is no route, for whoever may know. */
  readonly error?: unknown;
}

function meantBy(read: () => Asked): Meant {
  let asked: Asked | undefined;
  try {
    asked = read();
    return { asked, route: routeOf(asked) };
  } catch (error) {
    return asked === undefined ? { error } : { asked, error };
  }
}

/** What a browser must see on every answer, failures too, to let a script of another origin have it. */
async function shareAcrossOrigins(context: Context, call: S3Call): Promise<void> {
  const origin = header(call, 'origin');
  if (origin === undefined || call.method === 'OPTIONS' || call.bucket === '') return;
  const method = header(call, 'access-control-request-method') ?? call.method;
  const headers = crossOriginHeaders((await corsRules(call)) ?? [], { origin, method, headers: [] });
  for (const [name, value] of Object.entries(headers ?? {})) context.set(name, value);
}

/** Returns what is left to be sent, by whoever sends. */
function write(context: Context, result: S3Result): Pieces | undefined {
  const { status = 200, headers = {}, body, lengthBytes } = result;
  context.status = status;
  const { res: response } = context;
  for (const name in headers) response.setHeader(name, headers[name] ?? '');
  if (Buffer.isBuffer(body)) {
    context.respond = false;
    response.setHeader('content-length', body.length);
    response.end(body); // head and body are one write
    return undefined;
  }
  if (typeof body === 'object' && 'copyTo' in body) {
    context.respond = false;
    if (lengthBytes !== undefined) context.length = lengthBytes;
    return body;
  }
  if (typeof body === 'string') {
    context.set('Content-Type', headers['content-type'] ?? 'application/xml');
    context.body = body;
  } else if (body !== undefined) {
    context.body = body;
    if (lengthBytes !== undefined) context.length = lengthBytes;
  } else if (lengthBytes !== undefined) {
    context.length = lengthBytes; // of what HEAD does not send
  } else if (status !== 204) {
    // An empty answer, and not Koa's `OK`.
    context.respond = false;
    response.setHeader('content-length', 0);
    response.end();
  }
  return undefined;
}

function serve(koa: Koa, waiting: WeakSet<IncomingMessage>, { clock, log, tls }: S3ServerOptions): S3Server {
  const handle = koa.callback();
  // requestTimeout would cut every upload that takes longer than five minutes; the idle timeout below is what is meant.
  const http = { requestTimeout: 0, headersTimeout: headersTimeoutMs, keepAliveTimeout: keepAliveTimeoutMs };
  const server = createWebServer({ http, tls, clock }, handle);
  server.maxConnections = connectionsMax;
  server.timeout = idleTimeoutMs;
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    waiting.add(request);
    void handle(request, response);
  });
  // What else is expected is not refused, as AWS does not: it has no meaning for S3.
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => void handle(request, response));
  return { listen: (host, port) => listen(server, host, port), close: ({ graceMs = graceMsDefault } = {}) => close(server, { graceMs, clock, log }) };
}

function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

async function close(server: Server, { graceMs, clock, log }: { graceMs: number; clock: Clock; log: Log }): Promise<void> {
  await acceptWaiting();
  return new Promise((resolve) => {
    const cut = clock.after(graceMs, () => {
      log.warn('s3: cutting requests that did not end in time');
      server.closeAllConnections();
    });
    server.close(() => {
      cut.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
