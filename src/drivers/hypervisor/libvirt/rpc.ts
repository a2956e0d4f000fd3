// One connection to a libvirt daemon: packets over its unix socket, calls with deadlines, events, console streams and keep-alive.
// It ends once and for all with its socket; `session.ts` opens the next one.
import { createConnection, type Socket } from 'node:net';
import type { Clock, Timer } from '../../../lib/clock.ts';
import { DriverError, messageOf, type DriverErrorKind } from '../../../lib/errors.ts';
import {
  authList, authNone, connectClose, connectOpen, eventKinds, libvirtCodes, openConsole, openConsoleNumber, type Procedure,
} from './procedures.ts';
import { XdrReader, type DomainHandle } from './xdr.ts';

export interface ConnectOptions {
  readonly socket: string;
  /** As libvirtd knows it: `qemu:///system`. */
  readonly uri: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly keepAlive?: KeepAlive;
  /** Called for each event, in order. */
  readonly onEvent: (event: RpcEvent) => void;
  /** Called once, after every pending call has failed. */
  readonly onClose: (error: DriverError) => void;
}

/** A ping every `intervalMs` of silence; after `pingsMax` unanswered ones the connection counts as dead. */
export interface KeepAlive {
  readonly intervalMs: number;
  readonly pingsMax: number;
}

export interface RpcEvent {
  readonly kind: keyof typeof eventKinds;
  readonly domain: DomainHandle;
  /** Of a lifecycle event: one of `lifecycleChanges`, or another. */
  readonly change: number | undefined;
}

/** What libvirt answered, with its own number for it. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** The connection ended before the answer came: whether the call was carried out is not known. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost';
}

interface Waiting {
  settle(packet: { status: number; reader: XdrReader } | Error): void;
}

const programs = { remote: 0x2000_8086, qemu: 0x2000_8087, keepAlive: 0x6b65_6570 } as const;
const protocolVersion = 1;
const types = { call: 0, reply: 1, message: 2, stream: 3 } as const;
const statuses = { ok: 0, error: 1, continue: 2 } as const;
const pings = { ping: 1, pong: 2 } as const;
const headerBytes = 28;

/** libvirt's own limit (VIR_NET_MESSAGE_MAX). */
export const packetBytesMax = 32 * 1024 * 1024 + 4;

/** libvirtd works on five calls of one client at a time and then stops reading, pings included. One place stays free for those. */
const callsAtOnceMax = 4;
const callsQueuedMax = 10_000;

const keepAliveDefault: KeepAlive = { intervalMs: 5_000, pingsMax: 3 };

/** Connects, authenticates and opens the URI, all within the deadline. */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const until = options.clock.now() + options.timeoutMs;
  const socket = await openSocket(options);
  const connection = new Connection(socket, options);
  const left = () => Math.max(1, until - options.clock.now());
  try {
    const ways = await connection.call(authList(), left());
    if (!ways.includes(authNone)) {
      throw new DriverError('unsupported', `libvirtd at ${options.socket} asks for a password: set auth_unix_rw = "none" in libvirtd.conf`);
    }
    await connection.call(connectOpen(options.uri), left());
    return connection;
  } catch (error) {
    connection.end(messageOf(error));
    throw error;
  }
}

function openSocket(options: ConnectOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(options.socket);
    const fail = (cause: unknown) => {
      timer.cancel();
      socket.destroy();
      reject(cause);
    };
    const timer = options.clock.after(options.timeoutMs, () => fail(new ConnectionLost(`no connection after ${options.timeoutMs} ms`)));
    socket.once('error', fail);
    socket.once('connect', () => {
      timer.cancel();
      socket.off('error', fail);
      resolve(socket);
    });
  });
}

export class Connection {
  readonly #socket: Socket;
  readonly #options: ConnectOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #queued: (() => void)[] = [];
  readonly #streams = new Map<number, (bytes: Buffer | undefined) => void>();
  #chunks: Buffer[] = [];
  #buffered = 0;
  #serial = 0;
  #atWork = 0;
  #overdue = 0;
  #unanswered = 0;
  #keepAliveTimer: Timer | undefined;
  #closed: DriverError | undefined;

