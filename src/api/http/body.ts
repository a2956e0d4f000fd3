// Reads a request body into memory, up to a limit: signatures need all of it before anything else can be said.
import type { IncomingMessage } from 'node:http';
import { ApiError } from '../../lib/errors.ts';

/** The client went away before its request was complete: there is nobody to answer. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone';
}

/** Rejects with a 413 as soon as the limit is passed; the rest of the body is then not read. */
export function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const tooLarge = () => new ApiError('InvalidRequest', `The request body is larger than ${bytesMax} bytes.`, 413);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) return Promise.reject(tooLarge());
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bytesMax) {
        request.pause();
        request.removeAllListeners('data');
        reject(tooLarge());
      } else {
        chunks.push(chunk);
      }
    });
    request.once('end', () => resolve(Buffer.concat(chunks)));
    request.once('error', () => reject(new ClientGone('the connection broke')));
    request.once('close', () => reject(new ClientGone('the connection was closed')));
  });
}
