// The EC2 endpoint as a Koa application: request id, access log, the bound on requests in hand, paths, body. It knows HTTP and nothing
// of actions; the dispatcher knows actions and nothing of HTTP.
import Koa, { type Context, type Middleware } from 'koa';
import type { SignedRequest } from '../../auth/request.ts';
import type { Clock } from '../../lib/clock.ts';
import { ApiError } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import type { Log } from '../../lib/log.ts';
import type { Answer, Dispatcher, RequestRecord } from '../ec2/dispatch.ts';
import { ClientGone, readBody } from './body.ts';
import { plainRefusal, type Tls } from './web-server.ts';

export interface AppOptions {
  readonly dispatcher: Dispatcher;
  /** Of Nova's Admin API; absent: there is none. */
  readonly adminDispatcher?: Dispatcher;
  readonly log: Log;
  readonly clock: Clock;
  /** Beyond it, requests are answered RequestLimitExceeded at once. Default 256. */
  readonly requestsMax?: number;
  readonly bodyBytesMax?: number;
  /** With which it is served; absent: plain HTTP. */
  readonly tls?: Tls | undefined;
  /** Called after every request, for metrics. */
  readonly observe?: (request: ObservedRequest) => void;
}

export interface ObservedRequest extends RequestRecord {
  readonly requestId: string;
  readonly status: number;
  readonly durationMs: number;
}

const requestsMaxDefault = 256;
const bodyBytesMaxDefault = 1024 * 1024;

/** Where the query API answers. Nova's clients come to /services/Cloud, with and without a slash. */
const queryPaths = new Set(['/', '/services/Cloud', '/services/Cloud/']);
const adminPaths = new Set(['/services/Admin', '/services/Admin/']);

/** What Nova listed at `/`, and today's version. */
const versions = ['1.0', '2007-01-19', '2007-03-01', '2007-08-29', '2007-10-10', '2007-12-15', '2008-02-01', '2008-09-01', '2009-04-04', '2016-11-15'];

export function createEc2App(options: AppOptions): Koa {
  const app = new Koa();
  // Koa would print errors itself; all of them are caught below and go to our log.
  app.silent = true;
  app.use(answerEverything(options));
  return app;
}

function answerEverything(options: AppOptions): Middleware {
  let inHand = 0;
  return async (context) => {
    const requestId = newRequestId();
    const startedAt = options.clock.now();
    inHand += 1;
    try {
      if (inHand > (options.requestsMax ?? requestsMaxDefault)) throw new ApiError('RequestLimitExceeded', 'Request limit exceeded.');
      const answer = await answerTo(context, requestId, options);
      write(context, answer, requestId);
      finish(context, answer, { requestId, startedAt }, options);
    } catch (error) {
      const answer = options.dispatcher.refuse(error, requestId);
      if (error instanceof ClientGone) context.respond = false;
      else write(context, answer, requestId);
      finish(context, answer, { requestId, startedAt }, options);
    } finally {
      inHand -= 1;
    }
  };
}

async function answerTo(context: Context, requestId: string, options: AppOptions): Promise<Answer | string> {
  const refusal = plainRefusal(context.req, options.tls);
  if (refusal !== undefined) throw new ApiError('InvalidRequest', refusal);
  const { rawPath, rawQuery } = splitUrl(context.req.url ?? '/');
  const dispatcher = queryPaths.has(rawPath) ? options.dispatcher : adminPaths.has(rawPath) ? options.adminDispatcher : undefined;
  if (dispatcher === undefined) throw new ApiError('InvalidRequest', 'There is no service at this path.', 404);
  if (context.method !== 'GET' && context.method !== 'POST') throw new ApiError('InvalidRequest', 'The method must be GET or POST.', 405);
  const body = await readBody(context.req, options.bodyBytesMax ?? bodyBytesMaxDefault);
  if (context.method === 'GET' && rawPath === '/' && rawQuery === '' && body.length === 0) return `${versions.join('\n')}\n`;
  const request: SignedRequest = {
    method: context.method,
    rawPath,
    rawQuery,
    headers: context.req.headers,
    rawHeaders: context.req.rawHeaders,
    body,
  };
  return dispatcher.dispatch(request, requestId, context.req.socket.remoteAddress ?? '');
}

/** The path and query as on the wire; a proxy's absolute form loses its scheme and host. */
function splitUrl(url: string): { rawPath: string; rawQuery: string } {
  const relative = url.replace(/^https?:\/\/[^/?]*/i, '');
  const mark = relative.indexOf('?');
  const path = mark === -1 ? relative : relative.slice(0, mark);
  return { rawPath: path === '' ? '/' : path, rawQuery: mark === -1 ? '' : relative.slice(mark + 1) };
}

function write(context: Context, answer: Answer | string, requestId: string): void {
  context.set('x-amzn-requestid', requestId);
  context.set('cache-control', 'no-cache, no-store');
  // What was not read of a refused body would be taken for the next request.
  if (!context.req.complete) context.set('connection', 'close');
  if (typeof answer === 'string') {
    context.type = 'text/plain; charset=utf-8';
    context.body = answer;
    return;
  }
  context.status = answer.status;
  context.set('content-type', 'text/xml;charset=UTF-8');
  if (answer.status === 503) context.set('retry-after', '1');
  context.body = answer.body;
}

function finish(context: Context, answer: Answer | string, started: { requestId: string; startedAt: number }, options: AppOptions): void {
  const durationMs = options.clock.now() - started.startedAt;
  const record: RequestRecord = typeof answer === 'string' ? {} : answer.record;
  const status = context.respond === false ? 499 : context.status;
  const { requestId } = started;
  // Neither the query nor the body: they carry signatures, user data and keys.
  const line = { requestId, method: context.method, path: context.path.slice(0, 100), status, durationMs, client: context.req.socket.remoteAddress, ...record };
  options.log.info({ ...line, userAgent: (context.get('user-agent') || undefined)?.slice(0, 100) }, 'request');
  options.observe?.({ ...record, requestId, status, durationMs });
}
