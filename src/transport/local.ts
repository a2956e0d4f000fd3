// Mailboxes within one process, with all that a network would do to a message: every envelope is encoded and decoded,
// bodies and answers are checked on both sides, and several "processes" can share one medium, so that a cloud of many
// hosts runs in one.
import { randomUUID } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { decodeEnvelope, encodeEnvelope, envelopeVersion, type Envelope } from '../messages/envelope.ts';
import type { AskVerb, BodyOf, Handlers, MessageTable, Protocol, ReplyOf, Role, TellVerb } from '../messages/protocol.ts';
import { OpenAsks } from './asks.ts';
import { entryFor, orderKeyOf, revivedEnvelope, throughJson } from './codec.ts';
import type { Consumer } from './local-mailbox.ts';
import { createLocalMedium, type LocalMaxima, type LocalMedium } from './local-medium.ts';
import { Receiver, type Received, type ReceiverOptions } from './receiver.ts';
import {
  addressText, TransportError, type Address, type DeadLetter, type Delivery, type MailboxDepth, type OutboxMessage, type SendOptions, type ServeOptions,
  type Subscription, type Transport,
} from './transport.ts';

export { createLocalMedium, type LocalMedium } from './local-medium.ts';

export interface LocalTransportOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The name of this process: unique on its medium. */
  readonly process: string;
  /** Shared by the processes of one cloud. Default: one of its own. */
  readonly medium?: LocalMedium;
  /** Of the medium that is made when none is given. */
  readonly maxima?: Partial<LocalMaxima>;
}

const askTimeoutMsDefault = 30_000;
const asksMax = 10_000;
const concurrencyMaxDefault = 16;
const deliveriesMaxDefault = 5;
const closeDeadlineMs = 5000;

export const createLocalTransport = (options: LocalTransportOptions): Transport => new LocalTransport(options);

class LocalTransport implements Transport {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #process: string;
  readonly #medium: LocalMedium;
  readonly #asks: OpenAsks;
  readonly #served = new Map<Subscription, () => void>();
  #closed = false;

  constructor(options: LocalTransportOptions) {
    this.#clock = options.clock;
    this.#log = options.log.child({ process: options.process });
    this.#process = options.process;
    this.#medium = options.medium ?? createLocalMedium({ clock: options.clock, log: options.log, maxima: options.maxima });
    this.#asks = new OpenAsks(options.clock);
    this.#medium.join(this.#process, { reply: (text) => this.#replied(text), killed: () => this.#killed() });
  }

  async tell<Table extends MessageTable, Verb extends TellVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<void> {
    this.#put(to, protocol, verb, body, options, { id: randomUUID() });
  }

