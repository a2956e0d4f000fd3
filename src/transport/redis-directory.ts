// The directory on Redis: leases by the server's time, records that readers cache until the server invalidates them. Everything here is found
// again within a renewal after Redis lost it.
import type { Clock, Timer } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../lib/errors.ts';
import type { Role } from '../messages/protocol.ts';
import type { Announcement, Directory, LastSeen, ServiceRecord } from './directory.ts';
import { cacheMsMax, createControlConnection, type ControlConnection } from './redis-control-connection.ts';
import {
  announceScript, forgetScript, lastSeenScript, reapScript, renewScript, servicesScript, withdrawScript,
} from './redis-directory-scripts.ts';
import { byHostAndProcess } from './service-order.ts';
import { TransportError } from './transport.ts';

export interface RedisDirectoryOptions {
  readonly url: string;
  /** The authority's certificate, PEM. Unset: those of the system. */
  readonly ca?: string | undefined;
  readonly clock: Clock;
  readonly log: Log;
  readonly leaseMs?: number;
  readonly renewMs?: number;
  /** Milliseconds that only ever grow, also while the process is stopped: for `held`. */
  readonly monotonicMs?: () => number;
}

const callMsMax = 5_000;
const announceMsMax = 30_000;
const announceAgainMs = 100;
const renewedAtOnce = 500;

export function createRedisDirectory(options: RedisDirectoryOptions): Directory {
  return new RedisDirectory({ leaseMs: 15_000, renewMs: 5_000, monotonicMs: () => performance.now(), ...options });
}

interface Held {
  record: ServiceRecord;
  heldUntil: number;
}

interface Snapshot {
  readonly version: string;
  readonly services: readonly ServiceRecord[];
  /** Until then it is answered without asking, unless the server tells of a change. */
  freshUntil: number;
}

class RedisDirectory implements Directory {
  readonly #options: Required<Omit<RedisDirectoryOptions, 'ca'>>;
  readonly #connection: ControlConnection;
  readonly #held = new Set<Held>();
  /** Roles whose dead this process helps to move out, because it reads or serves them. */
  readonly #watched = new Set<Role>();
  readonly #snapshots = new Map<Role, Snapshot>();
  /** Counted, so that a read knows whether the server told of one while it was under way. */
  #changes = 0;
  #timer: Timer | undefined;
  #renewing: Promise<void> | undefined;
  #isClosed = false;

