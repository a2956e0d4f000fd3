// The directory of a cloud whose hosts live in one process. Its board is what several "processes" share, as hosts share a Redis; time is the
// clock that is handed in, so that a simulation's leases run out when its clock says so.
import type { Clock, Timer } from '../lib/clock.ts';
import type { Role } from '../messages/protocol.ts';
import type { Announcement, Directory, LastSeen, ServiceRecord } from './directory.ts';
import { byHostAndProcess } from './service-order.ts';
import { TransportError } from './transport.ts';

export interface DirectoryBoardOptions {
  readonly clock: Clock;
}

export const createDirectoryBoard = (options: DirectoryBoardOptions): DirectoryBoard => new DirectoryBoard(options);

interface Entry {
  record: ServiceRecord;
  leaseEndsAt: number;
}

/** What the directories of one cloud share. */
export class DirectoryBoard {
  readonly #clock: Clock;
  readonly #entries = new Map<string, Entry>();
  readonly #seen = new Map<Role, Map<string, number>>();
  #isAway = false;

  constructor({ clock }: DirectoryBoardOptions) {
    this.#clock = clock;
  }

  /** As a Redis that is stopped, and comes back with what it had. */
  setAway(isAway: boolean): void {
    this.#isAway = isAway;
  }

  /** As FLUSHALL. */
  clear(): void {
    this.#entries.clear();
    this.#seen.clear();
  }

  /** False: a later start of the same host's service is there. */
  put(record: ServiceRecord, leaseMs: number): boolean {
    this.#assertThere();
    for (const [key, { record: other, leaseEndsAt }] of this.#entries) {
      const rivals = other.role === record.role && other.host === record.host && other.process !== record.process && other.epoch > 0 && record.epoch > 0;
      if (!rivals) continue;
      if (other.epoch > record.epoch && leaseEndsAt > this.#clock.now()) return false;
      if (other.epoch < record.epoch) this.#entries.delete(key);
    }
    this.#entries.set(keyOf(record), { record, leaseEndsAt: this.#clock.now() + leaseMs });
    const seen = this.#seen.get(record.role) ?? new Map<string, number>();
    this.#seen.set(record.role, seen.set(record.host, this.#clock.now()));
    return true;
  }

  remove(record: ServiceRecord): void {
    this.#assertThere();
    if (!this.#entries.delete(keyOf(record))) return;
    const others = [...this.#entries.values()].some((entry) => entry.record.role === record.role && entry.record.host === record.host);
    if (!others) this.#seen.get(record.role)?.delete(record.host);
  }

  forget(role: Role, host: string): void {
    this.#assertThere();
    for (const [key, { record }] of this.#entries) if (record.role === role && record.host === host) this.#entries.delete(key);
    this.#seen.get(role)?.delete(host);
  }

  services(role: Role): readonly ServiceRecord[] {
    this.#assertThere();
    const now = this.#clock.now();
    return [...this.#entries.values()].filter((entry) => entry.record.role === role && entry.leaseEndsAt > now).map((entry) => entry.record)
      .toSorted(byHostAndProcess);
  }

  lastSeen(role: Role): readonly LastSeen[] {
    this.#assertThere();
    const now = this.#clock.now();
    return Array.from(this.#seen.get(role) ?? [], ([host, at]) => ({ host, agoMs: Math.max(0, now - at) })).toSorted((a, b) => (a.host < b.host ? -1 : 1));
  }

  #assertThere(): void {
    if (this.#isAway) throw new TransportError('timeout', 'the directory does not answer');
  }
}

const keyOf = ({ role, host, process }: ServiceRecord): string => `${role} ${host} ${process}`;

export interface LocalDirectoryOptions {
  readonly clock: Clock;
  /** Shared by the processes of one cloud. Default: one of its own. */
  readonly board?: DirectoryBoard | undefined;
  readonly leaseMs?: number;
  readonly renewMs?: number;
}

export interface LocalDirectory extends Directory {
  /** As `kill -9` of its process: renews no more, and says no goodbye. */
  kill(): void;
  /** As SIGSTOP of its process: renews nothing until it is woken. */
  setPaused(isPaused: boolean): void;
}

export function createLocalDirectory(options: LocalDirectoryOptions): LocalDirectory {
  return new BoardDirectory({ leaseMs: 15_000, renewMs: 5_000, board: createDirectoryBoard({ clock: options.clock }), ...definedOf(options) });
}

const definedOf = <T extends object>(options: T): T => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;

interface Held {
  record: ServiceRecord;
  heldUntil: number;
}

class BoardDirectory implements LocalDirectory {
  readonly #clock: Clock;
  readonly #board: DirectoryBoard;
  readonly #leaseMs: number;
  readonly #renewMs: number;
  readonly #held = new Set<Held>();
  #timer: Timer | undefined;
  #isPaused = false;
  #isClosed = false;

  constructor(options: { clock: Clock; board?: DirectoryBoard | undefined; leaseMs: number; renewMs: number }) {
    this.#clock = options.clock;
    this.#board = options.board ?? createDirectoryBoard({ clock: options.clock });
    this.#leaseMs = options.leaseMs;
    this.#renewMs = options.renewMs;
  }

  async announce(service: ServiceRecord): Promise<Announcement> {
    this.#assertOpen();
    const held: Held = { record: service, heldUntil: -Infinity };
    this.#renew(held);
    this.#held.add(held);
    this.#schedule();
    return {
      held: () => this.#held.has(held) && this.#clock.now() < held.heldUntil,
      update: async (changes) => {
        held.record = { ...held.record, ...changes };
        if (this.#held.has(held)) this.#renew(held);
      },
      withdraw: async () => {
        if (!this.#held.delete(held)) return;
        this.#board.remove(held.record);
      },
    };
  }

  async services(role: Role): Promise<readonly ServiceRecord[]> {
    this.#assertOpen();
    return this.#board.services(role);
  }

  async lastSeen(role: Role): Promise<readonly LastSeen[]> {
    this.#assertOpen();
    return this.#board.lastSeen(role);
  }

  async forget(role: Role, host: string): Promise<void> {
    this.#assertOpen();
    this.#board.forget(role, host);
  }

  async close(): Promise<void> {
    this.kill();
  }

  kill(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#held.clear();
  }

  setPaused(isPaused: boolean): void {
    this.#isPaused = isPaused;
    if (!isPaused) this.#renewAll();
  }

  #schedule(): void {
    if (this.#isClosed || this.#timer !== undefined) return;
    this.#timer = this.#clock.after(this.#renewMs, () => {
      this.#timer = undefined;
      this.#renewAll();
      if (this.#held.size > 0) this.#schedule();
    }, { unref: true });
  }

  #renewAll(): void {
    if (this.#isPaused) return;
    for (const held of this.#held) {
      try {
        this.#renew(held);
      } catch (error) {
        if (!(error instanceof TransportError)) throw error; // away: the next round tries again
      }
    }
  }

  #renew(held: Held): void {
    const isOurs = this.#board.put(held.record, this.#leaseMs);
    held.heldUntil = isOurs ? this.#clock.now() + this.#leaseMs : -Infinity;
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new TransportError('closed', 'the directory is closed');
  }
}
