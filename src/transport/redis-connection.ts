// The data plane's connections to Redis (ioredis): one for writing, on which no command waits longer than its time and none is ever sent
// twice by the client, and connections for blocking reads, each of which is replaced as soon as its read is overdue.
import { Redis, type RedisOptions } from 'ioredis';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { describeRedis, parseRedisUrl, type RedisTarget } from './redis-url.ts';
import { RedisWatchdog } from './redis-watchdog.ts';
import { TransportError } from './transport.ts';

export interface RedisConnectionOptions {
  readonly url: string;
  /** The authority's certificate, PEM. Undefined: those of the system. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly commandTimeoutMs: number;
}

export type Command = readonly [name: string, ...words: (string | number)[]];
/** The answer to a command of a batch, or the error. */
export type Reply = { readonly value: unknown } | { readonly error: Error };

type Settings = Omit<RedisOptions, 'replyMapping'>;

const reconnectMsMax = 1000;
const connectTimeoutMs = 3000;
const timedOut = 'Command timed out';
const logPauseMs = 10_000;

/**
 * What both kinds share. `autoResendUnfulfilledCommands` would repeat what may have been stored; without `maxRetriesPerRequest: 0` commands in
 * flight would then hang for ever. The answers of RESP2 have one shape on every server.
 */
function settingsOf(target: RedisTarget, { ca, commandTimeoutMs }: RedisConnectionOptions, more: Settings): Settings {
  const [node] = target.nodes;
  const tls = target.tls ? { tls: ca === undefined ? {} : { ca } } : {};
  const where: Settings = target.sentinelName === undefined
    ? { ...(target.socketPath === undefined ? { host: node?.host ?? '127.0.0.1', port: node?.port ?? 6379 } : { path: target.socketPath }), ...tls }
    : {
      sentinels: target.nodes.map(({ host, port }) => ({ host, port })), name: target.sentinelName,
      ...(target.sentinelUsername === undefined ? {} : { sentinelUsername: target.sentinelUsername }),
      ...(target.sentinelPassword === undefined ? {} : { sentinelPassword: target.sentinelPassword }),
      // Of a sentinel that is frozen no more is waited for than leaves time to ask the others.
      sentinelCommandTimeout: commandTimeoutMs / 4,
      ...tls, ...(target.tls ? { enableTLSForSentinelMode: true, sentinelTLS: tls.tls ?? {} } : {}),
    };
  return {
    ...where, db: target.database, protocol: 2, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0, connectTimeout: connectTimeoutMs,
    disableClientInfo: true, lazyConnect: true,
    ...(target.username === undefined ? {} : { username: target.username }), ...(target.password === undefined ? {} : { password: target.password }),
    ...more,
  };
}

/** Without a listener an error event would end the process. Repeated ones are told now and then. Never the command: it may carry secrets. */
function errorListener(target: RedisTarget, { clock, log }: RedisConnectionOptions): (error: unknown) => void {
  let saidAt = -Infinity;
  return (error) => {
    if (clock.now() - saidAt < logPauseMs) return;
    saidAt = clock.now();
    log.warn({ redis: describeRedis(target), error: messageOf(error) }, 'Redis is not reached');
  };
}

/** Sends commands. All errors are TransportErrors `unavailable`: the command may have been performed all the same. */
export class RedisWriter {
  readonly #redis: Redis;
  readonly #options: RedisConnectionOptions;
  readonly #watchdog: RedisWatchdog;
  /** What becomes of a command that is not answered, or refused. */
  readonly #ends = { late: () => this.#refusal(new Error(timedOut)), refused: (error: unknown) => this.#refusal(error) };
  #renewedAt = 0;
  #isClosed = false;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#watchdog = new RedisWatchdog(options.clock);
    const target = parseRedisUrl(options.url);
    const retryStrategy = (times: number): number => Math.min(25 * 2 ** Math.min(times, 10), reconnectMsMax);
    this.#redis = new Redis(settingsOf(target, options, {
      retryStrategy, sentinelRetryStrategy: retryStrategy,
      // The server of before a fail-over came back as a replica: the sentinels know the new one.
      reconnectOnError: (error) => error.message.startsWith('READONLY'),
    }));
    this.#redis.on('error', errorListener(target, options));
    // It tries again until it is closed, but for one case: told to begin anew while it asks the sentinels, it ends.
    this.#redis.on('end', () => void options.clock.after(reconnectMsMax, () => this.#connect(), { unref: true }));
    this.#connect();
  }

  command(...[name, ...words]: Command): Promise<unknown> {
    return this.#watchdog.guard(this.#redis.call(name, ...words), this.#options.commandTimeoutMs, this.#ends);
  }

  /** In one write. Each command has its own answer. */
  async batch(commands: readonly Command[]): Promise<readonly Reply[]> {
    if (commands.length === 0) return [];
    const work = this.#redis.pipeline(commands.map((command) => [...command])).exec();
    const results = await this.#watchdog.guard(work, this.#options.commandTimeoutMs, this.#ends);
    return (results ?? []).map(([error, value]) => (error === null ? { value } : { error: this.#refusal(error) }));
  }

  close(): void {
    this.#isClosed = true;
    this.#redis.disconnect();
  }

  #connect(): void {
    if (!this.#isClosed) this.#redis.connect().catch(() => undefined); // told to the error listener
  }

  /** A server that is frozen, or gone without a word, keeps its connections: after a time-out a new one is made. */
  #refusal(error: unknown): TransportError {
    const text = messageOf(error);
    const { clock, commandTimeoutMs } = this.#options;
    if (text === timedOut && clock.now() - this.#renewedAt > commandTimeoutMs) {
      this.#renewedAt = clock.now();
      this.#redis.disconnect(true);
    }
    return new TransportError('unavailable', text);
  }
}

/** The values of a batch; throws the first error of it. */
export function valuesOf(replies: readonly Reply[]): readonly unknown[] {
  return replies.map((reply) => {
    if ('error' in reply) throw reply.error;
    return reply.value;
  });
}

const onceOnly: Settings = { retryStrategy: () => null, sentinelRetryStrategy: () => null };

/** A connection that waits for entries. It never reconnects by itself: whoever reads must know that a read was lost. */
export class RedisBlockingConnection {
  readonly #options: RedisConnectionOptions;
  readonly #onError: (error: unknown) => void;
  readonly #target: RedisTarget;
  readonly #watchdog: RedisWatchdog;
  #redis: Redis | undefined;
  #clientId: number | undefined;
  #reading = false;
  #closed = false;

  constructor(options: RedisConnectionOptions) {
    this.#options = options;
    this.#target = parseRedisUrl(options.url);
    this.#onError = errorListener(this.#target, options);
    this.#watchdog = new RedisWatchdog(options.clock);
  }

  /** Rejects when the answer is overdue, and whenever the connection was lost; the next call has a new one. */
  async read(command: Command, blockMs: number): Promise<unknown> {
    if (this.#closed) throw new TransportError('closed', 'the connection is closed');
    const redis = this.#redis ?? new Redis(settingsOf(this.#target, this.#options, onceOnly));
    try {
      if (this.#redis === undefined) {
        this.#redis = redis;
        redis.on('error', this.#onError);
        this.#clientId = Number(await this.#within(this.#options.commandTimeoutMs, redis.connect().then(() => redis.client('ID'))));
      }
      this.#reading = true;
      const [name, ...words] = command;
      return await this.#within(blockMs + this.#options.commandTimeoutMs / 2, redis.call(name, ...words));
    } catch (error) {
      // An error that the server wrote leaves the connection as it was.
      if (!(error instanceof Error && error.name === 'ReplyError')) this.#drop();
      throw error;
    } finally {
      this.#reading = false;
    }
  }

  /** Ends a read that waits, as if its time were over: what has arrived is not lost by it. */
  async unblock(writer: RedisWriter): Promise<void> {
    if (this.#reading && this.#clientId !== undefined) await writer.command('CLIENT', 'UNBLOCK', this.#clientId);
  }

  close(): void {
    this.#closed = true;
    this.#drop();
  }

  #drop(): void {
    this.#redis?.disconnect();
    this.#redis = undefined;
    this.#clientId = undefined;
  }

  #within<T>(timeoutMs: number, work: Promise<T>): Promise<T> {
    const late = (): Error => new TransportError('unavailable', `nothing was heard of Redis for ${timeoutMs} ms`);
    return this.#watchdog.guard(work, timeoutMs, { late, refused: (error) => error });
  }
}
