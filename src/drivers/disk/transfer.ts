// Fetches an instance's files from the host that has them. A broken transfer goes on where it ended; the name appears only when the
// checksum holds.
import { createHash, randomBytes, type Hash } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { Agent, request } from 'node:https';
import { dirname } from 'node:path';
import type { Clock } from '../../lib/clock.ts';
import { DriverError, messageOf } from '../../lib/errors.ts';
import { retry } from '../../lib/retry.ts';
import { syncFolder } from '../../lib/sync-folder.ts';
import type { DiskTransfer, RemoteFile } from './driver.ts';
import { identityOf, keyOf, tlsOptions } from './transfer-key.ts';

export interface DiskTransferOptions {
  readonly clock: Clock;
  /** The same on all hosts of the cloud, and known to nobody else. */
  readonly secret: Buffer;
  readonly port: number;
  /** A transfer without a byte for so long is broken. */
  readonly stallMs: number;
}

const triesMax = 6;
/** The other host reads the whole disk for its checksum before it answers. */
const describeMs = 15 * 60_000;

export function createDiskTransfer(options: DiskTransferOptions): DiskTransfer {
  return { info: { name: 'tls' }, fetch: (file, path, signal) => fetchFile(options, file, path, signal) };
}

async function fetchFile(options: DiskTransferOptions, file: RemoteFile, path: string, signal: AbortSignal): Promise<void> {
  const retried = <T>(work: () => Promise<T>): Promise<T> => retry(work, {
    clock: options.clock, triesMax, firstDelayMs: 200, delayMsMax: 10_000, signal,
    mayRetry: (error) => !(error instanceof DriverError && error.kind === 'notFound'),
  });
  const wanted = await retried(() => describe(options, file, signal));
  const temporary = `${path}.${randomBytes(6).toString('hex')}.part`;
  const handle = await open(temporary, 'wx', 0o600);
  try {
    const received = { bytes: 0, hash: createHash('sha256') };
    await retried(() => receive(options, { file, wanted, handle, received }, signal));
    const digest = received.hash.digest('hex');
    if (digest !== wanted.sha256) throw new DriverError('failed', `${labelOf(file)}: wrong checksum: ${digest} instead of ${wanted.sha256}`);
    await handle.sync();
    await rename(temporary, path);
    await syncFolder(dirname(path));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await handle.close();
  }
}

interface Description {
  readonly sizeBytes: number;
  readonly sha256: string;
}

interface Reception {
  readonly file: RemoteFile;
  readonly wanted: Description;
  readonly handle: FileHandle;
  readonly received: { bytes: number; readonly hash: Hash };
}

const labelOf = (file: RemoteFile): string => `${file.name} of ${file.instanceId}`;

async function describe(options: DiskTransferOptions, file: RemoteFile, signal: AbortSignal): Promise<Description> {
  const response = await send(options, file, { method: 'HEAD', timeoutMs: describeMs, headers: {} }, signal);
  response.resume();
  const [sizeBytes, sha256] = [Number(response.headers['content-length']), String(response.headers['x-sha256'] ?? '')];
  if (!Number.isSafeInteger(sizeBytes) || !/^[0-9a-f]{64}$/.test(sha256)) throw new DriverError('failed', `${labelOf(file)}: a wrong answer`);
  return { sizeBytes, sha256 };
}

/** Takes what is missing. What has arrived stays, in the file and in the checksum, when this throws. */
async function receive(options: DiskTransferOptions, { file, wanted, handle, received }: Reception, signal: AbortSignal): Promise<void> {
  if (received.bytes === wanted.sizeBytes) return;
  // `if-match`: the rest of another content would be of no use.
  const headers = { 'if-match': wanted.sha256, range: `bytes=${received.bytes}-` };
  const response = await send(options, file, { method: 'GET', timeoutMs: options.stallMs, headers }, signal);
  const silent = new DriverError('timeout', `${labelOf(file)}: nothing arrived for ${options.stallMs} ms`);
  const watch = () => options.clock.after(options.stallMs, () => response.destroy(silent));
  let watchdog = watch();
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      watchdog.cancel();
      if (received.bytes + chunk.length > wanted.sizeBytes) throw new DriverError('failed', `${labelOf(file)}: more bytes than there are`);
      await handle.write(chunk, 0, chunk.length, received.bytes);
      received.hash.update(chunk);
      received.bytes += chunk.length;
      watchdog = watch();
    }
  } catch (error) {
    throw error instanceof DriverError ? error : new DriverError('failed', `${labelOf(file)}: ${messageOf(error)}`, { cause: error });
  } finally {
    watchdog.cancel();
    response.destroy();
  }
  if (received.bytes !== wanted.sizeBytes) throw new DriverError('failed', `${labelOf(file)}: ${received.bytes} of ${wanted.sizeBytes} bytes arrived`);
}

interface Sending {
  readonly method: 'HEAD' | 'GET';
  readonly timeoutMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

function send(options: DiskTransferOptions, file: RemoteFile, sending: Sending, signal: AbortSignal): Promise<IncomingMessage> {
  const identity = identityOf(file);
  return new Promise((resolve, reject) => {
    const agent = new Agent({
      ...tlsOptions, maxCachedSessions: 0,
      pskCallback: () => ({ identity, psk: keyOf(options.secret, identity) }),
      // The key proves who answers: there are no certificates.
      checkServerIdentity: () => undefined,
    });
    const { method, headers } = sending;
    const where = { host: file.address, port: options.port, path: `/${file.name}` };
    const asked = request({ ...where, method, headers: { ...headers }, signal, agent, timeout: sending.timeoutMs }, (response) => {
      const { statusCode = 0 } = response;
      const wanted = /^bytes=[1-9]/.test(headers['range'] ?? '') ? 206 : 200;
      if (statusCode === wanted) return resolve(response);
      response.resume();
      const kind = statusCode === 404 ? 'notFound' : 'failed';
      reject(new DriverError(kind, `${labelOf(file)}: the host at ${file.address} answered ${statusCode}`));
    });
    asked.on('timeout', () => asked.destroy(new DriverError('timeout', `${labelOf(file)}: nothing arrived for ${sending.timeoutMs} ms`)));
    asked.on('error', (error) => reject(
      error instanceof DriverError ? error : new DriverError('failed', `${labelOf(file)}: the host at ${file.address}: ${messageOf(error)}`, { cause: error }),
    ));
    asked.end();
  });
}