  constructor(socket: Socket, options: ConnectOptions) {
    this.#socket = socket;
    this.#options = options;
    socket.on('data', (chunk) => this.#receive(chunk));
    socket.on('error', (error) => this.#close(error.message));
    socket.on('close', () => this.#close('libvirtd closed the connection'));
    this.#watch();
  }

  /** Fails with LibvirtError, ConnectionLost, or DriverError `timeout` or `busy`. A late answer is dropped. */
  call<Answer>(procedure: Procedure<Answer>, timeoutMs: number): Promise<Answer> {
    return this.#call(procedure, timeoutMs);
  }

  /**
   * Reads a domain's console until it ends (then once `undefined`) or the connection does. There is one reader for each console.
   * The stream's packets carry the call's own serial number, so the reader is there before the first of them.
   */
  readConsole(domain: DomainHandle, timeoutMs: number, onData: (bytes: Buffer | undefined) => void): Promise<void> {
    return this.#call(openConsole(domain), timeoutMs, onData);
  }

  /** A polite end: tells libvirtd, and waits a moment for its answer. */
  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    await this.call(connectClose(), 1_000).catch(() => undefined); // it is going away in any case
    this.end('closed');
  }

  /** Safe to call twice. */
  end(reason: string): void {
    this.#close(reason);
  }

  #call<Answer>(procedure: Procedure<Answer>, timeoutMs: number, onStream?: (bytes: Buffer | undefined) => void): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (this.#closed !== undefined) return reject(new ConnectionLost(this.#closed.message));
      if (this.#queued.length >= callsQueuedMax) return reject(new DriverError('busy', `libvirtd has ${callsQueuedMax} calls waiting`));
      const state = { done: false, sent: false };
      const timer = this.#options.clock.after(timeoutMs, () => {
        state.done = true;
        if (state.sent) this.#late();
        reject(new DriverError('timeout', `libvirtd: ${procedure.name}: no answer after ${timeoutMs} ms`));
      });
      const settle: Waiting['settle'] = (outcome) => {
        timer.cancel();
        if (state.sent) this.#release(state.done);
        if (state.done) return;
        state.done = true;
        try {
          resolve(answerOf(procedure, outcome));
        } catch (error) {
          reject(error);
        }
      };
      this.#queued.push(() => {
        if (state.done) return;
        if (this.#closed !== undefined) return settle(new ConnectionLost(this.#closed.message));
        state.sent = true;
        this.#atWork += 1;
        const serial = (this.#serial += 1);
        this.#waiting.set(serial, { settle });
        if (onStream !== undefined) this.#streams.set(serial, onStream);
        this.#send(programs[procedure.program], procedure.number, types.call, serial, procedure.body);
      });
      this.#next();
    });
  }

  #next(): void {
    while (this.#atWork < callsAtOnceMax || this.#closed !== undefined) {
      const start = this.#queued.shift();
      if (start === undefined) return;
      start();
    }
  }

  #release(wasLate: boolean): void {
    this.#atWork -= 1;
    if (wasLate) this.#overdue -= 1;
    this.#next();
  }

  /** libvirtd still works on what nobody waits for. When that fills every place, only a new connection helps. */
  #late(): void {
    this.#overdue += 1;
    if (this.#overdue >= callsAtOnceMax) this.#close(`${this.#overdue} calls have had no answer in time`);
  }

  #send(program: number, number: number, type: number, serial: number, body: Buffer): void {
    const header = Buffer.alloc(headerBytes);
    [headerBytes + body.length, program, protocolVersion, number, type, serial, statuses.ok].forEach((word, index) => header.writeUInt32BE(word, index * 4));
    this.#socket.write(body.length === 0 ? header : Buffer.concat([header, body]));
  }

  #receive(chunk: Buffer): void {
    this.#unanswered = 0;
    this.#chunks.push(chunk);
    this.#buffered += chunk.length;
    try {
      for (let packet = this.#packet(); packet !== undefined; packet = this.#packet()) this.#accept(new XdrReader(packet));
    } catch (error) {
      this.#close(messageOf(error));
    }
  }

  /** The next whole packet without its length word. Chunks are joined once for each packet, not once for each chunk. */
  #packet(): Buffer | undefined {
    const first = this.#chunks[0];
    if (this.#closed !== undefined || first === undefined || this.#buffered < 4) return undefined;
    if (first.length < 4) this.#chunks = [Buffer.concat(this.#chunks)];
    const length = (this.#chunks[0] ?? first).readUInt32BE();
    if (length < headerBytes || length > packetBytesMax) throw new Error(`libvirtd sent a packet of ${length} bytes`);
    if (this.#buffered < length) return undefined;
    const all = this.#chunks.length === 1 ? (this.#chunks[0] ?? first) : Buffer.concat(this.#chunks);
    this.#buffered -= length;
    this.#chunks = this.#buffered === 0 ? [] : [all.subarray(length)];
    return all.subarray(4, length);
  }

  #accept(reader: XdrReader): void {
    const program = reader.uint();
    reader.uint();
    const [number, type, serial, status] = [reader.uint(), reader.uint(), reader.uint(), reader.uint()];
    if (program === programs.keepAlive) {
      if (number === pings.ping) this.#send(programs.keepAlive, pings.pong, types.message, 0, Buffer.alloc(0));
      return;
    }
    if (program !== programs.remote && program !== programs.qemu) return;
    if (type === types.reply) this.#answer(serial, status, reader);
    else if (type === types.message) this.#event(number, reader);
    else if (type === types.stream && number === openConsoleNumber) this.#stream(serial, status, reader);
  }

  #answer(serial: number, status: number, reader: XdrReader): void {
    const waiting = this.#waiting.get(serial);
    this.#waiting.delete(serial);
    if (status === statuses.error) this.#streams.delete(serial);
    waiting?.settle({ status, reader });
  }

  #event(number: number, reader: XdrReader): void {
    const kind = kindOfMessage.get(number);
    if (kind === undefined) return;
    reader.int(); // The callback's number: we register once for each kind.
    this.#options.onEvent({ kind, domain: reader.domain(), change: kind === 'lifecycle' ? reader.int() : undefined });
  }

  #stream(serial: number, status: number, reader: XdrReader): void {
    const onData = this.#streams.get(serial);
    if (status === statuses.continue && reader.rest().length > 0) return onData?.(reader.rest());
    this.#streams.delete(serial);
    onData?.(undefined);
    if (status === statuses.continue) this.#send(programs.remote, openConsoleNumber, types.stream, serial, Buffer.alloc(0));
  }

  #watch(): void {
    const { intervalMs, pingsMax } = this.#options.keepAlive ?? keepAliveDefault;
    this.#keepAliveTimer = this.#options.clock.after(
      intervalMs,
      () => {
        if (this.#closed !== undefined) return;
        if (this.#unanswered >= pingsMax) return this.#close(`libvirtd was silent for ${intervalMs * (pingsMax + 1)} ms`);
        this.#unanswered += 1;
        this.#send(programs.keepAlive, pings.ping, types.message, 0, Buffer.alloc(0));
        this.#watch();
      },
      { unref: true },
    );
  }

  #close(reason: string): void {
    if (this.#closed !== undefined) return;
    this.#closed = new DriverError('failed', reason);
    this.#keepAliveTimer?.cancel();
    this.#socket.destroy();
    this.#chunks = [];
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const call of waiting) call.settle(new ConnectionLost(reason));
    this.#next();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const onData of streams) onData(undefined);
    this.#options.onClose(this.#closed);
  }
}

