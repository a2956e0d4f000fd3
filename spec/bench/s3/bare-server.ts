// What S3 is held against: node's own HTTP server, which gives a file as a stream, and takes one by writing, hashing and fsyncing it, and renames it to
// its place. It knows nobody, and keeps nothing beside the files.
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';

const folder = process.argv[2] ?? '';

async function get(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const file = join(folder, basename(request.url ?? ''));
  const { size } = await stat(file);
  response.writeHead(200, { 'content-type': 'application/octet-stream', 'content-length': size });
  createReadStream(file).pipe(response);
}

async function put(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const hash = createHash('md5');
  const temporary = join(folder, randomBytes(16).toString('hex'));
  const handle = await open(temporary, 'wx');
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      hash.update(chunk);
      await handle.write(chunk);
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, join(folder, basename(request.url ?? '')));
  response.writeHead(200, { etag: `"${hash.digest('hex')}"`, 'content-length': 0 }).end();
}

const server = createServer((request, response) => {
  const answer = request.method === 'PUT' ? put : get;
  answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
});
server.listen(0, '127.0.0.1', () => process.send?.((server.address() as AddressInfo).port));
process.once('disconnect', () => process.exit(0));
