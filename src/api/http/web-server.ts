// The HTTP server below EC2 and S3: plain, or with TLS. With TLS the first byte of a connection tells which of the two a client speaks, so that
// one that speaks plain HTTP there is answered in words it understands. Its certificate can be replaced while connections go on.
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { Socket } from 'node:net';
import type { TlsOptions } from 'node:tls';
import type { Clock } from '../../lib/clock.ts';

/** What a server proves itself by, in PEM: its key, and its certificate with those above it, but for the one that clients have. */
export interface Identity {
  readonly key: string;
  readonly certificate: string;
}

export interface Tls {
  /** Requests without TLS at the same port. */
  readonly plain: 'served' | 'refused';
  /** Of this moment. */
  readonly identity: () => Identity;
  readonly onRenewed: (listener: (identity: Identity) => void) => void;
}

/** A handshake, and before it the first byte. */
const handshakeMsMax = 15_000;
/** What begins a handshake; nothing in HTTP begins with it. */
const handshakeByte = 0x16;

const secured = ({ key, certificate }: Identity): TlsOptions => ({ key, cert: certificate, minVersion: 'TLSv1.2' });

export interface WebServerOptions {
  readonly http: ServerOptions;
  readonly tls: Tls | undefined;
  readonly clock: Clock;
}

export function createWebServer({ http, tls, clock }: WebServerOptions, handle: RequestListener): Server {
  if (tls === undefined) return createServer(http, handle);
  const server = createSecureServer({ ...http, ...secured(tls.identity()), handshakeTimeout: handshakeMsMax }, handle);
  tls.onRenewed((identity) => server.setSecureContext(secured(identity)));
  return takeBoth(server, clock);
}

export const isSecure = ({ socket }: IncomingMessage): boolean => 'encrypted' in socket;

/** Why a request must not be answered; undefined: it may be. */
export const plainRefusal = (request: IncomingMessage, tls: Tls | undefined): string | undefined =>
  (tls?.plain === 'refused' && !isSecure(request) ? 'This endpoint speaks TLS only: its URL begins with https.' : undefined);

/** What node does with a connection that is secured, it does with a plain one as well: limits of time and number, and the end, are the same. */
function takeBoth(server: Server, clock: Clock): Server {
  const [takeSecure] = server.listeners('connection') as ((this: Server, socket: Socket) => void)[];
  const silent = new Set<Socket>();
  const all = new Set<Socket>();
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    const late = clock.after(handshakeMsMax, () => socket.destroy());
    all.add(socket);
    silent.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => {
      late.cancel();
      for (const set of [all, silent]) set.delete(socket);
    });
    socket.once('readable', () => {
      late.cancel();
      silent.delete(socket);
      const first = socket.read(1) as Buffer | null;
      if (first === null) return void socket.destroy();
      socket.unshift(first);
      if (first[0] === handshakeByte) takeSecure?.call(server, socket);
      else server.emit('secureConnection', socket);
    });
  });
  const [closeIdle, closeAll] = [server.closeIdleConnections.bind(server), server.closeAllConnections.bind(server)];
  return Object.assign(server, {
    closeIdleConnections() {
      for (const socket of silent) socket.destroy();
      closeIdle();
    },
    closeAllConnections() {
      closeAll();
      for (const socket of all) socket.destroy();
    },
  });
}
