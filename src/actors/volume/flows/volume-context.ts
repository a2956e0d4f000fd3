// What the flows of one volume share.
import type { Snapshot } from '../../../db/snapshot-work.ts';
import type { Volume } from '../../../db/volume-work.ts';
import type { VolumeHost } from '../host.ts';

export interface VolumeContext {
  readonly host: VolumeHost;
  readonly volume: Volume;
  readonly requestId: string;
  readonly input: Readonly<Record<string, unknown>>;
  /** Makes its exports what the database says. */
  readonly settle: (volumeId: string) => Promise<unknown>;
}

export interface SnapshotContext {
  readonly host: VolumeHost;
  readonly snapshot: Snapshot;
}

export const bytesOf = (sizeGiB: number): number => sizeGiB * 2 ** 30;
