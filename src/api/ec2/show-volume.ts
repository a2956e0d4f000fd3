// Volumes, attachments and snapshots as clients see them.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { Attachment } from '../../db/attachments.ts';
import type { Snapshot } from '../../db/snapshot-work.ts';
import type { TagText } from '../../db/tags.ts';
import type { Volume } from '../../db/volume-work.ts';
import type { FullVolume, Modification } from '../../db/volumes.ts';

/** What AWS says of a volume of that type and size; here all types are served alike. */
export function iopsOf({ type, iops, sizeGiB }: Pick<Volume, 'type' | 'iops' | 'sizeGiB'>): number | undefined {
  if (iops !== null) return iops;
  if (type === 'gp3') return 3_000;
  return type === 'gp2' ? Math.min(16_000, Math.max(100, 3 * sizeGiB)) : undefined;
}

const throughputOf = ({ type, throughput }: Pick<Volume, 'type' | 'throughput'>): number | undefined => (type === 'gp3' ? (throughput ?? 125) : undefined);

export function showVolume(volume: FullVolume): ec2.Volume {
  return {
    VolumeId: volume.id,
    Size: volume.sizeGiB,
    SnapshotId: volume.snapshotId ?? '',
    AvailabilityZone: volume.zone,
    State: volume.state,
    CreateTime: volume.createdAt,
    Attachments: volume.attachment === undefined ? [] : [showAttachment(volume.attachment)],
    Tags: [...volume.tags],
    VolumeType: volume.type as ec2.VolumeType,
    Iops: iopsOf(volume),
    Throughput: throughputOf(volume),
    Encrypted: false,
    MultiAttachEnabled: false,
  };
}

export const showAttachment = (attachment: Attachment): ec2.VolumeAttachment => ({
  VolumeId: attachment.volumeId,
  InstanceId: attachment.instanceId,
  Device: attachment.device,
  State: attachment.state,
  AttachTime: attachment.attachedAt,
  DeleteOnTermination: attachment.deleteOnTermination,
});

/** As a part of the instance that has it. */
export const showDevice = (attachment: Attachment): ec2.InstanceBlockDeviceMapping => ({
  DeviceName: attachment.device,
  Ebs: {
    VolumeId: attachment.volumeId, Status: attachment.state, AttachTime: attachment.attachedAt, DeleteOnTermination: attachment.deleteOnTermination,
  },
});

export const showModification = (change: Modification): ec2.VolumeModification => ({
  VolumeId: change.volumeId,
  ModificationState: change.state,
  StatusMessage: change.reason ?? undefined,
  TargetSize: change.targetSizeGiB,
  TargetVolumeType: change.targetType as ec2.VolumeType,
  OriginalSize: change.originalSizeGiB,
  OriginalVolumeType: change.originalType as ec2.VolumeType,
  Progress: change.state === 'completed' ? 100 : 0,
  StartTime: change.startedAt,
  EndTime: change.endedAt ?? undefined,
});

export const progressOf = ({ state }: Snapshot): string => (state === 'completed' ? '100%' : '0%');

export const showSnapshot = (snapshot: Snapshot, tags: readonly TagText[]): ec2.Snapshot => ({
  SnapshotId: snapshot.id,
  VolumeId: snapshot.volumeId,
  State: snapshot.state as ec2.SnapshotState,
  StateMessage: snapshot.stateReason ?? undefined,
  StartTime: snapshot.startedAt,
  CompletionTime: snapshot.completedAt ?? undefined,
  Progress: progressOf(snapshot),
  OwnerId: snapshot.projectId,
  Description: snapshot.description,
  VolumeSize: snapshot.sizeGiB,
  Encrypted: false,
  StorageTier: 'standard',
  Tags: [...tags],
});
