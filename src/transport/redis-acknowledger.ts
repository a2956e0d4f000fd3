// Says of handled entries that they are done. The answer to the asker goes out at once; the acknowledgements, with the dead letters, of all that
// ended within a moment go together after it, for nobody waits for them, and again until Redis has taken them. Only then is an entry out of hand.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { backOffMs } from '../lib/retry.ts';
import { encodeEnvelope, type Envelope } from '../messages/envelope.ts';
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
  /** So many acknowledgements do not wait for more. */
  readonly gatherMax: number;
  /** Redis has taken it. */
  readonly onDone: (ids: readonly string[]) => void;
  /** Another owns the mailbox by now. */
  readonly onSuperseded: () => void;
}

/**
 * Acknowledgements of an owned mailbox wait so long for others: each command wakes Redis and two processes, which costs more than the message.
 * What ended and was not acknowledged comes again after a crash, as ever.
 */
const gatherMs = 5;

export class RedisAcknowledger {
  readonly #options: AcknowledgerOptions;
  /** Those that are to be answered first. */
  #answering: Ended[] = [];
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
    return this.#answering.length + this.#waiting.length + this.#sending;
  }

  add(ended: Ended): void {
    if (this.#isClosed) return;
    if (ended.deadLetter !== undefined) { // seen before anything that is said later
      this.#waiting.push(ended);
      return this.#flush();
    }
    if (ended.reply === undefined) return this.#gather([ended]);
    // Those that are answered in one turn go together.
    if (this.#answering.push(ended) === 1) process.nextTick(() => void this.#answerAll());
  }

  /** Nothing more is sent. */
  close(): void {
    this.#isClosed = true;
    this.#answering = [];
    this.#waiting = [];
  }

  /** An answer that was not stored goes with the acknowledgement, so that none of the two is said without the other. */
  async #answerAll(): Promise<void> {
    const { writer, maxima } = this.#options;
    const batch = this.#answering;
    this.#answering = [];
    if (this.#isPaused) return this.#gather(batch);
    const commands = batch.flatMap(({ reply }) => (reply === undefined ? [] : [answerCommand(reply, maxima)]));
    const [only] = commands;
    this.#sending += batch.length;
    try {
      if (commands.length === 1 && only !== undefined) await writer.command(...only);
      else valuesOf(await writer.batch(commands));
      this.#gather(batch.map(({ reply: _said, ...rest }) => rest));
    } catch {
      this.#gather(batch);
    } finally {
      this.#sending -= batch.length;
    }
  }

  #gather(ended: readonly Ended[]): void {
    if (this.#isClosed) return;
    this.#waiting.push(...ended);
    if (this.#waiting.length >= this.#options.gatherMax) return this.#flush();
    if (this.#isDue) return;
    this.#isDue = true;
    const flush = (): void => {
      this.#isDue = false;
      this.#flush();
    };
    // There is no more room in a shared mailbox before Redis has taken it.
    if (this.#options.token === '') process.nextTick(flush);
    else this.#options.clock.after(gatherMs, flush, { unref: true });
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
    const letters = batch.flatMap(({ id, deadLetter }) => (deadLetter === undefined ? [] : [id, JSON.stringify(deadLetter)]));
    const others = batch.flatMap(({ id, deadLetter }) => (deadLetter === undefined ? [id] : []));
    const words = [token, maxima.deadLettersMax, letters.length / 2, ...letters, ...others];
    const acknowledge: Command = ['eval', acknowledgeScript, 3, keys.stream, keys.owner, keys.deadLetters, ...words];
    const answers = batch.flatMap(({ reply }) => (reply === undefined ? [] : [answerCommand(reply, maxima)]));
    const results = answers.length === 0 ? [{ value: await writer.command(...acknowledge) }] : await writer.batch([...answers, acknowledge]);
    const [acknowledged] = valuesOf(results.slice(-1));
    for (const result of results) if ('error' in result) log.warn({ stream: keys.stream, error: result.error.message }, 'a reply was not stored');
    if (acknowledged === -1) onSuperseded();
  }
}

/** Nobody makes the stream of a process that has ended. */
const answerCommand = (reply: Envelope, { repliesMax }: RedisMaxima): Command =>
  ['xadd', replyKey(reply.to), 'NOMKSTREAM', 'MAXLEN', '~', repliesMax, '*', 'm', encodeEnvelope(reply)];
