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
  const words: string[] = [];
  for (const { id, key = '', text } of messages) words.push(id, key, text);
  return ['eval', putScript, 2, stream, limit, limitDefault, ...words];
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
      const waiting = { id: message.id, key: message.key, text: message.text, settle, fail };
      const others = this.#waiting.get(mailbox);
      if (others === undefined) this.#waiting.set(mailbox, [waiting]);
      else others.push(waiting);
    });
  }

  #flush(): void {
    const all = this.#waiting;
    this.#waiting = new Map();
    if (all.size === 1) {
      for (const [mailbox, messages] of all) if (messages.length <= batchMax) return this.#sendOne(mailbox, messages);
    }
    void this.#send([...all].flatMap(([mailbox, messages]) => Array.from({ length: Math.ceil(messages.length / batchMax) }, (_, index) => (
      { mailbox, messages: messages.slice(index * batchMax, (index + 1) * batchMax) }
    ))));
  }

  /** What is most frequent, without the cost of a pipeline. */
  #sendOne(mailbox: string, messages: readonly Waiting[]): void {
    this.#writer.command(...putCommand(mailbox, messages)).then((value) => settleAll(messages, Number(value)), (error: unknown) => {
      for (const { fail } of messages) fail(error);
    });
  }

  async #send(batches: readonly { mailbox: string; messages: readonly Waiting[] }[]): Promise<void> {
    const commands = batches.map(({ mailbox, messages }) => putCommand(mailbox, messages));
    const replies = await this.#writer.batch(commands).catch((error: Error) => commands.map(() => ({ error })));
    for (const [index, { messages }] of batches.entries()) {
      try {
        settleAll(messages, Number(valuesOf(replies.slice(index, index + 1))[0]));
      } catch (error) {
        for (const { fail } of messages) fail(error);
      }
    }
  }
}

/** The first ones were stored. */
function settleAll(messages: readonly Waiting[], stored: number): void {
  for (const [position, waiting] of messages.entries()) waiting.settle(position < stored);
}
