// Listens: limits on connections, headers and time, so that a slow or hostile client holds little; and a close that lets requests in
// hand finish.
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { SetupError } from '../../lib/errors.ts';
import { newRequestId } from '../../lib/ids.ts';
import { createEc2App, type AppOptions } from './app.ts';
import { createWebServer } from './web-server.ts';

export interface Ec2ServerOptions extends AppOptions {
  /** Default 1000. */
  readonly connectionsMax?: number;
}

export interface Ec2Server {
  /** Resolves with the port, which is the one asked for unless that was 0. */
  listen(host: string, port: number): Promise<{ port: number }>;
  /** No new connections; requests in hand may finish until the deadline, then they are cut. Safe to call twice. */
  close(deadlineMs?: number): Promise<void>;
}

const closeDeadlineMsDefault = 5_000;

/** A DescribeInstances by GET with a thousand ids is 40 KiB of request line. */
const headerBytesMax = 96 * 1024;

const httpOptions = {
  maxHeaderSize: headerBytesMax,
  headersTimeout: 15_000,
  requestTimeout: 60_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
} as const;

export function createEc2Server(options: Ec2ServerOptions): Ec2Server {
  const handler = createEc2App(options).callback();
  const server = createWebServer(
    { tls: options.tls, clock: options.clock, http: httpOptions },
    (request, response) => {
      // While closing, a connection that was kept alive must not outlive its last answer.
      response.once('close', () => {
        if (!server.listening) setImmediate(() => server.closeIdleConnections());
      });
      void handler(request, response);
    },
  );
  server.maxConnections = options.connectionsMax ?? 1000;
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuseConnection(error, socket, options));
  let closing: Promise<void> | undefined;
  return {
    listen: (host, port) => listen(server, host, port),
    close: (deadlineMs = closeDeadlineMsDefault) => (closing ??= closeGently(server, deadlineMs, options)),
  };
}

function listen(server: Server, host: string, port: number): Promise<{ port: number }> {
  return new Promise((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException) => reject(listenError(cause, host, port));
    server.once('error', onError);
    server.listen(port, host, () => {
      server.off('error', onError);
      resolve({ port: (server.address() as AddressInfo).port });
    });
  });
}

function listenError(cause: NodeJS.ErrnoException, host: string, port: number): Error {
  const remedies: Readonly<Record<string, string>> = {
    EADDRINUSE: 'Stop what listens there, or choose another port with NOVACT_API_PORT.',
    EACCES: 'Choose a port above 1023 with NOVACT_API_PORT, or start as root.',
    EADDRNOTAVAIL: 'Set NOVACT_BIND to an address of this machine.',
  };
  return new SetupError(
    `The EC2 API cannot listen on ${host}:${port}: ${cause.code ?? cause.message}`, remedies[cause.code ?? ''] ?? 'See the message.', { cause },
  );
}

const refusalStatus: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** What is no HTTP, or too much of it, gets XML all the same. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket, options: Ec2ServerOptions): void {
  const isHandshake = /^ERR_(SSL|TLS)/.test(error.code ?? '');
  if (error.code === 'ECONNRESET' || isHandshake || !socket.writable) {
    socket.destroy();
    return;
  }
  const requestId = newRequestId();
  const status = refusalStatus[error.code ?? ''] ?? '400 Bad Request';
  const body = '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>InvalidRequest</Code>'
    + `<Message>The request is not valid HTTP, too long or too slow.</Message></Error></Errors><RequestID>${requestId}</RequestID></Response>`;
  options.log.info({ requestId, status, reason: error.code, client: socket.remoteAddress }, 'connection refused');
  socket.end(`HTTP/1.1 ${status}\r\ncontent-type: text/xml;charset=UTF-8\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** Connections that the kernel has taken and we have not would be reset by a close: after a quick turn of the loop there are none. */
export async function acceptWaiting(): Promise<void> {
  for (let turn = 0; turn < 2; turn += 1) await new Promise<void>((resolve) => void setImmediate(resolve));
}

async function closeGently(server: Server, deadlineMs: number, options: Ec2ServerOptions): Promise<void> {
  if (!server.listening) return;
  await acceptWaiting();
  return new Promise((resolve) => {
    const timer = options.clock.after(deadlineMs, () => server.closeAllConnections());
    server.close(() => {
      timer.cancel();
      resolve();
    });
    server.closeIdleConnections();
  });
}
