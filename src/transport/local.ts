// Mailboxes within one process, with all that a network would do to a message: every envelope is encoded and decoded,
// bodies and answers are checked on both sides, and several "processes" can share one medium, so that a cloud of many
// hosts runs in one.
import type { Clock } from '../lib/clock.ts';
import { newMessageId } from '../lib/ids.ts';
import type { Log } from '../lib/log.ts';
import { decodeEnvelope, encodeEnvelope } from '../messages/envelope.ts';
import type { AskVerb, BodyOf, Handlers, MessageTable, Protocol, ReplyOf, Role, TellVerb } from '../messages/protocol.ts';
import { revivedEnvelope } from './codec.ts';
import { hostsIn, ownedService, type Announcement, type Directory } from './directory.ts';
import type { Consumer } from './local-mailbox.ts';
import { createLocalMedium, type LocalMaxima, type LocalMedium } from './local-medium.ts';
import { Outbound } from './outbound.ts';
import { Receiver, type Received, type ReceiverOptions } from './receiver.ts';
import {
  addressText, concurrencyMaxDefault, deliveriesMaxDefault, TransportError, type Address, type DeadLetter, type Delivery, type MailboxDepth,
  type OutboxMessage, type SendOptions, type ServeOptions, type Subscription, type Transport, type TransportHealth,
} from './transport.ts';

export { createLocalMedium, type Courier, type LocalMedium } from './local-medium.ts';

export interface LocalTransportOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The name of this process: unique on its medium. */
  readonly process: string;
  /** Shared by the processes of one cloud. Default: one of its own. */
  readonly medium?: LocalMedium;
  /** Where owned mailboxes announce themselves and hosts are looked up. Default: the medium knows them, without leases. */
  readonly directory?: Directory | undefined;
  /** Of the medium that is made when none is given. */
  readonly maxima?: Partial<LocalMaxima>;
}

const closeDeadlineMs = 5000;

export const createLocalTransport = (options: LocalTransportOptions): Transport => new LocalTransport(options);

class LocalTransport implements Transport {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #process: string;
  readonly #medium: LocalMedium;
  readonly #directory: Directory | undefined;
  readonly #outbound: Outbound;
  readonly #served = new Map<Subscription, () => void>();

