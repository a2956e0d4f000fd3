// A lasting session with libvirtd over connections that come and go: reconnects for ever, holds calls back while there is no
// connection, and repeats work that a lost connection interrupted. All such work must be repeatable.
import type { Clock, Timer } from '../../../lib/clock.ts';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Log } from '../../../lib/log.ts';
import { backOffMs } from '../../../lib/retry.ts';
import { eventKinds, registerEvent, type Procedure } from './procedures.ts';
import { connect, ConnectionLost, toDriverError, type Connection, type KeepAlive, type RpcEvent } from './rpc.ts';
import { socketOf, type LibvirtUri } from './uri.ts';
import type { DomainHandle } from './xdr.ts';

export interface SessionOptions {
  readonly uri: LibvirtUri;
  readonly log: Log;
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
  readonly keepAlive?: KeepAlive;
  /** Absent: events are not asked for. */
  readonly onEvent?: (event: RpcEvent) => void;
  readonly onConnected: () => void;
  readonly onDisconnected?: (error: DriverError) => void;
}

/** What a piece of work may do with the connection of the moment. Every call gets what is left of the work's deadline. */
export interface Calls {
  call<Answer>(procedure: Procedure<Answer>): Promise<Answer>;
  readConsole(domain: DomainHandle, onData: (bytes: Buffer | undefined) => void): Promise<void>;
}

const backOff = { firstDelayMs: 100, delayMsMax: 5_000 };

export class Session {
  readonly #options: SessionOptions;
  readonly #waiting = new Set<() => void>();
  #connection: Connection | undefined;
  #lastError = 'no try yet';
  #tries = 0;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    void this.#connect();
  }

  /**
   * Does the work on a live connection, again when the connection is lost meanwhile, or when a call has no answer within `callMs` (default: all the
   * time there is): libvirtd may have lost it. Until the deadline; `attempted` begins its errors.
   */
  async run<T>(attempted: string, timeoutMs: number, work: (calls: Calls) => Promise<T>, { callMs = timeoutMs }: { callMs?: number } = {}): Promise<T> {
    const { clock } = this.#options;
    const until = clock.now() + timeoutMs;
    for (;;) {
      const connection = await this.#connected(attempted, until);
      const left = () => Math.max(1, Math.min(callMs, until - clock.now()));
      try {
        return await work({
          call: (procedure) => connection.call(procedure, left()),
          readConsole: (domain, onData) => connection.readConsole(domain, left(), onData),
        });
      } catch (error) {
        const isUnanswered = callMs < timeoutMs && clock.now() < until && error instanceof DriverError && error.kind === 'timeout';
        if (isUnanswered) this.#options.log.warn({ attempted, error: error.message }, 'libvirtd does not answer: will repeat');
        else if (error instanceof ConnectionLost) this.#options.log.debug({ attempted, error: error.message }, 'libvirtd went away: will repeat');
        else throw toDriverError(attempted, error);
      }
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    for (const wake of this.#waiting) wake();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }

  async #connected(attempted: string, until: number): Promise<Connection> {
    for (;;) {
      if (this.#closed) throw new DriverError('failed', `${attempted}: the hypervisor driver is closed`);
      if (this.#connection !== undefined) return this.#connection;
      const left = until - this.#options.clock.now();
      if (left <= 0) throw this.#unreachable(attempted);
      await this.#change(left);
    }
  }

  /** Until the connection or the session changes, or the time is over. */
  #change(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        timer.cancel();
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = this.#options.clock.after(timeoutMs, wake);
      this.#waiting.add(wake);
    });
  }

  #unreachable(attempted: string): DriverError {
    const remedy = 'start it with: systemctl start libvirtd (without systemd: virtlogd -d; libvirtd -d)';
    return new DriverError('timeout', `${attempted}: libvirtd is not reachable at ${socketOf(this.#options.uri)} (${this.#lastError}); ${remedy}`);
  }

  async #connect(): Promise<void> {
    const { uri, clock, connectTimeoutMs, keepAlive, onEvent } = this.#options;
    let connection: Connection | undefined;
    try {
      connection = await connect({
        socket: socketOf(uri), uri: uri.uri, clock, timeoutMs: connectTimeoutMs,
        onEvent: (event) => onEvent?.(event), onClose: (error) => this.#lost(connection, error),
        ...(keepAlive === undefined ? {} : { keepAlive }),
      });
      const kinds = onEvent === undefined ? [] : Object.values(eventKinds);
      for (const kind of kinds) await connection.call(registerEvent(kind.id), connectTimeoutMs);
    } catch (error) {
      this.#lastError = messageOf(error);
      connection?.end(this.#lastError);
      return this.#later();
    }
    if (this.#closed) return connection.end('closed');
    this.#tries = 0;
    this.#connection = connection;
    this.#options.log.info({ socket: socketOf(uri), uri: uri.uri }, 'connected to libvirtd');
    for (const wake of this.#waiting) wake();
    this.#options.onConnected();
  }

  #lost(connection: Connection | undefined, error: DriverError): void {
    if (connection === undefined || this.#connection !== connection) return; // it was never in use: #connect tells of it
    this.#connection = undefined;
    this.#lastError = error.message;
    if (this.#closed) return;
    this.#options.log.warn({ error: error.message }, 'lost libvirtd');
    this.#options.onDisconnected?.(error);
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    this.#tries += 1;
    const delayMs = backOffMs(this.#tries, backOff);
    this.#options.log.debug({ error: this.#lastError, delayMs }, 'libvirtd is not there');
    this.#timer = this.#options.clock.after(delayMs, () => void this.#connect(), { unref: true });
  }
}
