// The receiving end of one mailbox in one process: it keeps what was read in lanes, runs the handlers, and acknowledges after they are done.
// The server's delivery count of an entry is how often its handling was begun, so that a message that kills its receiver is counted and one
// that only waited behind it is not.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import { backOffMs } from '../lib/retry.ts';
import type { Receiver, Received } from './receiver.ts';
import { RedisAcknowledger } from './redis-acknowledger.ts';
import { valuesOf, type Command, type RedisWriter } from './redis-connection.ts';
import { compareIds, entriesOf, pendingOf, type Entry, type PendingEntry } from './redis-entries.ts';
import { forgetConsumersScript, group, mailboxesKey, mailboxKeys, type MailboxKeys } from './redis-keys.ts';
import { RedisLanes, type Held } from './redis-lanes.ts';
import type { RedisMaxima } from './redis-maxima.ts';

export interface InboxOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly writer: RedisWriter;
  readonly maxima: RedisMaxima;
  readonly mailbox: string;
  readonly consumer: string;
  /** Of an owned mailbox: unlike that of every other owner. */
  readonly token: string | undefined;
  readonly receiver: Receiver;
  readonly concurrencyMax: number;
  readonly deliveriesMax: number;
  readonly depthMax: number;
}

const pageMax = 1000;
/** Handled entries that are not acknowledged yet. They count against the depth, so that a small mailbox has fewer. */
const gatherMax = 64;
/** So many intervals of keeping after a mailbox was opened, whoever had it before has noticed, or is so late that it begins nothing without looking. */
const predecessorKeeps = 5;

export class RedisInbox {
  readonly keys: MailboxKeys;
  readonly mailbox: string;
  readonly consumer: string;
  readonly isOwned: boolean;
  /** Something may be pending on the server that is not in hand here. */
  isDirty = true;
  /** Called when there is room again. */
  onRoom: () => void = () => undefined;
  readonly #options: InboxOptions;
  readonly #lanes = new RedisLanes();
  readonly #gone = new AbortController();
  readonly #acknowledger: RedisAcknowledger;
  #taking = true;
  #isPumpDue = false;
  /** Handled alone: it waits until nothing else is, and nothing else begins meanwhile. */
  #suspect: { readonly held: Held; isBegun: boolean } | undefined;
  #whenIdle: (() => void) | undefined;
  #confirmedAt: number;
  #claimedAt: number;
  #openedAt = -Infinity;

