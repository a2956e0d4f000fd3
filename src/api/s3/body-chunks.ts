// What a request brings, chunk by chunk, for whoever takes one after the other. Without the streams of node in between, each of which costs more than
// taking, hashing and writing a few KiB.
import type { Readable } from 'node:stream';
import { ApiError } from '../../lib/errors.ts';

/** Of what has come and was not taken: then the client waits. */
const waitingBytesMax = 256 * 1024;

export const incompleteBody = (): ApiError =>
  new ApiError('IncompleteBody', 'You did not provide the number of bytes specified by the Content-Length HTTP header.', 400);

/** Throws ApiError: what the stream failed with, or IncompleteBody. Whoever ends it early lets go of the stream, which is paused and otherwise as it was. */
export async function* bodyChunks(stream: Readable): AsyncGenerator<Buffer, void, undefined> {
  const waiting: Buffer[] = [];
  let size = 0;
  let end: 'clean' | 'incomplete' | ApiError | undefined;
  let wake = (): void => undefined;
  const onData = (chunk: Buffer) => {
    waiting.push(chunk);
    size += chunk.length;
    if (size >= waitingBytesMax) stream.pause();
    wake();
  };
  const finish = (how: 'clean' | 'incomplete' | ApiError) => {
    end ??= how;
    wake();
  };
  const ended = (): typeof end => end; // changed by listeners, which the compiler does not see
  const onEnd = () => finish('clean');
  const onError = (error: unknown) => finish(error instanceof ApiError ? error : 'incomplete');
  // Also after a clean end, with every request: no error is made before one is wanted.
  const onClose = () => finish('incomplete');
  // A listener for errors stays: what fails after somebody let go of it is nobody's.
  stream.on('data', onData).once('end', onEnd).on('error', onError).once('close', onClose);
  if (stream.destroyed) onClose();
  else stream.resume();
  try {
    for (;;) {
      const chunk = waiting.shift();
      if (chunk !== undefined) {
        size -= chunk.length;
        yield chunk;
        continue;
      }
      const how = ended();
      if (how === 'clean') return;
      if (how !== undefined) throw how === 'incomplete' ? incompleteBody() : how;

      const more = new Promise<void>((resolve) => { wake = resolve; });
      if (stream.isPaused()) stream.resume();
      await more;
    }
  } finally {
    stream.off('data', onData).off('end', onEnd).off('close', onClose);
    if (end === undefined) stream.pause();
  }
}
