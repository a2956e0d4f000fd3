// Puts messages into mailboxes. What is sent within one turn of the event loop to one mailbox goes out as one command: alone it waits for
// nothing, and under load a round of the server, a write and its answer are shared by many.
import { valuesOf, type Command, type RedisWriter } from './redis-connection.ts';
import { limitDefault, mailboxKeys, putScript } from './redis-keys.ts';
import { TransportError } from './transport.ts';

export interface PutMessage {
  readonly key: string | undefined;
  readonly text: string;
}

interface Waiting extends PutMessage {
  resolve(): void;
  reject(error: unknown): void;
}

/** Messages in one command: Redis does nothing else meanwhile. So many do not wait for more: Redis stores them while the next are made. */
const batchMax = 64;

/** Stores the first ones that there is room for; the answer is how many. */
export function putCommand(mailbox: string, messages: readonly PutMessage[]): Command {
  const { stream, limit } = mailboxKeys(mailbox);
  const words: string[] = [];
  for (const { key = '', text } of messages) words.push(key, text);
  return ['eval', putScript, 2, stream, limit, limitDefault, ...words];
}

export class RedisPutter {
  readonly #writer: RedisWriter;
  #waiting = new Map<string, Waiting[]>();

  constructor(writer: RedisWriter) {
    this.#writer = writer;
  }

  /** Rejects with `mailboxFull` when there is no room. Messages are stored in the order of the calls. */
  put(mailbox: string, { key, text }: PutMessage): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size === 0) process.nextTick(() => this.#flush());
      const waiting = { key, text, resolve, reject };
      const others = this.#waiting.get(mailbox);
      if (others === undefined) this.#waiting.set(mailbox, [waiting]);
      else if (others.push(waiting) >= batchMax) this.#flush();
    });
  }

  #flush(): void {
    const all = [...this.#waiting];
    this.#waiting = new Map();
    const [only] = all;
    if (all.length === 1 && only !== undefined) this.#sendOne(...only);
    else void this.#send(all);
  }

  /** What is most frequent, without the cost of a pipeline. */
  #sendOne(mailbox: string, messages: readonly Waiting[]): void {
    this.#writer.command(...putCommand(mailbox, messages)).then((stored) => settle(mailbox, messages, Number(stored)), (error: unknown) => {
      for (const { reject } of messages) reject(error);
    });
  }

  async #send(batches: readonly (readonly [mailbox: string, messages: readonly Waiting[]])[]): Promise<void> {
    const commands = batches.map(([mailbox, messages]) => putCommand(mailbox, messages));
    const replies = await this.#writer.batch(commands).catch((error: Error) => commands.map(() => ({ error })));
    for (const [index, [mailbox, messages]] of batches.entries()) {
      try {
        settle(mailbox, messages, Number(valuesOf(replies.slice(index, index + 1))[0]));
      } catch (error) {
        for (const { reject } of messages) reject(error);
      }
    }
  }
}

/** The first ones were stored. */
function settle(mailbox: string, messages: readonly Waiting[], stored: number): void {
  for (const [position, { resolve, reject }] of messages.entries()) {
    if (position < stored) resolve();
    else reject(new TransportError('mailboxFull', `the mailbox ${mailbox} is full`));
  }
}