  async ask<Table extends MessageTable, Verb extends AskVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<ReplyOf<Table[Verb]>> {
    this.#assertOpen();
    const { timeoutMs = askTimeoutMsDefault } = options;
    const type = `${protocol.role}.${verb}`;
    const { reply } = entryFor(protocol, verb);
    if (reply === undefined) throw new TransportError('invalid', `${type} has no answer: tell it`);
    if (!(timeoutMs > 0)) throw new TransportError('expired', `${type} had no time left`);
    if (this.#asks.size >= asksMax) throw new TransportError('mailboxFull', `${asksMax} asks of ${this.#process} are open`);
    const id = randomUUID();
    const answer = this.#asks.wait(id, { type, schema: reply, timeoutMs });
    try {
      this.#put(to, protocol, verb, body, { ...options, timeoutMs }, { id, replyTo: { mailbox: this.#process, actor: id } });
    } catch (error) {
      this.#asks.fail(id, error);
    }
    return (await answer) as ReplyOf<Table[Verb]>; // parsed by the schema that ReplyOf is the output of
  }

  async fanOut<Table extends MessageTable, Verb extends TellVerb<Table>>(
    role: Role, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<readonly string[]> {
    const written: string[] = [];
    for (const host of await this.hosts(role)) {
      try {
        await this.tell({ role, host }, protocol, verb, body, options);
        written.push(host);
      } catch (error) {
        if (!(error instanceof TransportError && error.kind === 'mailboxFull')) throw error;
        this.#log.warn({ to: addressText({ role, host }), verb }, 'not written: the mailbox is full');
      }
    }
    return written;
  }

  async serve<Table extends MessageTable>(
    address: Address, protocol: Protocol<Table>, handlers: Handlers<Table, Delivery>, options: ServeOptions = {},
  ): Promise<Subscription> {
    this.#assertOpen();
    const { role, host } = address;
    const name = addressText(address);
    const mailbox = this.#medium.mailbox(name);
    if (role !== protocol.role) throw new TransportError('invalid', `${name} does not take messages of ${protocol.role}`);
    if (host !== undefined && mailbox.consumers > 0) throw new TransportError('invalid', `${name} has its owner already`);
    const consumer = this.#consumer(name, protocol, handlers, options);
    if (options.depthMax !== undefined) mailbox.depthMax = options.depthMax;
    mailbox.attach(consumer);
    if (host !== undefined) this.#medium.announce(role, host);
    const leave = (): void => {
      this.#served.delete(subscription);
      if (host !== undefined && mailbox.consumers === 0) this.#medium.withdraw(role, host);
    };
    const drain = async (deadlineMs: number): Promise<void> => {
      if (host !== undefined) this.#medium.withdraw(role, host);
      const late = new AbortController();
      const givenUp = this.#clock.sleep(deadlineMs, late.signal).catch(() => undefined); // aborted when all is done in time
      await mailbox.drain(consumer, givenUp);
      late.abort();
      leave();
    };
    let drained: Promise<void> | undefined;
    const subscription: Subscription = {
      stop: (deadlineMs) => {
        if (!this.#served.has(subscription)) return Promise.resolve();
        drained ??= drain(deadlineMs);
        return drained;
      },
    };
    this.#served.set(subscription, () => {
      mailbox.detach(consumer);
      leave();
    });
    return subscription;
  }

  async hosts(role: Role): Promise<readonly string[]> {
    return this.#medium.hosts(role);
  }

  async deadLetters(): Promise<readonly DeadLetter[]> {
    return this.#medium.deadLetters();
  }

  async requeue(id: string): Promise<boolean> {
    const letter = this.#medium.deadLetters().find((one) => one.id === id);
    const revived = letter?.envelope === undefined ? undefined : revivedEnvelope(letter.envelope);
    if (revived === undefined) return false;
    if (!this.#medium.mailbox(revived.to).put(encodeEnvelope(revived), revived.orderKey)) {
      throw new TransportError('mailboxFull', `the mailbox ${revived.to} is full`);
    }
    this.#medium.unbury(id);
    return true;
  }

  async drop(id: string): Promise<boolean> {
    return this.#medium.unbury(id) !== undefined;
  }

  async deliver(messages: readonly OutboxMessage[]): Promise<readonly string[]> {
    this.#assertOpen();
    const stored = messages.filter(({ mailbox, envelope }) => {
      const decoded = decodeEnvelope(envelope);
      return this.#medium.mailbox(mailbox).put(envelope, 'envelope' in decoded ? decoded.envelope.orderKey : undefined);
    });
    return stored.map(({ id }) => id);
  }

  async depths(): Promise<readonly MailboxDepth[]> {
    return this.#medium.depths();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#asks.failAll(this.#closedError());
    await Promise.all(Array.from(this.#served.keys(), (subscription) => subscription.stop(closeDeadlineMs)));
    this.#medium.leave(this.#process);
  }

  #put(to: Address, protocol: Protocol, verb: string, body: unknown, options: SendOptions, more: Pick<Envelope, 'id' | 'replyTo'>): void {
    this.#assertOpen();
    const { timeoutMs, requestId, orderKey } = options;
    const type = `${protocol.role}.${verb}`;
    if (to.role !== protocol.role) throw new TransportError('invalid', `${addressText(to)} does not take ${type}`);
    const json = throughJson(body, entryFor(protocol, verb).body, type);
    const key = orderKey ?? orderKeyOf(json);
    const envelope: Envelope = {
      v: envelopeVersion,
      type,
      to: addressText(to),
      from: this.#process,
      ...more,
      ...(timeoutMs === undefined || timeoutMs === Infinity ? {} : { deadline: this.#clock.now() + timeoutMs }),
      ...(requestId === undefined ? {} : { requestId }),
      ...(key === undefined ? {} : { orderKey: key }),
      body: json,
    };
    if (!this.#medium.mailbox(envelope.to).put(encodeEnvelope(envelope), key)) {
      throw new TransportError('mailboxFull', `the mailbox ${envelope.to} is full`);
    }
  }

  #consumer<Table extends MessageTable>(mailbox: string, protocol: Protocol<Table>, handlers: Handlers<Table, Delivery>, options: ServeOptions): Consumer {
    const { role, table } = protocol;
    const receiver = new Receiver({
      clock: this.#clock, process: this.#process, mailbox, role, table, newId: randomUUID,
      handlers: handlers as unknown as ReceiverOptions['handlers'], // each gets what its own schema has parsed
    });
    return {
      concurrencyMax: options.concurrencyMax ?? concurrencyMaxDefault,
      deliveriesMax: options.deliveriesMax ?? deliveriesMaxDefault,
      handle: async (text, deliveries) => {
        const received = await receiver.receive(text, deliveries);
        if (received.error !== undefined) this.#log.warn({ mailbox, deliveries, verdict: received.verdict, err: received.error }, 'a handler failed');
        this.#conclude(received);
        return received;
      },
      poisoned: (text, error) => this.#conclude(receiver.poison(text, error)),
    };
  }

  #conclude({ reply, deadLetter }: Received): void {
    if (this.#closed && !this.#served.size) return; // killed: it says nothing any more
    if (deadLetter !== undefined) this.#medium.bury(deadLetter);
    if (reply !== undefined) this.#medium.reply(reply.to, encodeEnvelope(reply));
  }

  #replied(text: string): void {
    const decoded = decodeEnvelope(text);
    if ('undecodable' in decoded) return this.#log.error({ error: decoded.undecodable.error }, 'a reply could not be read');
    if (!this.#asks.settle(decoded.envelope)) this.#log.debug({ correlation: decoded.envelope.correlation }, 'a reply came too late');
  }

  #killed(): void {
    this.#closed = true;
    for (const leave of this.#served.values()) leave();
    this.#asks.failAll(this.#closedError());
  }

  #assertOpen(): void {
    if (this.#closed) throw this.#closedError();
  }

  #closedError(): TransportError {
    return new TransportError('closed', `the transport of ${this.#process} is closed`);
  }
}
