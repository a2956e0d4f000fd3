// Reads the mailboxes of a process over one blocking connection: all the owned ones together, each shared one over its own. The loop never
// ends by an error; after each it looks first for what was delivered to a connection that is lost.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { backOffMs } from '../lib/retry.ts';
import type { RedisBlockingConnection, RedisWriter } from './redis-connection.ts';
import { afterThisTurn, readOf } from './redis-entries.ts';
import type { RedisInbox } from './redis-inbox.ts';
import { group } from './redis-keys.ts';
import type { RedisMaxima } from './redis-maxima.ts';

export interface ReaderOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: RedisWriter;
  readonly connection: RedisBlockingConnection;
  readonly maxima: RedisMaxima;
  readonly consumer: string;
}

interface Read {
  readonly inboxes: readonly RedisInbox[];
  readonly count: number;
  readonly reply: Promise<unknown>;
}

/** In one read, if they are spread over the streams; of one stream `countMin` at least. */
const countMax = 256;
const countMin = 64;
/** Streams in one read: Redis looks at each of them. */
const streamsMax = 1000;

export class RedisReader {
  readonly #options: ReaderOptions;
  readonly #inboxes = new Map<string, RedisInbox>();
  #reading: ReadonlySet<RedisInbox> = new Set();
  /** Is on its way while the one before it is handled. */
  #ahead: Read | undefined;
  #wake: (() => void) | undefined;
  #heardAt: number;
  #failures = 0;
  #turn = 0;
  #isClosed = false;
  #isRunning = false;

  constructor(options: ReaderOptions) {
    this.#options = options;
    this.#heardAt = options.clock.now();
  }

  /** Since Redis last answered a read; 0 while there is nothing to read. */
  get lagMs(): number {
    return this.#reading.size === 0 && this.#failures === 0 ? 0 : Math.max(0, this.#options.clock.now() - this.#heardAt);
  }

  add(inbox: RedisInbox): void {
    this.#inboxes.set(inbox.keys.stream, inbox);
    inbox.onRoom = () => this.#changed(inbox);
    this.#changed(inbox);
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  /** Resolves when nothing more of it can come. */
  async remove(inbox: RedisInbox): Promise<void> {
    inbox.stopTaking();
    this.#inboxes.delete(inbox.keys.stream);
    while (this.#reading.has(inbox) && !this.#isClosed) {
      this.#interrupt();
      await this.#options.clock.sleep(10);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#options.connection.close();
    this.#wake?.();
  }

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      const all = [...this.#inboxes.values()];
      this.#reading = new Set(this.#ahead?.inboxes ?? this.#next(all));
      try {
        if (this.#reading.size === 0) await this.#untilWoken();
        else await this.#read([...this.#reading]);
        this.#failures = 0;
      } catch (error) {
        await this.#failed(error);
      }
    }
    this.#reading = new Set();
  }

  /** Those with room, in turn when they are more than one read takes. */
  #next(all: readonly RedisInbox[]): readonly RedisInbox[] {
    const open = all.filter(({ room }) => room > 0);
    if (open.length <= streamsMax) return open;
    const first = (this.#turn * streamsMax) % open.length;
    this.#turn += 1;
    return [...open.slice(first, first + streamsMax), ...open.slice(0, Math.max(0, first + streamsMax - open.length))];
  }

  async #read(inboxes: readonly RedisInbox[]): Promise<void> {
    const read = this.#ahead ?? await this.#begin(inboxes);
    this.#ahead = undefined;
    if (read === undefined) return;
    const reply = readOf(await read.reply);
    this.#heardAt = this.#options.clock.now();
    const byStream = new Map(read.inboxes.map((inbox) => [inbox.keys.stream, inbox]));
    const taken = reply.flatMap(([stream, entries]) => {
      const inbox = byStream.get(stream);
      return inbox === undefined ? [] : [{ inbox, entries }];
    });
    // A full read: there is more, which Redis looks for while this is handled.
    const full = taken.filter(({ inbox, entries }) => entries.length === read.count && inbox.mayReadAhead && inbox.room >= 2 * read.count);
    if (full.length > 0) this.#ahead = this.#issue(full.map(({ inbox }) => inbox), read.count);
    for (const { inbox, entries } of taken) inbox.take(entries);
    // What a handler answers at once is written before the next read: an asker waits for it.
    if (taken.length > 0 && full.length === 0) await afterThisTurn();
  }

  async #begin(inboxes: readonly RedisInbox[]): Promise<Read | undefined> {
    await Promise.all(inboxes.map((inbox) => inbox.beforeRead()));
    const readable = inboxes.filter(({ room }) => room > 0);
    if (readable.length === 0 || this.#isClosed) return undefined;
    const roomMax = Math.max(...readable.map(({ room }) => room));
    return this.#issue(readable, Math.min(Math.max(countMin, Math.floor(countMax / readable.length)), Math.ceil(roomMax / 2)));
  }

  #issue(inboxes: readonly RedisInbox[], count: number): Read {
    const { connection, consumer, maxima } = this.#options;
    const blockMs = this.#inboxes.size > streamsMax ? 20 : maxima.blockMs;
    const streams = inboxes.map(({ keys }) => keys.stream);
    const words = ['GROUP', group, consumer, 'COUNT', count, 'BLOCK', blockMs, 'STREAMS', ...streams, ...streams.map(() => '>')];
    const reply = connection.read(['XREADGROUP', ...words], blockMs);
    reply.catch(() => undefined); // told to whoever waits for it, later perhaps
    return { inboxes, count, reply };
  }

  async #failed(error: unknown): Promise<void> {
    if (this.#isClosed) return;
    const { log, clock } = this.#options;
    const text = messageOf(error);
    // What was written to a lost connection has been delivered, as far as the server knows.
    for (const inbox of this.#inboxes.values()) inbox.isDirty = true;
    if (/NOGROUP|UNBLOCKED/.test(text)) {
      log.warn({ error: text }, 'the mailboxes were emptied');
      await this.#regroup();
    }
    this.#failures += 1;
    if (this.#failures === 2) log.warn({ error: text }, 'mailboxes cannot be read');
    await clock.sleep(backOffMs(this.#failures, { firstDelayMs: 10, delayMsMax: 1000 }));
  }

  async #regroup(): Promise<void> {
    const { writer, log } = this.#options;
    try {
      await writer.batch(Array.from(this.#inboxes.values(), ({ createGroup }) => createGroup));
    } catch (error) {
      log.debug({ error: messageOf(error) }, 'the groups were not made'); // the next read asks for them again
    }
  }

  #untilWoken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** An inbox that is not in the read that waits is to be in the next. */
  #changed(inbox: RedisInbox): void {
    if (this.#reading.has(inbox) || inbox.room === 0) return;
    if (this.#reading.size === 0) this.#wake?.();
    else this.#interrupt();
  }

  #interrupt(): void {
    const { connection, writer, log } = this.#options;
    connection.unblock(writer).catch((error: unknown) => log.debug({ error: messageOf(error) }, 'a read could not be ended early'));
  }
}
