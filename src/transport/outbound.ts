// The sending half that all transports share: it checks and builds envelopes, keeps the reply-actors, and expands a fan-out. Where a text
// is stored is the transport's own.
import { newMessageId } from '../lib/ids.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { decodeEnvelope, encodeEnvelope, envelopeVersion, traceOf, type Envelope } from '../messages/envelope.ts';
import type { Protocol, Role } from '../messages/protocol.ts';
import { OpenAsks } from './asks.ts';
import { entryFor, orderKeyOf, throughJson } from './codec.ts';
import { addressText, TransportError, type Address, type SendOptions } from './transport.ts';

export interface OutboundOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** The name of this process, and of its reply mailbox. */
  readonly process: string;
  /** Puts a text into a mailbox. Throws or rejects with TransportError. A promise is awaited, anything else is done at once. */
  readonly store: (envelope: Envelope, text: string) => Promise<void> | void;
}

/** What is sent, checked by nobody yet. */
export interface Message {
  readonly to: Address;
  readonly protocol: Protocol;
  readonly verb: string;
  readonly body: unknown;
  readonly options: SendOptions;
}

const askTimeoutMsDefault = 30_000;
const asksMax = 10_000;

export class Outbound {
  readonly #options: OutboundOptions;
  readonly #asks: OpenAsks;
  #closed = false;

  constructor(options: OutboundOptions) {
    this.#options = options;
    this.#asks = new OpenAsks(options.clock);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Rejects; never throws. Not async itself: a promise more for every message. */
  tell(message: Message): Promise<void> {
    try {
      this.assertOpen();
      return this.#send(message, newMessageId(this.#options.clock.now())) ?? Promise.resolve();
    } catch (error) {
      return Promise.reject(error as Error); // whatever it was
    }
  }

  /** The answer, parsed by the schema of its verb. */
  async ask(message: Message): Promise<unknown> {
    this.assertOpen();
    const { protocol, verb, options } = message;
    const { process, clock } = this.#options;
    const { timeoutMs = askTimeoutMsDefault } = options;
    const type = `${protocol.role}.${verb}`;
    const { reply } = entryFor(protocol, verb);
    if (reply === undefined) throw new TransportError('invalid', `${type} has no answer: tell it`);
    if (!(timeoutMs > 0)) throw new TransportError('expired', `${type} had no time left`);
    if (this.#asks.size >= asksMax) throw new TransportError('mailboxFull', `${asksMax} asks of ${process} are open`);
    const id = newMessageId(clock.now());
    const answer = this.#asks.wait(id, { type, schema: reply, timeoutMs });
    try {
      const stored = this.#send({ ...message, options: { ...options, timeoutMs } }, id, { mailbox: process, actor: id });
      stored?.catch((error: unknown) => this.#asks.fail(id, error)); // the answer may be here before the word that it was stored
    } catch (error) {
      this.#asks.fail(id, error);
    }
    return answer;
  }

  /** One tell to each of the hosts; those with a full mailbox are left out of the answer. */
  async fanOut(hosts: readonly string[], message: Omit<Message, 'to'> & { readonly role: Role }): Promise<readonly string[]> {
    const { role, ...rest } = message;
    const written = await Promise.all(hosts.map(async (host) => {
      try {
        await this.tell({ ...rest, to: { role, host } });
        return host;
      } catch (error) {
        if (!(error instanceof TransportError && error.kind === 'mailboxFull')) throw error;
        this.#options.log.warn({ to: addressText({ role, host }), verb: message.verb }, 'not written: the mailbox is full');
        return undefined;
      }
    }));
    return written.filter((host) => host !== undefined);
  }

  /** Takes a reply as text. */
  replied(text: string): void {
    const { log } = this.#options;
    const decoded = decodeEnvelope(text);
    if ('undecodable' in decoded) return log.error({ error: decoded.undecodable.error }, 'a reply could not be read');
    if (!this.#asks.settle(decoded.envelope)) log.debug({ correlation: decoded.envelope.correlation }, 'a reply came too late');
  }

  /** Rejects what is open, and everything after it. */
  close(): void {
    this.#closed = true;
    this.#asks.failAll(this.#closedError());
  }

  assertOpen(): void {
    if (this.#closed) throw this.#closedError();
  }

  #closedError(): TransportError {
    return new TransportError('closed', `the transport of ${this.#options.process} is closed`);
  }

  #send({ to, protocol, verb, body, options }: Message, id: string, replyTo?: Envelope['replyTo']): Promise<void> | void {
    const { timeoutMs, requestId, orderKey } = options;
    const type = `${protocol.role}.${verb}`;
    if (to.role !== protocol.role) throw new TransportError('invalid', `${addressText(to)} does not take ${type}`);
    const json = throughJson(body, entryFor(protocol, verb).body, type);
    const key = orderKey ?? orderKeyOf(json);
    const { clock, process, store } = this.#options;
    const envelope: Envelope = {
      v: envelopeVersion,
      id,
      type,
      to: addressText(to),
      from: process,
      ...(replyTo === undefined ? {} : { replyTo }),
      ...(timeoutMs === undefined || timeoutMs === Infinity ? {} : { deadline: clock.now() + timeoutMs }),
      ...(key === undefined ? {} : { orderKey: key }),
      ...(requestId === undefined ? {} : { requestId }),
      trace: traceOf(id, requestId),
      body: json,
    };
    return store(envelope, encodeEnvelope(envelope));
  }
}
