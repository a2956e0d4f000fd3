// The answers to the asks of this process: a stream that lives only as long as it is renewed, so that a process that ended leaves nothing,
// and which nobody creates but the process itself.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { backOffMs } from '../lib/retry.ts';
import { valuesOf, type RedisBlockingConnection, type RedisWriter } from './redis-connection.ts';
import { afterThisTurn, readOf } from './redis-entries.ts';
import { replyKey } from './redis-keys.ts';
import type { RedisMaxima } from './redis-maxima.ts';

export interface RepliesOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: RedisWriter;
  readonly connection: RedisBlockingConnection;
  readonly maxima: RedisMaxima;
  readonly process: string;
  readonly replied: (text: string) => void;
}

const countMax = 256;
/** What was read is trimmed after so many entries. */
const trimAfter = 256;

export class RedisReplies {
  readonly #options: RepliesOptions;
  readonly #key: string;
  #ready: Promise<void> | undefined;
  #isReady = false;
  #isClosed = false;
  #isRunning = false;
  #last = '0';
  #readSinceTrim = 0;
  #keptAt = 0;
  #heardAt = 0;

  constructor(options: RepliesOptions) {
    this.#options = options;
    this.#key = replyKey(options.process);
  }

  get lagMs(): number {
    return this.#isRunning ? Math.max(0, this.#options.clock.now() - this.#heardAt) : 0;
  }

  /** Undefined: answers can be received. The first ask of a process makes it so. */
  ready(): Promise<void> | undefined {
    if (this.#isReady) return undefined;
    this.#ready ??= this.#create().finally(() => {
      this.#ready = undefined;
    });
    return this.#ready;
  }

  close(): void {
    this.#isClosed = true;
    this.#options.connection.close();
  }

  async remove(): Promise<void> {
    if (this.#isReady) await this.#options.writer.command('DEL', this.#key);
  }

  async #create(): Promise<void> {
    const { writer, maxima, clock } = this.#options;
    const [id] = valuesOf(await writer.batch([['xadd', this.#key, '*', 'opened', '1'], ['pexpire', this.#key, maxima.replyTtlMs]]));
    this.#last = String(id);
    this.#keptAt = clock.now();
    this.#heardAt = clock.now();
    this.#isReady = true;
    if (this.#isRunning) return;
    this.#isRunning = true;
    void this.#run();
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#options;
    for (let failures = 0; !this.#isClosed;) {
      try {
        await this.#read();
        failures = 0;
      } catch (error) {
        if (this.#isClosed) return;
        failures += 1;
        if (failures === 2) log.warn({ error: messageOf(error) }, 'answers cannot be read');
        await clock.sleep(backOffMs(failures, { firstDelayMs: 10, delayMsMax: 1000 }));
      }
    }
  }

  async #read(): Promise<void> {
    const { connection, maxima, clock, replied } = this.#options;
    const words = ['COUNT', countMax, 'BLOCK', maxima.blockMs, 'STREAMS', this.#key, this.#last];
    const [stream] = readOf(await connection.read(['XREAD', ...words], maxima.blockMs));
    this.#heardAt = clock.now();
    const entries = stream?.[1] ?? [];
    this.#last = entries.at(-1)?.id ?? this.#last;
    for (const { text } of entries) if (text !== '') replied(text);
    // Whoever waited for them goes on before the next read is written.
    if (entries.length > 0) await afterThisTurn();
    this.#readSinceTrim += entries.length;
    if (entries.length === 0 || clock.now() - this.#keptAt > maxima.keepMs || this.#readSinceTrim >= trimAfter) await this.#keep();
  }

  /** A stream that is gone (Redis was emptied, the process was paused for long) is made anew. */
  async #keep(): Promise<void> {
    const { writer, maxima, clock } = this.#options;
    this.#readSinceTrim = 0;
    this.#keptAt = clock.now();
    const [exists] = valuesOf(await writer.batch([['pexpire', this.#key, maxima.replyTtlMs], ['xtrim', this.#key, 'MINID', this.#last]]));
    if (exists === 0) await this.#create();
  }
}