const kindOfMessage = new Map(Object.entries(eventKinds).map(([kind, { message }]) => [message as number, kind as RpcEvent['kind']]));

function answerOf<Answer>(procedure: Procedure<Answer>, outcome: Parameters<Waiting['settle']>[0]): Answer {
  if (outcome instanceof Error) throw outcome;
  if (outcome.status !== statuses.error) return procedure.read(outcome.reader);
  const code = outcome.reader.int();
  outcome.reader.int(); // The part of libvirt that it comes from.
  throw new LibvirtError(code, outcome.reader.optionalText() ?? `error ${code}`);
}

const kindOfCode = new Map<number, DriverErrorKind>([
  [libvirtCodes.noDomain, 'notFound'],
  [libvirtCodes.noSupport, 'unsupported'],
  [libvirtCodes.configUnsupported, 'unsupported'],
  [libvirtCodes.argumentUnsupported, 'unsupported'],
  [libvirtCodes.operationUnsupported, 'unsupported'],
  [libvirtCodes.operationInvalid, 'busy'],
  [libvirtCodes.resourceBusy, 'busy'],
  [libvirtCodes.operationTimeout, 'timeout'],
]);

/** libvirt's refusal as a DriverError that says what was attempted; anything else as it is. */
export function toDriverError(attempted: string, error: unknown): unknown {
  if (!(error instanceof LibvirtError)) return error;
  return new DriverError(kindOfCode.get(error.code) ?? 'failed', `${attempted}: libvirt: ${error.message}`, { cause: error });
}
