// A connection to PostgreSQL that does not hang: when what was written is not answered for too long (a machine that vanished, a server that was
// stopped), it is cut, and whoever waits gets an error. An idle connection is left alone, and so is one that holds a lock in silence.
import { createConnection, type Socket } from 'node:net';

export interface SocketTarget {
  readonly path?: string | false;
  readonly host: readonly string[];
  readonly port: readonly number[];
}

export function watchedSocket({ path, host, port }: SocketTarget, answerMsMax: number): Socket {
  const timeout = answerMsMax;
  // A statement that follows another on its heels is not to wait until the server has acknowledged the first.
  const noDelay = true;
  const socket = path === undefined || path === false
    ? createConnection({ host: host[0] ?? 'localhost', port: port[0] ?? 5432, timeout, noDelay })
    : createConnection({ path, timeout });
  let answered = 0;
  socket.on('data', () => {
    answered = socket.bytesWritten;
  });
  // Fires after silence in both directions, once until there is traffic again.
  socket.on('timeout', () => {
    if (socket.bytesWritten > answered) socket.destroy(Object.assign(new Error(`the database did not answer within ${answerMsMax} ms`), { code: 'ETIMEDOUT' }));
  });
  return socket;
}
