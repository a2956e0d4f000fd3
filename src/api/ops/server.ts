// The ops server of a process: health and metrics for everyone on this machine, the inner pages (status, actors, explain) for whoever
// can read the token in the state folder, and so are the commands of `novact manage`. It listens before the cloud is up, so that starting can be watched.
import { createServer, type Server } from 'node:http';
import { timingSafeEqual } from 'node:crypto';
import Koa, { type Context } from 'koa';
import type { Log } from '../../lib/log.ts';
import { SetupError } from '../../lib/errors.ts';
import { manageRequest } from './perform-manage.ts';
import type { OpsSource } from './source.ts';

export interface OpsOptions {
  readonly port: number;
  readonly token: string;
  readonly log: Log;
  /** What /status says beside the source's own: endpoints, pid, since when. */
  readonly facts: () => Readonly<Record<string, unknown>>;
  /** Undefined while the cloud is still starting. */
  readonly source: () => OpsSource | undefined;
}

export interface OpsServer {
  readonly port: number;
  close(): Promise<void>;
}

type Handler = (context: Context, options: OpsOptions) => Promise<void> | void;

/** Only this machine: what is here is for its operator. */
const address = '127.0.0.1';

/** Rejects with SetupError when the port is taken. */
export function startOpsServer(options: OpsOptions): Promise<OpsServer> {
  const app = new Koa();
  app.silent = true;
  app.on('error', (error) => options.log.error({ err: error }, 'ops server'));
  app.use((context) => answer(context, options));
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, app.callback());
  server.maxConnections = 64;
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(portError(error, options.port)));
    server.listen(options.port, address, () => {
      const bound = server.address();
      resolve({ port: typeof bound === 'object' && bound !== null ? bound.port : options.port, close: () => close(server) });
    });
  });
}

const open: Readonly<Record<string, Handler>> = {
  '/health': health,
  async '/metrics'(context, { source }) {
    const registry = source()?.registry;
    context.type = 'text/plain; version=0.0.4; charset=utf-8';
    context.body = registry === undefined ? '' : await registry.metrics();
  },
};

const inner: Readonly<Record<string, Handler>> = {
  async '/status'(context, { source, facts }) {
    const running = source();
    const cloud = running === undefined ? {} : { ...(await running.status()), health: await running.health() };
    context.body = { ...facts(), isReady: running !== undefined, ...cloud };
  },
  '/actors'(context, { source }) {
    context.body = source()?.actors() ?? [];
  },
};

async function health(context: Context, { source }: OpsOptions): Promise<void> {
  const running = source();
  const checks = running === undefined ? [] : await running.health();
  const isWell = running !== undefined && checks.every((check) => check.ok);
  context.status = isWell ? 200 : 503;
  context.body = { status: running === undefined ? 'starting' : isWell ? 'ok' : 'failing', checks };
}

async function answer(context: Context, options: OpsOptions): Promise<void> {
  context.set('Cache-Control', 'no-store');
  if (context.method === 'POST' && context.path === '/manage') return manage(context, options);
  if (context.method !== 'GET' && context.method !== 'HEAD') return refuse(context, 405, 'only GET is served here');
  const openHandler = Object.hasOwn(open, context.path) ? open[context.path] : undefined;
  if (openHandler !== undefined) return openHandler(context, options);
  if (!isAllowed(context, options.token)) return refuse(context, 401, 'the token of the state folder is needed (Authorization: Bearer …)');
  const handler = Object.hasOwn(inner, context.path) ? inner[context.path] : undefined;
  if (handler !== undefined) return handler(context, options);
  const id = /^\/explain\/([A-Za-z0-9-]{1,64})$/.exec(context.path)?.[1];
  if (id === undefined) return refuse(context, 404, 'no such page');
  const explanation = await options.source()?.explain(id);
  if (explanation === undefined) return refuse(context, 404, `there is no ${id} here`);
  context.body = explanation;
}

const manageBytesMax = 64 * 1024;

async function manage(context: Context, options: OpsOptions): Promise<void> {
  if (!isAllowed(context, options.token)) return refuse(context, 401, 'the token of the state folder is needed (Authorization: Bearer …)');
  const source = options.source();
  if (source === undefined) return refuse(context, 503, 'it is starting');
  const request = manageRequest.safeParse(await readJson(context));
  if (!request.success) return refuse(context, 400, 'a category, a verb and args are needed, as JSON');
  const { category, verb } = request.data;
  const done = await source.manage(request.data);
  options.log.info({ category, verb, outcome: done.outcome, requestId: done.requestId }, 'manage');
  context.body = done;
}

/** Undefined for what is too long or no JSON. */
async function readJson(context: Context): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of context.req as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > manageBytesMax) return undefined;
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    return undefined; // The caller says what is needed.
  }
}

function refuse(context: Context, status: number, error: string): void {
  context.status = status;
  context.body = { error };
}

function isAllowed(context: Context, token: string): boolean {
  const given = Buffer.from(context.get('authorization').replace(/^Bearer /, ''));
  const wanted = Buffer.from(token);
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}

function portError(error: NodeJS.ErrnoException, port: number): Error {
  if (error.code !== 'EADDRINUSE' && error.code !== 'EACCES') return error;
  const why = error.code === 'EACCES' ? 'may not be opened by this user' : 'is in use by another program';
  const remedy = `Find it with: ss -ltnp 'sport = :${port}'. Or choose another: NOVACT_OPS_PORT.`;
  return new SetupError(`port ${port} (NOVACT_OPS_PORT) on ${address} ${why}`, remedy, { cause: error });
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
