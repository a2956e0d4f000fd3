// What the network role of one host works with.
import type { Db } from '../../db/db.ts';
import type { NetworkDriver, NetworkSpec } from '../../drivers/network/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { ActorSystem } from '../runtime/actor.ts';

export interface NetworkHost {
  readonly name: string;
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly system: ActorSystem;
  readonly driver: NetworkDriver;
  /** What this host has to plumb now, by the database. */
  readonly networks: () => Promise<readonly NetworkSpec[]>;
  /** After a network was ensured: what else it needs on this host (its metadata service). Repeated. */
  readonly onPlumbed?: (network: NetworkSpec) => Promise<void>;
  /** Before a network is taken away. */
  readonly onRemoved?: (networkId: string) => Promise<void>;
  /** Tells the network roles of these hosts that members of these groups came or went. Never fails: a hint, hosts also look by themselves. */
  readonly tellHosts?: (hosts: readonly string[], groupIds: readonly string[]) => void;
  readonly metadataPort: number;
  readonly reconcileIntervalMs: number;
}
