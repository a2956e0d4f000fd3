// Says of handled entries that they are done: the answer to the asker, the dead letter, and the acknowledgement go out together, and again
// until Redis has taken them. Only then is an entry out of hand.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { backOffMs } from '../lib/retry.ts';
import { encodeEnvelope } from '../messages/envelope.ts';
import type { Received } from './receiver.ts';
import { valuesOf, type Command, type RedisWriter } from './redis-connection.ts';
import { acknowledgeScript, replyKey, type MailboxKeys } from './redis-keys.ts';
import type { RedisMaxima } from './redis-maxima.ts';

export interface Ended extends Pick<Received, 'reply' | 'deadLetter'> {
  /** Of the entry. */
  readonly id: string;
}

export interface AcknowledgerOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: RedisWriter;
  readonly maxima: RedisMaxima;
  readonly keys: MailboxKeys;
  /** Of the owner; empty for a shared mailbox. */
  readonly token: string;
  /** Redis has taken it. */
  readonly onDone: (ids: readonly string[]) => void;
  /** Another owns the mailbox by now. */
  readonly onSuperseded: () => void;
}

export class RedisAcknowledger {
  readonly #options: AcknowledgerOptions;
  #waiting: Ended[] = [];
  #sending = 0;
  #failures = 0;
  #isDue = false;
  #isPaused = false;
  #isClosed = false;

  constructor(options: AcknowledgerOptions) {
    this.#options = options;
  }

  /** How many are not taken yet. */
  get size(): number {
    return this.#waiting.length + this.#sending;
  }

  add(ended: Ended): void {
    if (this.#isClosed) return;
    this.#waiting.push(ended);
    if (this.#isDue) return;
    // Those that end in one turn go together.
    this.#isDue = true;
    process.nextTick(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  /** Nothing more is sent. */
  close(): void {
    this.#isClosed = true;
    this.#waiting = [];
  }

  #flush(): void {
    if (this.#isPaused || this.#isClosed || this.#waiting.length === 0) return;
    const batch = this.#waiting;
    this.#waiting = [];
    void this.#sendOrKeep(batch);
  }

  async #sendOrKeep(batch: readonly Ended[]): Promise<void> {
    this.#sending += batch.length;
    try {
      await this.#send(batch);
    } catch (error) {
      this.#sending -= batch.length;
      return this.#again(batch, error);
    }
    this.#sending -= batch.length;
    this.#failures = 0;
    this.#options.onDone(batch.map(({ id }) => id));
  }

  #again(batch: readonly Ended[], error: unknown): void {
    if (this.#isClosed) return;
    const { clock, log, keys } = this.#options;
    this.#waiting = [...batch, ...this.#waiting];
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#failures += 1;
    if (this.#failures === 1) log.warn({ stream: keys.stream, error: messageOf(error) }, 'handled, but not acknowledged yet');
    clock.after(backOffMs(this.#failures, { firstDelayMs: 50, delayMsMax: 2000 }), () => {
      this.#isPaused = false;
      this.#flush();
    }, { unref: true });
  }

  async #send(batch: readonly Ended[]): Promise<void> {
    const { writer, token, maxima, keys, log, onSuperseded } = this.#options;
    const words = batch.flatMap(({ id, deadLetter }) => [id, deadLetter === undefined ? '' : JSON.stringify(deadLetter)]);
    const results = await writer.batch([
      // Nobody makes the stream of a process that has ended.
      ...batch.flatMap(({ reply }): Command[] => (reply === undefined ? [] : [
        ['xadd', replyKey(reply.to), 'NOMKSTREAM', 'MAXLEN', '~', maxima.repliesMax, '*', 'm', encodeEnvelope(reply)],
      ])),
      ['eval', acknowledgeScript, 3, keys.stream, keys.owner, keys.deadLetters, token, maxima.deadLettersMax, ...words],
    ]);
    const [acknowledged] = valuesOf(results.slice(-1));
    for (const result of results) if ('error' in result) log.warn({ stream: keys.stream, error: result.error.message }, 'a reply was not stored');
    if (acknowledged === -1) onSuperseded();
  }
}
