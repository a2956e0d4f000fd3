// One mailbox in memory. Messages wait in lanes, one for each order key; a lane gives out one message at a time and
// keeps it at its head until it is done, so that order survives retries and dead consumers.
import type { Clock } from '../lib/clock.ts';
import { backOffMs } from '../lib/retry.ts';
import { Fifo } from './fifo.ts';

interface Entry {
  readonly text: string;
  deliveries: number;
  error: unknown;
}

interface Lane {
  readonly key: string | undefined;
  readonly entries: Fifo<Entry>;
  /** Its head is in hand or waits for its next try. */
  held: boolean;
  ready: boolean;
}

interface Hold {
  readonly lane: Lane;
  readonly entry: Entry;
}

export interface MailboxMaxima {
  readonly retryFirstDelayMs: number;
  readonly retryDelayMsMax: number;
}

/** Somebody who takes messages. */
export interface Consumer {
  readonly concurrencyMax: number;
  readonly deliveriesMax: number;
  /** Must not reject. */
  handle(text: string, deliveries: number): Promise<{ verdict: 'done' | 'again'; error?: unknown }>;
  /** The message came too often and is dropped. */
  poisoned(text: string, error: unknown): void;
}

class Taker {
  readonly consumer: Consumer;
  readonly holds = new Set<Hold>();
  taking = true;
  whenDone: (() => void) | undefined;

  constructor(consumer: Consumer) {
    this.consumer = consumer;
  }

  get free(): boolean {
    return this.taking && this.holds.size < this.consumer.concurrencyMax;
  }
}

export class LocalMailbox {
  readonly name: string;
  depthMax: number;
  readonly #clock: Clock;
  readonly #maxima: MailboxMaxima;
  readonly #lanes = new Map<string, Lane>();
  readonly #ready = new Fifo<Lane>();
  readonly #takers = new Map<Consumer, Taker>();
  #waiting = 0;
  #pumping = false;
  #turn = 0;

  constructor(options: { name: string; clock: Clock; depthMax: number; maxima: MailboxMaxima }) {
    this.name = options.name;
    this.#clock = options.clock;
    this.depthMax = options.depthMax;
    this.#maxima = options.maxima;
  }

  get waiting(): number {
    return this.#waiting;
  }

  get inHand(): number {
    let sum = 0;
    for (const taker of this.#takers.values()) sum += taker.holds.size;
    return sum;
  }

  get consumers(): number {
    return this.#takers.size;
  }

  /** False when the mailbox is full. Without a key the message has no order. */
  put(text: string, key: string | undefined): boolean {
    if (this.#waiting >= this.depthMax) return false;
    let lane = key === undefined ? undefined : this.#lanes.get(key);
    if (lane === undefined) {
      lane = { key, entries: new Fifo(), held: false, ready: false };
      if (key !== undefined) this.#lanes.set(key, lane);
    }
    lane.entries.push({ text, deliveries: 0, error: undefined });
    this.#waiting += 1;
    this.#offer(lane);
    return true;
  }

  /** Forgets what waits, also what waits for its next try. */
  empty(): void {
    for (const lane of this.#lanes.values()) while (lane.entries.shift() !== undefined);
    for (let lane = this.#ready.shift(); lane !== undefined; lane = this.#ready.shift()) {
      lane.ready = false;
      if (lane.key !== undefined) this.#lanes.delete(lane.key);
    }
    this.#waiting = 0;
  }

  attach(consumer: Consumer): void {
    this.#takers.set(consumer, new Taker(consumer));
    this.#schedule();
  }

  /** Gives the consumer nothing more; resolves when nothing is in its hand, or when `given up` does. */
  async drain(consumer: Consumer, givenUp: Promise<void>): Promise<void> {
    const taker = this.#takers.get(consumer);
    if (taker === undefined) return;
    taker.taking = false;
    const done = new Promise<void>((resolve) => {
      taker.whenDone = resolve;
      if (taker.holds.size === 0) resolve();
    });
    await Promise.race([done, givenUp]);
    this.detach(consumer);
  }

  /** The consumer is gone: what it had in hand comes again, first in its lane; what it still says about it is not heard. */
  detach(consumer: Consumer): void {
    const taker = this.#takers.get(consumer);
    if (taker === undefined) return;
    this.#takers.delete(consumer);
    for (const { lane, entry } of taker.holds) this.#putBack(lane, entry, 0);
    taker.holds.clear();
    taker.whenDone?.();
  }

  #putBack(lane: Lane, entry: Entry, pauseMs: number): void {
    lane.entries.unshift(entry);
    this.#waiting += 1;
    const free = (): void => {
      lane.held = false;
      this.#offer(lane);
    };
    if (pauseMs === 0) free();
    else this.#clock.after(pauseMs, free, { unref: true });
  }

  #offer(lane: Lane): void {
    if (lane.held || lane.ready) return;
    if (lane.entries.length === 0) {
      if (lane.key !== undefined) this.#lanes.delete(lane.key);
      return;
    }
    lane.ready = true;
    this.#ready.push(lane);
    this.#schedule();
  }

  /** Never within the caller: whoever sends does not run the receiver, and the event loop turns in between. */
  #schedule(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#ready.length > 0) {
      const taker = this.#nextTaker();
      const lane = taker === undefined ? undefined : this.#ready.shift();
      if (taker === undefined || lane === undefined) return;
      lane.ready = false;
      const entry = lane.entries.shift();
      if (entry === undefined) continue;
      this.#waiting -= 1;
      lane.held = true;
      this.#give(taker, { lane, entry });
    }
  }

  /** In turn, so that several processes share the work. */
  #nextTaker(): Taker | undefined {
    const takers = [...this.#takers.values()];
    for (let step = 0; step < takers.length; step += 1) {
      this.#turn += 1;
      const taker = takers[this.#turn % takers.length];
      if (taker?.free === true) return taker;
    }
    return undefined;
  }

  #give(taker: Taker, hold: Hold): void {
    const { consumer } = taker;
    const { entry } = hold;
    if (entry.deliveries >= consumer.deliveriesMax) return this.#drop(consumer, hold); // its receivers died with it in hand
    entry.deliveries += 1;
    taker.holds.add(hold);
    void consumer.handle(entry.text, entry.deliveries).then((outcome) => this.#settle(taker, hold, outcome));
  }

  #settle(taker: Taker, hold: Hold, outcome: { verdict: 'done' | 'again'; error?: unknown }): void {
    if (!taker.holds.delete(hold)) return; // taken from it meanwhile
    const { lane, entry } = hold;
    if (outcome.verdict === 'done') this.#release(lane);
    else {
      entry.error = outcome.error;
      if (entry.deliveries >= taker.consumer.deliveriesMax) this.#drop(taker.consumer, hold);
      else this.#putBack(lane, entry, this.#pauseMs(entry));
    }
    if (taker.holds.size === 0) taker.whenDone?.();
    if (this.#ready.length > 0) this.#schedule();
  }

  #drop(consumer: Consumer, { lane, entry }: Hold): void {
    consumer.poisoned(entry.text, entry.error ?? new Error(`its receivers ended ${entry.deliveries} times with it in hand`));
    this.#release(lane);
  }

  #release(lane: Lane): void {
    lane.held = false;
    this.#offer(lane);
  }

  #pauseMs(entry: Entry): number {
    const { retryFirstDelayMs, retryDelayMsMax } = this.#maxima;
    return Math.max(1, backOffMs(entry.deliveries, { firstDelayMs: retryFirstDelayMs, delayMsMax: retryDelayMsMax }));
  }
}