  constructor(options: Required<Omit<RedisDirectoryOptions, 'ca'>> & Pick<RedisDirectoryOptions, 'ca'>) {
    this.#options = options;
    this.#connection = createControlConnection({
      ...options, pingMs: options.renewMs, callMsMax, onReady: () => void this.#tick(), onStale: (key) => this.#stale(key),
    });
    this.#schedule();
  }

  async announce(service: ServiceRecord): Promise<Announcement> {
    this.#watched.add(service.role);
    const held: Held = { record: service, heldUntil: -Infinity };
    await this.#announceUntilWritten(held);
    this.#held.add(held);
    return {
      held: () => this.#held.has(held) && this.#options.monotonicMs() < held.heldUntil,
      update: async (changes) => {
        held.record = { ...held.record, ...changes };
        if (this.#held.has(held)) await this.#announceOnce(held);
      },
      withdraw: async () => {
        if (!this.#held.delete(held)) return;
        await this.#renewing; // or it would be announced again
        await this.#connection.run(withdrawScript, keysOf(held.record.role), [memberOf(held.record), held.record.host]);
      },
    };
  }

  async services(role: Role): Promise<readonly ServiceRecord[]> {
    this.#watched.add(role);
    const known = this.#snapshots.get(role);
    if (known !== undefined && this.#options.monotonicMs() < known.freshUntil) return known.services;
    const changesBefore = this.#changes;
    const freshUntil = this.#options.monotonicMs() + cacheMsMax;
    const version = (await this.#connection.getCached(versionKey(role))) ?? '';
    const snapshot = known?.version === version ? known : snapshotOf(await this.#connection.run(servicesScript, keysOf(role), []));
    // From the read of the version on the server tells of changes; one that came meanwhile may be of this.
    snapshot.freshUntil = snapshot.version === version && this.#changes === changesBefore ? freshUntil : -Infinity;
    this.#snapshots.set(role, snapshot);
    return snapshot.services;
  }

  #stale(key: string | undefined): void {
    this.#changes += 1;
    for (const [role, snapshot] of this.#snapshots) if (key === undefined || key === versionKey(role)) snapshot.freshUntil = -Infinity;
  }

  async lastSeen(role: Role): Promise<readonly LastSeen[]> {
    const words = (await this.#connection.run(lastSeenScript, keysOf(role), [])) as readonly unknown[];
    const seen: LastSeen[] = [];
    for (let position = 0; position + 1 < words.length; position += 2) {
      seen.push({ host: String(words[position]), agoMs: Math.max(0, Number(words[position + 1])) });
    }
    return seen.toSorted((a, b) => (a.host < b.host ? -1 : 1));
  }

  async forget(role: Role, host: string): Promise<void> {
    await this.#connection.run(forgetScript, keysOf(role), [host]);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#snapshots.clear();
    this.#timer?.cancel();
    this.#held.clear();
    await this.#connection.close();
    await this.#renewing;
  }

  async #announceUntilWritten(held: Held): Promise<void> {
    const { clock } = this.#options;
    const givenUpAt = clock.now() + announceMsMax;
    for (;;) {
      try {
        return await this.#announceOnce(held);
      } catch (error) {
        if (this.#isClosed || clock.now() >= givenUpAt) throw error;
        await clock.sleep(announceAgainMs);
      }
    }
  }

  /** The lease is counted from before the call: what the server grants begins later. */
  async #announceOnce(held: Held): Promise<void> {
    const { record } = held;
    const { leaseMs, monotonicMs } = this.#options;
    const startedAt = monotonicMs();
    const words = [String(leaseMs), memberOf(record), record.host, String(record.epoch), JSON.stringify(record)];
    const isOurs = (await this.#connection.run(announceScript, keysOf(record.role), words)) === 1;
    held.heldUntil = isOurs ? startedAt + leaseMs : -Infinity;
    if (!isOurs) this.#options.log.warn({ role: record.role, host: record.host, epoch: record.epoch }, 'a later start of this service is in the directory');
  }

  #schedule(): void {
    if (this.#isClosed) return;
    this.#timer = this.#options.clock.after(this.#options.renewMs, () => {
      void this.#tick();
      this.#schedule();
    }, { unref: true });
  }

  #tick(): Promise<void> {
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  /** What fails here is tried again at the next renewal, or when the connection is back. */
  async #renewAll(): Promise<void> {
    try {
      for (const role of this.#watched) {
        const held = [...this.#held].filter(({ record }) => record.role === role);
        if (held.length === 0) await this.#connection.run(reapScript, keysOf(role), []);
        for (let from = 0; from < held.length; from += renewedAtOnce) await this.#renew(role, held.slice(from, from + renewedAtOnce));
      }
    } catch (error) {
      this.#options.log.debug({ error: messageOf(error) }, 'leases were not renewed');
    }
  }

  async #renew(role: Role, held: readonly Held[]): Promise<void> {
    const { leaseMs, monotonicMs } = this.#options;
    const startedAt = monotonicMs();
    const words = [String(leaseMs), ...held.flatMap(({ record }) => [memberOf(record), record.host])];
    const missing = new Set((await this.#connection.run(renewScript, keysOf(role), words)) as readonly number[]);
    for (const [position, one] of held.entries()) {
      if (!this.#held.has(one)) continue;
      if (missing.has(position + 1)) await this.#announceOnce(one);
      else one.heldUntil = startedAt + leaseMs;
    }
  }
}

const keyOf = (role: Role, what: string): string => `nv:{dir:${role}}:${what}`;
const versionKey = (role: Role): string => keyOf(role, 'version');
/** In the order of the scripts. */
const keysOf = (role: Role): readonly string[] => ['leases', 'live', 'seen', 'owners', 'version'].map((what) => keyOf(role, what));
const memberOf = ({ host, process }: ServiceRecord): string => `${host} ${process}`;

function snapshotOf(reply: unknown): Snapshot {
  const [version, records] = reply as readonly [string, readonly string[]];
  if (typeof version !== 'string') throw new TransportError('invalid', 'the directory answered what it does not say');
  return { version, freshUntil: -Infinity, services: Object.freeze(records.map((text) => JSON.parse(text) as ServiceRecord).toSorted(byHostAndProcess)) };
}
