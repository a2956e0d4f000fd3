// Fetches images from the objectstore over HTTP. A broken transfer goes on where it ended; the name appears only when the checksum holds. What is
// brought there is signed with its checksum.
import { createHash, randomBytes, type Hash } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { retry } from '../../lib/retry.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import { webRequest } from '../../lib/web-request.ts';
import type { ImageSource, ImageToFetch } from './driver.ts';
import type { HttpImageSourceOptions } from './http-options.ts';
import { storeImage } from './store-image.ts';

const triesMax = 5;

export function createHttpImageSource(options: HttpImageSourceOptions): ImageSource {
  return {
    info: { name: 'http' },
    fetch: (image, path, signal) => fetchImage(options, image, path, signal),
    store: (imageId, path, signal) => storeImage(options, { imageId, path }, signal),
  };
}

async function fetchImage(options: HttpImageSourceOptions, image: ImageToFetch, path: string, signal: AbortSignal): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.part`;
  const file = await open(temporary, 'wx', 0o600);
  try {
    const received = { bytes: 0, hash: createHash('sha256') };
    await retry(() => receive(options, image, file, received, signal), {
      clock: options.clock, triesMax, firstDelayMs: 200, delayMsMax: 5_000, signal,
      mayRetry: (error) => !(error instanceof DriverError && error.kind === 'notFound'),
    });
    const digest = received.hash.digest('hex');
    if (digest !== image.sha256) throw new DriverError('failed', `image ${image.id}: wrong checksum: ${digest} instead of ${image.sha256}`);
    await file.chmod(0o444);
    await file.sync();
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await file.close();
  }
}

/** Takes what is missing. What has arrived stays, in the file and in the checksum, when this throws. */
async function receive(options: HttpImageSourceOptions, image: ImageToFetch, file: FileHandle, received: { bytes: number; hash: Hash }, signal: AbortSignal): Promise<void> {
  if (received.bytes === image.sizeBytes) return;
  const stalled = new AbortController();
  let watchdog = options.clock.after(options.stallMs, () => stalled.abort());
  const url = options.url(image.id);
  try {
    const response = await webRequest(url, {
      trust: options.trust,
      headers: { ...(await options.sign(url)), ...(received.bytes > 0 ? { range: `bytes=${received.bytes}-` } : {}) },
      signal: AbortSignal.any([signal, stalled.signal]),
    });
    const status = response.statusCode;
    if (status !== (received.bytes > 0 ? 206 : 200)) {
      response.destroy();
      if (status === 404) throw new DriverError('notFound', `image ${image.id} is not in the objectstore`);
      throw new DriverError('failed', `image ${image.id}: the objectstore answered ${status}`);
    }
    for await (const chunk of response as AsyncIterable<Buffer>) {
      await file.write(chunk, 0, chunk.length, received.bytes);
      received.hash.update(chunk);
      received.bytes += chunk.length;
      watchdog.cancel();
      watchdog = options.clock.after(options.stallMs, () => stalled.abort());
    }
    if (received.bytes !== image.sizeBytes) throw new DriverError('failed', `image ${image.id}: ${received.bytes} of ${image.sizeBytes} bytes arrived`);
  } catch (error) {
    if (error instanceof DriverError) throw error;
    if (stalled.signal.aborted) throw new DriverError('timeout', `image ${image.id}: nothing arrived for ${options.stallMs} ms`, { cause: error });
    throw new DriverError('failed', `image ${image.id}: ${messageOf(error)}`, { cause: error });
  } finally {
    watchdog.cancel();
  }
}