  constructor(options: LocalTransportOptions) {
    this.#clock = options.clock;
    this.#log = options.log.child({ process: options.process });
    this.#process = options.process;
    this.#medium = options.medium ?? createLocalMedium({ clock: options.clock, log: options.log, maxima: options.maxima });
    this.#directory = options.directory;
    this.#outbound = new Outbound({
      clock: options.clock, log: this.#log, process: options.process, store: (envelope, text) => this.#store(envelope.to, text, envelope.orderKey),
    });
    this.#medium.join(this.#process, { reply: (text) => this.#outbound.replied(text), killed: () => this.#killed() });
  }

  tell<Table extends MessageTable, Verb extends TellVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<void> {
    return this.#outbound.tell({ to, protocol, verb, body, options });
  }

  ask<Table extends MessageTable, Verb extends AskVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<ReplyOf<Table[Verb]>> {
    return this.#outbound.ask({ to, protocol, verb, body, options }) as Promise<ReplyOf<Table[Verb]>>; // parsed by the schema that ReplyOf is the output of
  }

  async fanOut<Table extends MessageTable, Verb extends TellVerb<Table>>(
    role: Role, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options: SendOptions = {},
  ): Promise<readonly string[]> {
    return this.#outbound.fanOut(await this.hosts(role), { role, protocol, verb, body, options });
  }

  async serve<Table extends MessageTable>(
    address: Address, protocol: Protocol<Table>, handlers: Handlers<Table, Delivery>, options: ServeOptions = {},
  ): Promise<Subscription> {
    this.#outbound.assertOpen();
    const { role, host } = address;
    const name = addressText(address);
    const mailbox = this.#medium.mailbox(name);
    if (role !== protocol.role) throw new TransportError('invalid', `${name} does not take messages of ${protocol.role}`);
    if (host !== undefined && mailbox.consumers > 0) throw new TransportError('invalid', `${name} has its owner already`);
    const consumer = this.#consumer(name, protocol, handlers, options);
    if (options.depthMax !== undefined) mailbox.depthMax = options.depthMax;
    mailbox.attach(consumer);
    if (host !== undefined) this.#medium.announce(role, host);
    const announcement = await this.#announce(address, options);
    const leave = (): void => {
      this.#served.delete(subscription);
      if (host !== undefined && mailbox.consumers === 0) this.#medium.withdraw(role, host);
    };
    const drain = async (deadlineMs: number): Promise<void> => {
      if (host !== undefined) this.#medium.withdraw(role, host);
      await announcement?.withdraw();
      const late = new AbortController();
      const givenUp = this.#clock.sleep(deadlineMs, late.signal).catch(() => undefined); // aborted when all is done in time
      await mailbox.drain(consumer, givenUp);
      late.abort();
      leave();
    };
    let drained: Promise<void> | undefined;
    const subscription: Subscription = {
      isHeld: () => announcement?.held() ?? true,
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
    return this.#directory === undefined ? this.#medium.hosts(role) : hostsIn(this.#directory, role);
  }

  async deadLetters(): Promise<readonly DeadLetter[]> {
    return this.#medium.deadLetters();
  }

  async requeue(id: string): Promise<boolean> {
    const letter = this.#medium.deadLetters().find((one) => one.id === id);
    const revived = letter?.envelope === undefined ? undefined : revivedEnvelope(letter.envelope);
    if (revived === undefined) return false;
    this.#store(revived.to, encodeEnvelope(revived), revived.orderKey);
    this.#medium.unbury(id);
    return true;
  }

  async drop(id: string): Promise<boolean> {
    return this.#medium.unbury(id) !== undefined;
  }

  async deliver(messages: readonly OutboxMessage[]): Promise<readonly string[]> {
    this.#outbound.assertOpen();
    const stored = messages.filter(({ mailbox, envelope }) => {
      const decoded = decodeEnvelope(envelope);
      return this.#medium.post(mailbox, envelope, 'envelope' in decoded ? decoded.envelope.orderKey : undefined);
    });
    return stored.map(({ id }) => id);
  }

  async depths(): Promise<readonly MailboxDepth[]> {
    return this.#medium.depths();
  }

  health(): TransportHealth {
    return { readerLagMs: 0 };
  }

  async close(): Promise<void> {
    if (this.#outbound.isClosed) return;
    this.#outbound.close();
    await Promise.all(Array.from(this.#served.keys(), (subscription) => subscription.stop(closeDeadlineMs)));
    this.#medium.leave(this.#process);
  }

  async #announce({ role, host }: Address, options: ServeOptions): Promise<Announcement | undefined> {
    if (host === undefined) return undefined;
    return this.#directory?.announce(ownedService({ role, host, process: this.#process }, options));
  }

  #store(to: string, text: string, key: string | undefined): void {
    if (!this.#medium.post(to, text, key)) throw new TransportError('mailboxFull', `the mailbox ${to} is full`);
  }

  #consumer<Table extends MessageTable>(mailbox: string, protocol: Protocol<Table>, handlers: Handlers<Table, Delivery>, options: ServeOptions): Consumer {
    const { role, table } = protocol;
    const receiver = new Receiver({
      clock: this.#clock, process: this.#process, mailbox, role, table, newId: () => newMessageId(this.#clock.now()),
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
    if (this.#outbound.isClosed && !this.#served.size) return; // killed: it says nothing any more
    if (deadLetter !== undefined) this.#medium.bury(deadLetter);
    if (reply !== undefined) this.#medium.reply(reply.to, encodeEnvelope(reply));
  }

  #killed(): void {
    this.#outbound.close();
    for (const leave of this.#served.values()) leave();
  }
}
