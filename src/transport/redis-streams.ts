// Mailboxes in Redis streams, between any number of processes and hosts (docs/decisions/0006). A message is stored when Redis has it, is
// acknowledged after its handler, and comes again when the process that had it in hand is gone. What is promised and what is not is the
// contract of transport.ts; what is lost with Redis itself is found again in the database.
import type { Clock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import { newMessageId } from '../lib/ids.ts';
import type { Log } from '../lib/log.ts';
import { decodeEnvelope, encodeEnvelope, type Envelope } from '../messages/envelope.ts';
import type { AskVerb, BodyOf, Handlers, MessageTable, Protocol, ReplyOf, Role, TellVerb } from '../messages/protocol.ts';
import { revivedEnvelope } from './codec.ts';
import { hostsIn, ownedService, type Announcement, type Directory } from './directory.ts';
import { Outbound } from './outbound.ts';
import { Receiver, type ReceiverOptions } from './receiver.ts';
import { RedisBlockingConnection, RedisWriter, valuesOf, type RedisConnectionOptions } from './redis-connection.ts';
import { listDeadLetters, listDepths, removeDeadLetter } from './redis-dead-letters.ts';
import { RedisInbox } from './redis-inbox.ts';
import { mailboxesKey, ownerConsumer } from './redis-keys.ts';
import { redisMaximaDefault, type RedisMaxima } from './redis-maxima.ts';
import { putCommand, RedisPutter } from './redis-putter.ts';
import { RedisReader } from './redis-reader.ts';
import { RedisReplies } from './redis-replies.ts';
import {
  addressText, concurrencyMaxDefault, deliveriesMaxDefault, depthMaxDefault, TransportError, type Address, type DeadLetter, type Delivery,
  type MailboxDepth, type OutboxMessage, type SendOptions, type ServeOptions, type Subscription, type Transport, type TransportHealth,
} from './transport.ts';

export interface RedisTransportOptions {
  readonly url: string;
  /** The authority's certificate, PEM. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Unique in the cloud, over restarts too: `compute@h1#4711-9f3c`. */
  readonly process: string;
  readonly directory: Directory;
  readonly maxima?: Partial<RedisMaxima> | undefined;
}

export interface RedisTransport extends Transport {
  /** Ends as `kill -9` would: nothing is said any more, and what was in hand comes again to another. */
  abandon(): void;
}

const closeDeadlineMs = 5000;

/** Connects in the background. Refuses an address of Redis that cannot be read. */
export const createRedisTransport = (options: RedisTransportOptions): RedisTransport => new RedisStreamTransport(options);

interface Served {
  readonly inbox: RedisInbox;
  readonly reader: RedisReader;
  readonly announcement: Announcement | undefined;
}

class RedisStreamTransport implements RedisTransport {
  readonly #options: RedisTransportOptions;
  readonly #maxima: RedisMaxima;
  readonly #log: Log;
  readonly #connection: RedisConnectionOptions;
  readonly #writer: RedisWriter;
  readonly #putter: RedisPutter;
  readonly #outbound: Outbound;
  readonly #replies: RedisReplies;
  readonly #owned: RedisReader;
  readonly #served = new Map<Subscription, Served>();
  readonly #known = new Set<string>();
  readonly #ended = new AbortController();
  #tokens = 0;

  constructor(options: RedisTransportOptions) {
    const { clock, process } = options;
    this.#options = options;
    this.#log = options.log.child({ process });
    this.#maxima = { ...redisMaximaDefault, ...options.maxima };
    this.#connection = { url: options.url, ca: options.ca, clock, log: this.#log, commandTimeoutMs: this.#maxima.commandTimeoutMs };
    this.#writer = new RedisWriter(this.#connection);
    this.#putter = new RedisPutter(this.#writer);
    this.#outbound = new Outbound({ clock, log: this.#log, process, store: (envelope, text) => this.#send(envelope, text) });
    this.#replies = new RedisReplies({ ...this.#parts(), process, replied: (text) => this.#outbound.replied(text) });
    this.#owned = new RedisReader({ ...this.#parts(), consumer: ownerConsumer });
    void this.#keep();
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
    const mailbox = addressText(address);
    if (role !== protocol.role) throw new TransportError('invalid', `${mailbox} does not take messages of ${protocol.role}`);
    const isOwned = host !== undefined;
    if (isOwned && [...this.#served.values()].some(({ inbox }) => inbox.mailbox === mailbox)) {
      throw new TransportError('invalid', `${mailbox} has its owner already`);
    }
    const inbox = this.#inbox(address, protocol, handlers as unknown as ReceiverOptions['handlers'], options); // each gets what its own schema has parsed
    const reader = isOwned ? this.#owned : new RedisReader({ ...this.#parts(), consumer: inbox.consumer });
    const subscription: Subscription = {
      stop: (deadlineMs) => this.#stop(subscription, deadlineMs),
      isHeld: () => this.#served.get(subscription)?.announcement?.held() ?? true,
    };
    this.#served.set(subscription, { inbox, reader, announcement: undefined });
    try {
      await inbox.open();
      const { process, directory } = this.#options;
      const announcement = isOwned ? await directory.announce(ownedService({ role, host, process }, options)) : undefined;
      this.#served.set(subscription, { inbox, reader, announcement });
    } catch (error) {
      this.#served.delete(subscription);
      throw error;
    }
    this.#outbound.assertOpen();
    this.#known.add(mailbox);
    reader.add(inbox);
    return subscription;
  }

  hosts(role: Role): Promise<readonly string[]> {
    return hostsIn(this.#options.directory, role);
  }

  async deadLetters(): Promise<readonly DeadLetter[]> {
    return (await listDeadLetters(this.#writer)).map(({ letter }) => letter);
  }

  async requeue(id: string): Promise<boolean> {
    const filed = (await listDeadLetters(this.#writer)).find(({ letter }) => letter.id === id);
    const revived = filed?.letter.envelope === undefined ? undefined : revivedEnvelope(filed.letter.envelope);
    if (filed === undefined || revived === undefined) return false;
    await this.#put(revived, encodeEnvelope(revived));
    await removeDeadLetter(this.#writer, filed);
    return true;
  }

  async drop(id: string): Promise<boolean> {
    const filed = (await listDeadLetters(this.#writer)).find(({ letter }) => letter.id === id);
    return filed !== undefined && removeDeadLetter(this.#writer, filed);
  }

  async deliver(messages: readonly OutboxMessage[]): Promise<readonly string[]> {
    this.#outbound.assertOpen();
    const groups = [...groupBy(messages, ({ mailbox }) => mailbox)];
    const replies = await this.#writer.batch(groups.map(([mailbox, several]) => {
      this.#introduce(mailbox);
      return putCommand(mailbox, several.map(({ envelope }) => ({ key: orderKeyIn(envelope), text: envelope })));
    }));
    // A mailbox that could not be written to now is tried again, with what was not stored of a full one.
    if (replies.length > 0 && replies.every((reply) => 'error' in reply)) valuesOf(replies);
    return groups.flatMap(([, several], index) => {
      const reply = replies[index];
      return several.slice(0, reply === undefined || 'error' in reply ? 0 : Number(reply.value)).map(({ id }) => id);
    });
  }

  depths(): Promise<readonly MailboxDepth[]> {
    return listDepths(this.#writer);
  }

  health(): TransportHealth {
    const readers = new Set([this.#owned, ...Array.from(this.#served.values(), ({ reader }) => reader)]);
    return { readerLagMs: Math.max(this.#replies.lagMs, ...Array.from(readers, ({ lagMs }) => lagMs)) };
  }

  async close(): Promise<void> {
    if (this.#outbound.isClosed) return;
    this.#outbound.close();
    await Promise.all(Array.from(this.#served.keys(), (subscription) => subscription.stop(closeDeadlineMs)));
    await this.#replies.remove().catch(() => undefined); // it expires
    this.#disconnect();
  }

  abandon(): void {
    this.#outbound.close();
    for (const { inbox, reader } of this.#served.values()) {
      inbox.abandon();
      reader.close();
    }
    this.#served.clear();
    this.#disconnect();
  }

  #parts() {
    const { clock } = this.#options;
    return { clock, log: this.#log, writer: this.#writer, maxima: this.#maxima, connection: new RedisBlockingConnection(this.#connection) };
  }

  #inbox({ role, host }: Address, { table }: Protocol, handlers: ReceiverOptions['handlers'], options: ServeOptions): RedisInbox {
    const { clock, process } = this.#options;
    const mailbox = addressText(host === undefined ? { role } : { role, host });
    this.#tokens += 1;
    const own = `${process}/${this.#tokens}`;
    return new RedisInbox({
      clock, log: this.#log, writer: this.#writer, maxima: this.#maxima, mailbox,
      consumer: host === undefined ? own : ownerConsumer, token: host === undefined ? undefined : own,
      receiver: new Receiver({ clock, process, mailbox, role, table, handlers, newId: () => newMessageId(clock.now()) }),
      concurrencyMax: options.concurrencyMax ?? concurrencyMaxDefault,
      deliveriesMax: options.deliveriesMax ?? deliveriesMaxDefault,
      depthMax: options.depthMax ?? depthMaxDefault,
    });
  }

  async #stop(subscription: Subscription, deadlineMs: number): Promise<void> {
    const served = this.#served.get(subscription);
    if (served === undefined) return;
    const { inbox, reader, announcement } = served;
    inbox.stopTaking();
    const late = new AbortController();
    const givenUp = this.#options.clock.sleep(deadlineMs, late.signal).catch(() => undefined); // aborted when all is done in time
    const withdrawn = announcement?.withdraw().catch((error: unknown) => this.#log.warn({ error: messageOf(error) }, 'not withdrawn: the lease runs out'));
    await Promise.race([Promise.all([withdrawn, reader.remove(inbox)]), givenUp]);
    await inbox.drain(givenUp);
    late.abort();
    if (reader !== this.#owned) reader.close();
    this.#served.delete(subscription);
  }

  #send(envelope: Envelope, text: string): Promise<void> {
    const ready = envelope.replyTo === undefined ? undefined : this.#replies.ready();
    return ready === undefined ? this.#put(envelope, text) : ready.then(() => this.#put(envelope, text));
  }

  #put({ to, orderKey }: Envelope, text: string): Promise<void> {
    this.#introduce(to);
    return this.#putter.put(to, { key: orderKey, text });
  }

  /** Makes a mailbox known to all; keep() repeats it. */
  #introduce(mailbox: string): void {
    if (this.#known.has(mailbox)) return;
    this.#known.add(mailbox);
    this.#writer.command('SADD', mailboxesKey, mailbox).catch(() => this.#known.delete(mailbox));
  }

  async #keep(): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      try {
        await clock.sleep(this.#maxima.keepMs, this.#ended.signal);
      } catch {
        return; // ended
      }
      const known = [...this.#known];
      const work: Promise<unknown>[] = Array.from(this.#served.values(), ({ inbox }) => inbox.keep());
      if (known.length > 0) work.push(this.#writer.command('SADD', mailboxesKey, ...known));
      for (const result of await Promise.allSettled(work)) {
        if (result.status === 'rejected') this.#log.debug({ error: messageOf(result.reason) }, 'the mailboxes were not looked after');
      }
    }
  }

  #disconnect(): void {
    this.#ended.abort(new Error('the transport has ended'));
    this.#owned.close();
    this.#replies.close();
    this.#writer.close();
  }
}

function orderKeyIn(text: string): string | undefined {
  const decoded = decodeEnvelope(text);
  return 'envelope' in decoded ? decoded.envelope.orderKey : undefined;
}

/** Throws SetupError for a Redis that would lose messages: called once, before a process begins. */
export async function inspectRedis(options: Pick<RedisTransportOptions, 'url' | 'ca' | 'clock' | 'log'>): Promise<void> {
  const writer = new RedisWriter({ ...options, commandTimeoutMs: redisMaximaDefault.commandTimeoutMs });
  try {
    const info = String(await writer.command('INFO'));
    const about = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? '';
    if (Number.parseInt(about('redis_version'), 10) < 7) throw new SetupError(`Redis ${about('redis_version')} is too old`, 'Run Redis 7.0 or later.');
    if (about('maxmemory_policy') !== 'noeviction') {
      throw new SetupError(`Redis would forget messages when it is full (${about('maxmemory_policy')})`, 'Set maxmemory-policy noeviction in redis.conf.');
    }
    if (about('aof_enabled') !== '1') options.log.warn('Redis keeps no log of its changes (appendonly no): after a restart of it, work waits for the sweepers');
  } finally {
    writer.close();
  }
}