  constructor(options: InboxOptions) {
    this.#options = options;
    this.mailbox = options.mailbox;
    this.consumer = options.consumer;
    this.keys = mailboxKeys(options.mailbox);
    this.isOwned = options.token !== undefined;
    this.#confirmedAt = options.clock.now();
    this.#claimedAt = -Infinity;
    const { clock, log, writer, maxima, token = '', depthMax } = options;
    this.#acknowledger = new RedisAcknowledger({
      clock, log, writer, maxima, token, keys: this.keys, gatherMax: Math.min(gatherMax, Math.ceil(depthMax / 16)),
      onDone: (ids) => this.#acknowledged(ids), onSuperseded: () => this.#superseded(),
    });
  }

  /**
   * How many more entries it takes. Of an owned mailbox: as many as could be handled, also when others wait for their key. Of a shared one,
   * others can take what there is no room for.
   */
  get room(): number {
    const { concurrencyMax, maxima } = this.#options;
    if (!this.#taking) return 0;
    if (!this.isOwned) return Math.max(0, concurrencyMax - this.#lanes.size);
    return this.#lanes.size < maxima.lookAheadMax ? Math.max(0, concurrencyMax - this.#lanes.running) : 0;
  }

  /** Nothing is to be looked after before the next read of it. */
  get mayReadAhead(): boolean {
    return this.isOwned && !this.isDirty && !this.#isStale;
  }

  /** From the first entry there is, those included that came before anybody read. */
  get createGroup(): Command {
    return ['xgroup', 'CREATE', this.keys.stream, group, '0', 'MKSTREAM'];
  }

  async open(): Promise<void> {
    const { token, writer } = this.#options;
    const replies = await writer.batch([...(token === undefined ? [] : [['set', this.keys.owner, token] as const]), ...this.#standing(), this.createGroup]);
    this.#openedAt = this.#options.clock.now();
    valuesOf(replies.filter((reply) => !('error' in reply && reply.error.message.startsWith('BUSYGROUP'))));
  }

  /** Whatever must be known before more is read. Never beside a read: what was read then would be taken twice. */
  async beforeRead(): Promise<void> {
    const { clock, maxima } = this.#options;
    if (this.#isStale) await this.keep();
    if (this.isDirty) await this.#recover();
    if (!this.isOwned && this.room > 0 && clock.now() - this.#claimedAt >= maxima.claimEveryMs) await this.#claim();
  }

  /** Takes what the server holds as delivered to this consumer and is not in hand: of its last owner, or lost with a connection. */
  async #recover(): Promise<void> {
    const { writer, consumer } = this.#options;
    this.isDirty = false;
    try {
      const byCount = new Map<number, string[]>();
      for (const { id, deliveries } of await this.#pending()) {
        if (!this.#lanes.has(id)) byCount.set(deliveries, [...(byCount.get(deliveries) ?? []), id]);
      }
      const found: { entry: Entry; deliveries: number }[] = [];
      for (const [deliveries, ids] of byCount) {
        const entries = entriesOf(await writer.command('XCLAIM', this.keys.stream, group, consumer, 0, ...ids, 'RETRYCOUNT', deliveries));
        found.push(...entries.map((entry) => ({ entry, deliveries })));
      }
      const inOrder = found.toSorted((one, other) => compareIds(one.entry.id, other.entry.id));
      for (const { entry, deliveries } of inOrder) this.#add(entry, deliveries, deliveries);
    } catch (error) {
      this.isDirty = true;
      throw error;
    }
    this.#pump();
  }

  /** Takes entries that were just delivered. */
  take(entries: readonly Entry[]): void {
    const taken = entries.filter((entry) => !this.#lanes.has(entry.id)).map((entry) => this.#add(entry, 0, 1));
    this.#pump();
    this.#record(taken.filter((held) => !this.#lanes.isBegun(held)));
  }

  /** Every few seconds: makes sure that the mailbox, and what is in hand of it, is still its own. */
  async keep(): Promise<void> {
    if (this.#gone.signal.aborted) return;
    await (this.isOwned ? this.#keepOwned() : this.#keepShared());
    this.#confirmedAt = this.#options.clock.now();
    this.#pump();
  }

  /** Takes nothing more. Resolves when nothing is handled any more, or when given up; the rest is left for others. */
  async drain(givenUp: Promise<void>): Promise<void> {
    this.#taking = false;
    if (this.#gone.signal.aborted) return; // another has it
    if (this.#suspect?.isBegun === false) this.#lanes.pause(this.#suspect.held);
    const idle = new Promise<void>((resolve) => {
      this.#whenIdle = resolve;
    });
    this.#tellIdle();
    await Promise.race([idle, givenUp]);
    this.abandon();
    if (!this.isOwned) await this.#handBack().catch((error: unknown) => this.#warn(error, 'not handed back'));
  }

  stopTaking(): void {
    this.#taking = false;
  }

  /** As if the process had ended: what its handlers still say is not heard. */
  abandon(): void {
    this.#taking = false;
    this.#gone.abort(new Error('the mailbox was left'));
    this.#acknowledger.close();
    this.#whenIdle?.();
  }

  #add({ id, text, key }: Entry, deliveries: number, recorded: number): Held {
    const held: Held = { id, text, key, deliveries, recorded, error: undefined };
    this.#lanes.add(held);
    return held;
  }

  #pump(): void {
    const { concurrencyMax, deliveriesMax, receiver } = this.#options;
    if (this.#isStale) return; // it may be another's by now: keep() looks
    const begun: Held[] = [];
    while (this.#taking && this.#suspect === undefined && this.#lanes.running < concurrencyMax) {
      const held = this.#lanes.next();
      if (held === undefined) break;
      const { deliveries } = held;
      if (deliveries >= deliveriesMax) {
        this.#end(held, receiver.poison(held.text, held.error ?? new Error(`its receivers ended ${deliveries} times with it in hand`)));
      } else if (this.#isSuspicious(held)) {
        this.#suspect = { held, isBegun: false };
      } else {
        begun.push(held);
      }
    }
    if (this.#taking && this.#suspect?.isBegun === false && this.#lanes.running === 1) {
      this.#suspect.isBegun = true;
      begun.push(this.#suspect.held);
    }
    for (const held of begun) held.deliveries += 1;
    this.#record(begun);
    for (const held of begun) void receiver.receive(held.text, held.deliveries).then((received) => this.#received(held, received));
  }

  /**
   * Its receivers ended often, and it never failed by itself: it, or something beside it, ends them. Its last tries are alone, so that it
   * takes nothing with it to the dead letters.
   */
  #isSuspicious({ deliveries, error }: Held): boolean {
    return error === undefined && deliveries > 0 && deliveries >= this.#options.deliveriesMax - 2;
  }

  /** Once for all that end in one turn. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return;
    this.#isPumpDue = true;
    process.nextTick(() => {
      this.#isPumpDue = false;
      this.#pump();
      if (this.room > 0) this.onRoom();
    });
  }

  /** The process was paused, or Redis away, for so long that others may have taken over. */
  get #isStale(): boolean {
    const { clock, maxima } = this.#options;
    return clock.now() - this.#confirmedAt > (this.isOwned ? maxima.keepMs * 3 : maxima.claimIdleMs);
  }

  #received(held: Held, received: Received): void {
    const { log, mailbox, receiver, deliveriesMax, clock, maxima } = this.#options;
    const { deliveries } = held;
    if (received.error !== undefined) log.warn({ mailbox, deliveries, verdict: received.verdict, err: received.error }, 'a handler failed');
    if (this.#gone.signal.aborted) return;
    if (this.#suspect?.held === held) this.#suspect = undefined;
    if (received.verdict === 'done') return this.#end(held, received);
    held.error = received.error;
    if (deliveries >= deliveriesMax) return this.#end(held, receiver.poison(held.text, received.error));
    const resume = this.#lanes.pause(held);
    const pauseMs = backOffMs(deliveries, { firstDelayMs: maxima.retryFirstDelayMs, delayMsMax: maxima.retryDelayMsMax });
    clock.after(Math.max(1, pauseMs), () => {
      resume();
      this.#pump();
    }, { unref: true });
    this.#pumpSoon();
    this.#tellIdle();
  }

  /** Brings the server's count to how often the handling was begun. Not waited for: it is written before the handler can do anything. */
  #record(all: readonly Held[]): void {
    const { writer, consumer } = this.#options;
    const wrong = all.filter(({ deliveries, recorded }) => deliveries !== recorded);
    for (const count of new Set(wrong.map(({ deliveries }) => deliveries))) {
      const these = wrong.filter(({ deliveries }) => deliveries === count);
      for (const held of these) held.recorded = count;
      writer.command('XCLAIM', this.keys.stream, group, consumer, 0, ...these.map(({ id }) => id), 'RETRYCOUNT', count, 'JUSTID')
        .catch((error: unknown) => this.#warn(error, 'a delivery was not counted'));
    }
  }

  #end(held: Held, { reply, deadLetter }: Received): void {
    if (deadLetter !== undefined) {
      const { id, type, to, reason, error } = deadLetter;
      this.#options.log.warn({ id, type, to, reason, error }, 'dead letter');
    }
    this.#lanes.done(held);
    this.#acknowledger.add({ id: held.id, reply, ...(deadLetter === undefined ? {} : { deadLetter }) });
    this.#pumpSoon();
  }

  async #keepOwned(): Promise<void> {
    const { writer, token = '', clock, maxima } = this.#options;
    // A predecessor that has not looked yet whether it is the owner still reads, and leaves behind what it read.
    if (clock.now() - this.#openedAt < maxima.keepMs * predecessorKeeps) this.isDirty = true;
    const [owner] = valuesOf((await writer.batch([['set', this.keys.owner, token, 'NX', 'GET'], ...this.#standing()])).slice(0, 1));
    if (owner !== null && owner !== token) this.#superseded();
  }

  /** What was taken from it while it was paused is no longer its own; the rest it claims anew, so that long work is not taken from it. */
  async #keepShared(): Promise<void> {
    const { writer, consumer } = this.#options;
    const before = this.#lanes.all();
    await writer.batch(this.#standing());
    const mine = new Set((await this.#pending()).map(({ id }) => id));
    for (const held of before) if (!mine.has(held.id) && !this.#lanes.isBegun(held)) this.#lanes.forget(held.id);
    const kept = before.map(({ id }) => id).filter((id) => mine.has(id) && this.#lanes.has(id));
    if (kept.length > 0) await writer.command('XCLAIM', this.keys.stream, group, consumer, 0, ...kept, 'JUSTID');
    this.onRoom();
  }

  /** Takes what receivers that are gone had in hand, as much as there is room for. */
  async #claim(): Promise<void> {
    const { writer, consumer, clock, maxima } = this.#options;
    this.#claimedAt = clock.now();
    await writer.command('XAUTOCLAIM', this.keys.stream, group, consumer, maxima.claimIdleMs, '0', 'COUNT', this.room, 'JUSTID');
    await this.#recover();
    await writer.command('EVAL', forgetConsumersScript, 1, this.keys.stream, maxima.consumerIdleMs);
  }

  /** What it has in hand of a shared mailbox becomes free for the next that looks, and its consumer is forgotten. */
  async #handBack(): Promise<void> {
    const { writer, maxima, consumer } = this.#options;
    const pending = await this.#pending();
    for (const { id, deliveries } of pending) {
      await writer.command('XCLAIM', this.keys.stream, group, 'nobody', 0, id, 'IDLE', maxima.claimIdleMs * 2, 'RETRYCOUNT', deliveries, 'JUSTID');
    }
    if (pending.length === 0) await writer.command('XGROUP', 'DELCONSUMER', this.keys.stream, group, consumer);
  }

  async #pending(): Promise<readonly PendingEntry[]> {
    const { writer, consumer } = this.#options;
    const all: PendingEntry[] = [];
    for (let from = '-'; ;) {
      const page = pendingOf(await writer.command('XPENDING', this.keys.stream, group, from, '+', pageMax, consumer));
      all.push(...page);
      if (page.length < pageMax) return all;
      from = `(${page.at(-1)?.id ?? ''}`;
    }
  }

  /** What keeps the mailbox known to all, also after Redis was emptied. */
  #standing(): readonly Command[] {
    const { concurrencyMax, depthMax, mailbox } = this.#options;
    return [['set', this.keys.limit, depthMax + concurrencyMax], ['sadd', mailboxesKey, mailbox]];
  }

  #acknowledged(ids: readonly string[]): void {
    for (const id of ids) this.#lanes.forget(id);
    this.onRoom();
    this.#tellIdle();
  }

  #tellIdle(): void {
    if (!this.#taking && this.#lanes.running === 0 && this.#acknowledger.size === 0) this.#whenIdle?.();
  }

  #superseded(): void {
    if (this.#gone.signal.aborted) return;
    this.#options.log.error({ mailbox: this.mailbox }, 'another process has taken this mailbox: nothing more of it is handled here');
    this.abandon();
  }

  #warn(error: unknown, what: string): void {
    this.#options.log.warn({ mailbox: this.mailbox, error: messageOf(error) }, what);
  }
}
