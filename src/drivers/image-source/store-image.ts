// Brings an image to the objectstore: one PUT, signed with the checksum of what is sent, begun anew when it breaks.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { retry } from '../../lib/retry.ts';
import { webRequest } from '../../lib/web-request.ts';
import type { HttpImageSourceOptions } from './http-options.ts';

const triesMax = 5;
/** When all is sent, the objectstore makes it durable and looks at it. */
const answerMs = 600_000;

export async function storeImage(options: HttpImageSourceOptions, image: { imageId: string; path: string }, signal: AbortSignal): Promise<void> {
  const content = { ...image, sizeBytes: (await stat(image.path)).size, sha256: await sha256Of(image.path, signal) };
  await retry(() => send(options, content, signal), {
    clock: options.clock, triesMax, firstDelayMs: 200, delayMsMax: 5_000, signal,
    mayRetry: (error) => !signal.aborted && !(error instanceof DriverError && error.kind === 'notFound'),
  });
}

async function sha256Of(path: string, signal: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 ** 2, signal })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

interface Content {
  readonly imageId: string;
  readonly path: string;
  readonly sizeBytes: number;
  readonly sha256: string;
}

async function send(options: HttpImageSourceOptions, { imageId, path, sizeBytes, sha256 }: Content, signal: AbortSignal): Promise<void> {
  const stalled = new AbortController();
  const watch = (ms: number) => options.clock.after(ms, () => stalled.abort());
  let watchdog = watch(options.stallMs);
  const rewatch = (ms: number) => {
    watchdog.cancel();
    watchdog = watch(ms);
  };
  const watched = new Transform({
    transform(chunk, _encoding, done) {
      rewatch(options.stallMs);
      done(null, chunk);
    },
    flush(done) {
      rewatch(answerMs);
      done();
    },
  });
  const file = createReadStream(path, { highWaterMark: 256 * 1024 });
  file.on('error', (error) => watched.destroy(error));
  const url = options.url(imageId);
  try {
    const response = await webRequest(url, {
      method: 'PUT', body: file.pipe(watched), trust: options.trust, signal: AbortSignal.any([signal, stalled.signal]),
      headers: { ...(await options.sign(url, { sha256 })), 'content-length': String(sizeBytes) },
    });
    const answer = await text(response);
    if (response.statusCode === 404) throw new DriverError('notFound', `image ${imageId}: nothing waits for its content`);
    if (response.statusCode !== 200) throw refusal(imageId, response.statusCode, answer);
  } catch (error) {
    if (error instanceof DriverError) throw error;
    if (stalled.signal.aborted) throw new DriverError('timeout', `image ${imageId}: the objectstore took nothing for too long`, { cause: error });
    throw new DriverError('failed', `image ${imageId}: ${messageOf(error)}`, { cause: error });
  } finally {
    watchdog.cancel();
    file.destroy();
  }
}

const refusal = (imageId: string, status: number | undefined, answer: string): DriverError =>
  new DriverError('failed', `image ${imageId}: the objectstore answered ${status}`, { output: answer.slice(0, 2_000) });
