// Mailboxes between roles, wherever they run. Contract (spec/contract/transport.spec.ts): an envelope crosses encoded;
// it is acknowledged after the handler is done; a handler that fails or whose process dies gets it again, at most
// `deliveriesMax` times, then it is a dead letter; order holds per mailbox and `orderKey`; mailboxes are bounded and refuse with
// MailboxFull; past its deadline a message is answered `expired` and not executed. At-least-once: handlers are idempotent.
import type { ServiceRecord } from './directory.ts';
import type { AskVerb, BodyOf, Handlers, Protocol, MessageTable, ReplyOf, Role, TellVerb } from '../messages/protocol.ts';

/** `compute@host1` (owned by one host) or `scheduler` (shared by all of the role). */
export interface Address {
  readonly role: Role;
  readonly host?: string;
}

export interface SendOptions {
  readonly requestId?: string;
  /** Milliseconds from now. Default for ask: 30 s; a tell without one never expires. */
  readonly timeoutMs?: number;
  /**
   * Messages of one mailbox with the same key are handled one after another, in order of sending. Default: a verb's `instanceId`
   * or `imageId`, if its body has one.
   */
  readonly orderKey?: string;
}

/** What a handler learns beside the body. */
export interface Delivery {
  readonly id: string;
  readonly requestId: string | undefined;
  readonly deadline: number | undefined;
  /** 1 for the first time. */
  readonly deliveries: number;
}

export interface ServeOptions {
  /** What the directory says of it, for an owned mailbox: the epoch taken in the database, the release, where it is reached. */
  readonly service?: Partial<Pick<ServiceRecord, 'epoch' | 'version' | 'address' | 'hints'>>;
  /** Messages handled at once, over all order keys. Default 16. */
  readonly concurrencyMax?: number;
  /** Messages that may wait; beyond it senders get MailboxFull. Default 10 000. */
  readonly depthMax?: number;
  readonly deliveriesMax?: number;
}

export interface DeadLetter {
  readonly id: string;
  /** The encoded envelope, for show and requeue; absent when it was not kept. */
  readonly envelope?: string | undefined;
  readonly type: string;
  readonly to: string;
  readonly reason: 'expired' | 'poison' | 'invalid' | 'unknownType' | 'unknownVersion' | 'noReceiver';
  readonly error: string | undefined;
  readonly at: number;
}

/** A message that the database has kept until it can be sent. */
export interface OutboxMessage {
  readonly id: string;
  /** `scheduler`, `compute@h1`. */
  readonly mailbox: string;
  /** The encoded envelope. */
  readonly envelope: string;
}

/** What carries the outbox of this process's transactions to the mailboxes. */
export interface Relay {
  /** After a commit that wrote to the outbox: sends it now instead of a little later. Costs nothing, never throws. */
  kick(): void;
  /** May more work be written for this mailbox? False while it is full, or too much waits to be sent. */
  accepts(mailbox: string): boolean;
}

export interface Subscription {
  /** Stops taking messages, and waits for those in hand, at most until the deadline. What is not handled stays in the mailbox. */
  stop(deadlineMs: number): Promise<void>;
  /** Does the directory count the owner of this mailbox among the living? True for a shared mailbox, which has none. */
  isHeld(): boolean;
}

export interface MailboxDepth {
  readonly mailbox: string;
  readonly waiting: number;
  readonly inHand: number;
}

export interface TransportHealth {
  /** Since the last successful read of the mailbox that was silent longest; 0 when nothing is read over a network. Above 5 000 it is deaf. */
  readonly readerLagMs: number;
}

export interface Transport {
  /**
   * Resolves when the message is stored in the mailbox (not when it is handled). Rejects with TransportError `mailboxFull`. A mailbox
   * without a receiver keeps what it gets until there is one.
   */
  tell<Table extends MessageTable, Verb extends TellVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options?: SendOptions,
  ): Promise<void>;

  /**
   * Sends with a reply-actor and resolves with its answer. Rejects with TransportError `timeout`, `mailboxFull`, `expired`, or
   * `remote` carrying the receiver's error.
   */
  ask<Table extends MessageTable, Verb extends AskVerb<Table>>(
    to: Address, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options?: SendOptions,
  ): Promise<ReplyOf<Table[Verb]>>;

  /** One tell to each live host of a role. Resolves with the hosts written to. */
  fanOut<Table extends MessageTable, Verb extends TellVerb<Table>>(
    role: Role, protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>, options?: SendOptions,
  ): Promise<readonly string[]>;

  /** Takes messages of the mailbox. Each body has passed the protocol's schema. Serving an owned mailbox announces the host in the directory. */
  serve<Table extends MessageTable>(
    address: Address, protocol: Protocol<Table>, handlers: Handlers<Table, Delivery>, options?: ServeOptions,
  ): Promise<Subscription>;

  /** Hosts that serve the role now. */
  hosts(role: Role): Promise<readonly string[]>;

  /** The newest come last. */
  deadLetters(): Promise<readonly DeadLetter[]>;
  /** Puts a dead letter back into its mailbox as a new message without a deadline. False: there is none of that id. */
  requeue(id: string): Promise<boolean>;
  /** Forgets a dead letter. False: there is none of that id. */
  drop(id: string): Promise<boolean>;
  /**
   * Puts envelopes of the outbox into their mailboxes, in order, in one go. Resolves with the ids that were stored (or were found not to be
   * storable ever, and are dead letters); those of a full mailbox are not among them and are tried again later.
   */
  deliver(messages: readonly OutboxMessage[]): Promise<readonly string[]>;
  depths(): Promise<readonly MailboxDepth[]>;
  /** Does this process still hear from its mailboxes? */
  health(): TransportHealth;

  /** Stops everything; pending asks are rejected with `closed`. */
  close(): Promise<void>;
}

/** `unavailable`: what carries the messages is not reached. The message may have been stored all the same. */
export type TransportErrorKind = 'mailboxFull' | 'unavailable' | 'timeout' | 'expired' | 'remote' | 'closed' | 'invalid';

/** A typed refusal of the transport. For `remote`, `remote` tells what the receiver threw. */
export class TransportError extends Error {
  override readonly name = 'TransportError';
  readonly kind: TransportErrorKind;
  readonly remote: { readonly name: string; readonly code?: string; readonly message: string } | undefined;

  constructor(kind: TransportErrorKind, message: string, remote?: { name: string; code?: string; message: string }) {
    super(message);
    this.kind = kind;
    this.remote = remote;
  }
}

/** Of ServeOptions, for those who implement a transport. */
export const concurrencyMaxDefault = 16;
export const deliveriesMaxDefault = 5;
export const depthMaxDefault = 10_000;

export const addressText = (address: Address): string => (address.host === undefined ? address.role : `${address.role}@${address.host}`);
