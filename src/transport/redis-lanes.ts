// What one receiver of a stream has in hand. Entries wait in lanes, one for each order key; a lane lets one entry at a time be handled and
// keeps it at its head until it is done, so that a busy key holds up nothing but itself.
import { Fifo } from './fifo.ts';

export interface Held {
  /** Of the entry in the stream. */
  readonly id: string;
  readonly text: string;
  readonly key: string | undefined;
  /** How often handling was begun. */
  deliveries: number;
  /** What the server has as its deliveries. */
  recorded: number;
  error: unknown;
}

interface Lane {
  readonly key: string | undefined;
  readonly waiting: Fifo<Held>;
  busy: boolean;
  ready: boolean;
}

export class RedisLanes {
  readonly #held = new Map<string, Held>();
  readonly #begun = new Map<Held, Lane>();
  readonly #lanes = new Map<string, Lane>();
  readonly #ready = new Fifo<Lane>();
  #running = 0;

  /** All that is in hand, until it is forgotten. */
  get size(): number {
    return this.#held.size;
  }

  /** Being handled, pauses not counted. */
  get running(): number {
    return this.#running;
  }

  has(id: string): boolean {
    return this.#held.has(id);
  }

  all(): readonly Held[] {
    return [...this.#held.values()];
  }

  add(held: Held): void {
    this.#held.set(held.id, held);
    const { key } = held;
    let lane = key === undefined ? undefined : this.#lanes.get(key);
    if (lane === undefined) {
      lane = { key, waiting: new Fifo(), busy: false, ready: false };
      if (key !== undefined) this.#lanes.set(key, lane);
    }
    lane.waiting.push(held);
    this.#offer(lane);
  }

  /** The next that may begin; it has begun then. */
  next(): Held | undefined {
    for (;;) {
      const lane = this.#ready.shift();
      if (lane === undefined) return undefined;
      lane.ready = false;
      const held = lane.waiting.shift();
      if (held === undefined) continue;
      if (this.#held.get(held.id) !== held) { // discarded while it waited
        this.#offer(lane);
        continue;
      }
      lane.busy = true;
      this.#begun.set(held, lane);
      this.#running += 1;
      return held;
    }
  }

  /** It is handled: the next of its key may begin. It stays in hand until it is forgotten. */
  done(held: Held): void {
    const lane = this.#begun.get(held);
    if (lane === undefined) return;
    this.#begun.delete(held);
    this.#running -= 1;
    lane.busy = false;
    this.#offer(lane);
  }

  /** It will begin again after a pause, first of its key. Returns what ends the pause. */
  pause(held: Held): () => void {
    const lane = this.#begun.get(held);
    if (lane === undefined) return () => undefined;
    this.#begun.delete(held);
    this.#running -= 1;
    lane.waiting.unshift(held);
    return () => {
      lane.busy = false;
      this.#offer(lane);
    };
  }

  forget(id: string): void {
    this.#held.delete(id);
  }

  isBegun(held: Held): boolean {
    return this.#begun.has(held);
  }

  #offer(lane: Lane): void {
    if (lane.busy || lane.ready) return;
    if (lane.waiting.length === 0) {
      if (lane.key !== undefined) this.#lanes.delete(lane.key);
      return;
    }
    lane.ready = true;
    this.#ready.push(lane);
  }
}
