// Many requests of one kind over a few connections, by sockets and no HTTP client: the cores are shared with what is measured, and what the client
// takes of them is not to be what is measured.
import { connect, type Socket } from 'node:net';

/** As it goes over the wire. */
export interface WireRequest {
  readonly head: Buffer;
  readonly body?: Body | undefined;
}

/** A piece, and how often it is sent. */
export interface Body {
  readonly piece: Buffer;
  readonly times: number;
}

export interface Load {
  readonly port: number;
  readonly connections: number;
  readonly requests: number;
  readonly request: (number: number) => WireRequest;
}

/** How long all of them took, in ms. Rejects at the first answer that is not 200. */
export async function apply(load: Load): Promise<number> {
  const connections = await Promise.all(Array.from({ length: load.connections }, () => Connection.open(load.port)));
  const startedAt = performance.now();
  let next = 0;
  const work = async (connection: Connection) => {
    while (next < load.requests) await connection.ask(load.request(next++));
  };
  try {
    await Promise.all(connections.map(work));
    return performance.now() - startedAt;
  } finally {
    for (const connection of connections) connection.close();
  }
}

const endOfHead = '\r\n\r\n';
const ignore = (): void => undefined;

/** One request at a time. What is read is counted and thrown away. */
export class Connection {
  readonly #socket: Socket;
  #early = Buffer.alloc(0);
  /** Of the answer's body; undefined before its head has come. */
  #missing: number | undefined;
  #done: (error?: Error) => void = ignore;

  private constructor(port: number) {
    const buffer = Buffer.alloc(1024 * 1024);
    const take = (length: number): boolean => {
      this.#take(buffer.subarray(0, length));
      return true;
    };
    this.#socket = connect({ port, host: '127.0.0.1', noDelay: true, onread: { buffer, callback: take } });
    this.#socket.on('error', (error) => this.#done(error)).on('close', () => this.#done(new Error('the connection was closed')));
  }

  static open(port: number): Promise<Connection> {
    const connection = new Connection(port);
    return new Promise((resolve, reject) => {
      connection.#done = (error) => reject(error);
      connection.#socket.once('connect', () => resolve(connection));
    });
  }

  close(): void {
    this.#done = ignore;
    this.#socket.destroy();
  }

  ask({ head, body }: WireRequest): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#early = Buffer.alloc(0);
      this.#missing = undefined;
      this.#done = (error) => {
        this.#done = ignore;
        if (error === undefined) resolve();
        else reject(error);
      };
      if (body?.times === 1 && body.piece.length <= 65_536) this.#socket.write(Buffer.concat([head, body.piece]));
      else this.#send(head, body);
    });
  }

  #send(head: Buffer, body: Body | undefined): void {
    this.#socket.write(head);
    let sent = 0;
    const more = () => {
      while (sent < (body?.times ?? 0)) {
        sent += 1;
        if (!this.#socket.write(body?.piece ?? head)) return void this.#socket.once('drain', more);
      }
    };
    more();
  }

  #take(bytes: Buffer): void {
    if (this.#missing === undefined) this.#takeHead(bytes);
    else this.#missing -= bytes.length;
    if (this.#missing === 0) this.#done();
  }

  #takeHead(bytes: Buffer): void {
    this.#early = Buffer.concat([this.#early, bytes]);
    const at = this.#early.indexOf(endOfHead);
    if (at < 0) return;
    const head = this.#early.toString('latin1', 0, at);
    const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? Number.NaN);
    if (!head.startsWith('HTTP/1.1 200 ') || Number.isNaN(length)) return this.#done(new Error(this.#early.toString('utf8')));
    this.#missing = length - (this.#early.length - at - endOfHead.length);
  }
}
