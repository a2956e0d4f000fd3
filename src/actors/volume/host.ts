// What the volume role of one host works with: handed in whole, so that a simulated host is the same code.
import type { Db } from '../../db/db.ts';
import type { VolumeDriver } from '../../drivers/volume/driver.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Relay, Transport } from '../../transport/transport.ts';
import type { AttachmentAccess } from '../compute/host.ts';
import type { Owner } from '../operations/perform-operation.ts';
import type { ActorSystem } from '../runtime/actor.ts';

export interface VolumeHost {
  readonly name: string;
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly system: ActorSystem;
  readonly transport: Transport;
  /** Kicked after a commit that gave work to another. */
  readonly relay: Relay;
  readonly driver: VolumeDriver;
  /** `volume@<name>` in its present start. */
  readonly owner: Owner;
  readonly access: AttachmentAccess;
  readonly limits: VolumeLimits;
}

export interface VolumeLimits {
  readonly reconcileIntervalMs: number;
  readonly sweepIntervalMs: number;
  /** How long deleted volumes are kept in mind. */
  readonly deletedKeptMs: number;
  /** Hosts tried for one volume before it is given up. */
  readonly placementsMax: number;
}
