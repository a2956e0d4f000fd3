// Volumes that instances are launched with: rows of volumes that nobody makes yet, attached to their instances. They are made when the host of the
// instance is known (actors/compute/flows/make-volumes.ts).
import { newId } from '../lib/ids.ts';
import { freeTarget, newAttachment } from './attachments.ts';
import type { Tx } from './db.ts';
import { volumeAttachments, volumes } from './schema/volumes.ts';
import { holdContent } from './snapshot-work.ts';
import { insertTags, type TagText } from './tags.ts';
import { overQuota, type OverQuota, type VolumeQuota } from './volumes.ts';

export interface LaunchVolume {
  readonly device: string;
  /** The guest's own name for it. */
  readonly target: string;
  readonly snapshotId: string | null;
  readonly sizeGiB: number;
  readonly type: string;
  readonly iops: number | null;
  readonly throughput: number | null;
  readonly deleteOnTermination: boolean;
}

/** For each device the guest's name, the root's first; undefined: there are too many. */
export function deviceTargets(devices: readonly string[], rootDeviceName: string): ReadonlyMap<string, string> | undefined {
  const targets = new Map<string, string>();
  for (const device of devices) {
    const target = device === rootDeviceName ? 'vda' : freeTarget([...targets.values()].map((taken) => ({ target: taken })));
    if (target === undefined) return undefined;
    targets.set(device, target);
  }
  return targets;
}

export interface LaunchDisks {
  readonly volumes: readonly LaunchVolume[];
  readonly tags: readonly TagText[];
  readonly quota: VolumeQuota;
  /** Until then they are to be made. */
  readonly deadline: Date;
}

export type DisksRefusal = { readonly outcome: 'overVolumeQuota'; readonly of: OverQuota } | { readonly outcome: 'snapshotGone' };

/** By snapshot what its volumes are made of: none of it is deleted before this transaction ends. With the project's row held. */
export async function holdDisks(
  tx: Tx, projectId: string, { volumes: wished, quota }: LaunchDisks, instances: number,
): Promise<ReadonlyMap<string, string> | DisksRefusal> {
  const contents = new Map<string, string>();
  if (wished.length === 0) return contents;
  const sizeGiB = wished.reduce((sum, disk) => sum + disk.sizeGiB, 0);
  const of = await overQuota(tx, projectId, { count: wished.length * instances, sizeGiB: sizeGiB * instances }, quota);
  if (of !== undefined) return { outcome: 'overVolumeQuota', of };
  for (const { snapshotId } of wished) {
    const contentId = await holdContent(tx, snapshotId);
    if (contentId === 'gone') return { outcome: 'snapshotGone' };
    if (snapshotId !== null && contentId !== null) contents.set(snapshotId, contentId);
  }
  return contents;
}

export interface LaunchedWith extends LaunchDisks {
  readonly instanceIds: readonly string[];
  readonly projectId: string;
  readonly userId: string;
  readonly zone: string;
  readonly contents: ReadonlyMap<string, string>;
}

export async function insertLaunchVolumes(tx: Tx, launched: LaunchedWith, now: Date): Promise<void> {
  const { projectId, userId, zone, deadline, contents, tags } = launched;
  const rows = launched.instanceIds.flatMap((instanceId) => launched.volumes.map((disk) => ({ ...disk, id: newId('vol'), instanceId })));
  if (rows.length === 0) return;
  await tx.insert(volumes).values(rows.map(({ id, sizeGiB, type, iops, throughput, snapshotId }) => ({
    id, sizeGiB, type, iops, throughput, snapshotId, projectId, userId, zone, contentId: contents.get(snapshotId ?? '') ?? null,
    state: 'creating' as const, stateChangedAt: now, stateDeadline: deadline, createdAt: now,
  })));
  await tx.insert(volumeAttachments).values(rows.map(({ id, instanceId, device, target, deleteOnTermination }) => (
    { ...newAttachment({ volumeId: id, instanceId, device, target }, now), deleteOnTermination }
  )));
  await insertTags(tx, { projectId, resourceType: 'volume', resourceIds: rows.map(({ id }) => id), tags });
}
