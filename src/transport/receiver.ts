// What the receiving side of every transport does with one envelope: decode, check, execute or not, and say what is to
// become of it. It stores and sends nothing itself.
import { z } from 'zod';
import type { Clock } from '../lib/clock.ts';
import { messageOf } from '../lib/errors.ts';
import { decodeEnvelope, type Envelope, type ReplyBody } from '../messages/envelope.ts';
import type { MessageEntry, MessageTable } from '../messages/protocol.ts';
import { entryOf } from '../messages/protocol.ts';
import { failureOf, isExpected, replyTo, throughJson, verbOf } from './codec.ts';
import { TransportError, type DeadLetter, type Delivery } from './transport.ts';

/** `done`: acknowledge. `again`: the handler failed and has not answered; the message is to come again. */
export interface Received {
  readonly verdict: 'done' | 'again';
  readonly error?: unknown;
  readonly reply?: Envelope | undefined;
  readonly deadLetter?: DeadLetter;
}

export interface ReceiverOptions {
  readonly clock: Clock;
  /** The name of this process, for the `from` of replies. */
  readonly process: string;
  /** The mailbox, as text. */
  readonly mailbox: string;
  readonly role: string;
  readonly table: MessageTable;
  /** By verb. The transport's types have seen to it that there is one for each. */
  readonly handlers: Readonly<Record<string, (body: unknown, delivery: Delivery) => unknown>>;
  readonly newId: () => string;
}

export class Receiver {
  readonly #options: ReceiverOptions;

  constructor(options: ReceiverOptions) {
    this.#options = options;
  }

  /** Never rejects. */
  async receive(text: string, deliveries: number): Promise<Received> {
    const { clock, role, table, handlers } = this.#options;
    const decoded = decodeEnvelope(text);
    if ('undecodable' in decoded) {
      const { reason, error, id, type } = decoded.undecodable;
      return { verdict: 'done', deadLetter: this.#deadLetter({ id, type }, reason, error, text) };
    }
    const { envelope } = decoded;
    const verb = verbOf(envelope, role, table);
    const entry = verb === undefined ? undefined : entryOf(table, verb);
    const handler = verb === undefined ? undefined : handlers[verb];
    if (entry === undefined || handler === undefined) return this.#refuse(envelope, text, 'unknownType', `${role} knows no ${envelope.type}`);
    const { id, requestId, deadline } = envelope;
    if (deadline !== undefined && clock.now() >= deadline) return this.#refuse(envelope, text, 'expired', 'its deadline passed before it was taken');
    const body = entry.body.safeParse(envelope.body);
    if (!body.success) return this.#refuse(envelope, text, 'invalid', z.prettifyError(body.error));
    try {
      const value = await handler(body.data, { id, requestId, deadline, deliveries });
      return { verdict: 'done', ...this.#answer(envelope, entry, value) };
    } catch (error) {
      if (envelope.replyTo === undefined || !isExpected(error)) return { verdict: 'again', error };
      return { verdict: 'done', error, reply: this.#reply(envelope, failureOf('remote', error)) };
    }
  }

  /** The end of a message that came too often. */
  poison(text: string, error: unknown): Received {
    const decoded = decodeEnvelope(text);
    if ('undecodable' in decoded) return { verdict: 'done', deadLetter: this.#deadLetter(decoded.undecodable, 'poison', messageOf(error), text) };
    const { envelope } = decoded;
    const deadLetter = this.#deadLetter(envelope, 'poison', messageOf(error), text);
    return { verdict: 'done', reply: this.#reply(envelope, failureOf('remote', error)), deadLetter };
  }

  /** An answer that does not fit its schema is the handler's mistake; its work is done, so that repeating would not mend it. */
  #answer(envelope: Envelope, entry: MessageEntry, value: unknown): { reply?: Envelope | undefined; error?: unknown } {
    if (entry.reply === undefined || envelope.replyTo === undefined) return {};
    try {
      return { reply: this.#reply(envelope, { ok: true, value: throughJson(value, entry.reply, `the answer to ${envelope.type}`) }) };
    } catch (error) {
      return { error, reply: this.#reply(envelope, failureOf('invalid', error)) };
    }
  }

  #refuse(envelope: Envelope, text: string, reason: 'unknownType' | 'expired' | 'invalid', error: string): Received {
    const kind = reason === 'expired' ? 'expired' : 'invalid';
    const reply = this.#reply(envelope, failureOf(kind, new TransportError(kind, error)));
    return { verdict: 'done', reply, deadLetter: this.#deadLetter(envelope, reason, error, text) };
  }

  #reply(envelope: Envelope, body: ReplyBody): Envelope | undefined {
    return replyTo(envelope, { id: this.#options.newId(), from: this.#options.process, body });
  }

  #deadLetter(message: { id: string; type: string }, reason: DeadLetter['reason'], error: string, envelope: string): DeadLetter {
    return { id: message.id, type: message.type, to: this.#options.mailbox, reason, error, at: this.#options.clock.now(), envelope };
  }
}
