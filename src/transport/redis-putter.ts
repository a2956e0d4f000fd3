// Puts messages into mailboxes. What is sent within one turn of the event loop to one mailbox goes out as one command: alone it waits for
// nothing, and under load a round of the server, a write and its answer are shared by many.
import { valuesOf, type Command, type RedisWriter } from './redis-connection.ts';
import { limitDefault, mailboxKeys, putScript } from './redis-keys.ts';

export interface PutMessage {
  readonly id: string;
  readonly key: string | undefined;
  readonly text: string;
}

interface Waiting extends PutMessage {
  settle(stored: boolean): void;
  fail(error: unknown): void;
}

/** Messages in one command: Redis does nothing else meanwhile. */
const batchMax = 256;

/** Stores the first ones that there is room for; the answer is how many. */
export function putCommand(mailbox: string, messages: readonly PutMessage[]): Command {
  const { stream, limit } = mailboxKeys(mailbox);
  return ['eval', putScript, 2, stream, limit, limitDefault, ...messages.flatMap(({ id, key = '', text }) => [id, key, text])];
}

export class RedisPutter {
  readonly #writer: RedisWriter;
  #waiting = new Map<string, Waiting[]>();

  constructor(writer: RedisWriter) {
    this.#writer = writer;
  }

  /** False: the mailbox is full. Messages are stored in the order of the calls. */
  put(mailbox: string, message: PutMessage): Promise<boolean> {
    return new Promise((settle, fail) => {
      if (this.#waiting.size === 0) process.nextTick(() => this.#flush());
      const waiting = { ...message, settle, fail };
      const others = this.#waiting.get(mailbox);
      if (others === undefined) this.#waiting.set(mailbox, [waiting]);
      else others.push(waiting);
    });
  }

  #flush(): void {
    const batches = [...this.#waiting].flatMap(([mailbox, all]) =>
      Array.from({ length: Math.ceil(all.length / batchMax) }, (_, index) => ({ mailbox, messages: all.slice(index * batchMax, (index + 1) * batchMax) })));
    this.#waiting = new Map();
    void this.#send(batches);
  }

  async #send(batches: readonly { mailbox: string; messages: readonly Waiting[] }[]): Promise<void> {
    const commands = batches.map(({ mailbox, messages }) => putCommand(mailbox, messages));
    const [only] = commands;
    const replies = commands.length === 1 && only !== undefined
      ? [await this.#writer.command(...only).then((value) => ({ value }), (error: Error) => ({ error }))]
      : await this.#writer.batch(commands).catch((error: Error) => commands.map(() => ({ error })));
    for (const [index, { messages }] of batches.entries()) {
      try {
        const stored = Number(valuesOf(replies.slice(index, index + 1))[0]);
        for (const [position, { settle }] of messages.entries()) settle(position < stored);
      } catch (error) {
        for (const { fail } of messages) fail(error);
      }
    }
  }
}
