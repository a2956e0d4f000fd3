// What surrounds every S3 request: its id, its line in the log, and its answer when it fails.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Context, Middleware } from 'koa';
import { RefusedRequest } from '../../auth/refusal.ts';
import { ApiError, messageOf } from '../../lib/errors.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { asApiError, S3Failure, statusOf } from './errors.ts';
import { element } from './xml.ts';

/** A body up to this is read before an error is answered: clients that are still sending would not see the answer otherwise. */
const drainBytesMax = 32 * 1024 * 1024;
const drainMsMax = 10_000;

const idBytes = 8;
const longIdBytes = 24;
/** Of so many requests the ids are drawn at once. */
const idsDrawn = 128;

export function identify(): Middleware {
  let [random, at] = [Buffer.alloc(0), 0];
  const take = (length: number, encoding: 'hex' | 'base64'): string => random.toString(encoding, at, (at += length));
  return async (context, next) => {
    if (at === random.length) [random, at] = [randomBytes((idBytes + longIdBytes) * idsDrawn), 0];
    const requestId = take(idBytes, 'hex').toUpperCase();
    context.state['requestId'] = requestId;
    const { res: response } = context;
    response.setHeader('x-amz-request-id', requestId);
    response.setHeader('x-amz-id-2', take(longIdBytes, 'base64'));
    response.setHeader('Server', 'novact');
    await next();
  };
}

/** The path is logged without its query, which may hold a signature. */
export function logRequests({ log, clock }: { log: Log; clock: Clock }): Middleware {
  return async (context, next) => {
    const startedAt = clock.now();
    await next();
    const isFault = context.status >= 500 && context.status !== 501;
    if (!isFault && !log.isLevelEnabled('debug')) return;
    const { requestId, operation, projectId, error } = context.state;
    const path = (context.req.url ?? '').split('?')[0]?.slice(0, 300);
    const line = { requestId, operation, projectId, method: context.method, path, status: context.status, ms: clock.now() - startedAt, code: error };
    if (isFault) log.warn(line, 's3');
    else log.debug(line, 's3');
  };
}

export interface ErrorAnswering {
  readonly log: Log;
  readonly clock: Clock;
  /** True while the client waits for `100 Continue`: it may or may not send its body after an error. */
  readonly isWaiting: (request: IncomingMessage) => boolean;
}

/** Expected failures are told in S3's words; anything else is logged whole and shown as InternalError with the request id. */
export function answerErrors({ log, clock, isWaiting }: ErrorAnswering): Middleware {
  return async (context, next) => {
    try {
      await next();
    } catch (thrown) {
      const error = asApiError(thrown) ?? new ApiError('InternalError', 'We encountered an internal error. Please try again.', 500);
      const { requestId } = context.state;
      if (error.code === 'InternalError' || error.code === 'InsufficientStorage') log.error({ err: thrown, requestId }, `s3: ${messageOf(thrown)}`);
      context.state['error'] = error.code;
      if (error instanceof RefusedRequest) context.state['claimed'] = error.claimed;
      const isDrained = !isWaiting(context.req) && (await drain(context.req, clock));
      writeError(context, error);
      if (!isDrained) context.set('Connection', 'close');
    }
  };
}

function writeError(context: Context, error: ApiError): void {
  context.status = statusOf(error);
  context.remove('Content-Length');
  if (error instanceof S3Failure) for (const [name, value] of Object.entries(error.headers)) context.set(name, value);
  const content = [
    element('Code', error.code), element('Message', error.message),
    element('Resource', (context.req.url ?? '').split('?')[0] ?? ''), element('RequestId', String(context.state['requestId'])),
  ];
  context.set('Content-Type', 'application/xml');
  // Errors are the one document of S3 without a namespace. Koa leaves the body out for HEAD.
  context.body = `<?xml version="1.0" encoding="UTF-8"?>\n${element('Error', content).markup}`;
}

/** Reads away the rest of a body. False: there is more than we are willing to read, and the connection must end. */
async function drain(request: IncomingMessage, clock: Clock): Promise<boolean> {
  if (request.readableEnded || request.complete && request.readableLength === 0) return true;
  if (request.destroyed) return false;
  if (Number(request.headers['content-length'] ?? 0) > drainBytesMax) return false;
  return new Promise((resolve) => {
    let read = 0;
    const timer = clock.after(drainMsMax, () => finish(false));
    const onData = (chunk: Buffer) => {
      read += chunk.length;
      if (read > drainBytesMax) finish(false);
    };
    const onEnd = () => finish(true);
    const onClose = () => finish(request.readableEnded);
    const finish = (isDrained: boolean) => {
      timer.cancel();
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      if (!isDrained) request.pause();
      resolve(isDrained);
    };
    request.on('data', onData).on('end', onEnd).on('close', onClose);
    request.resume();
  });
}
