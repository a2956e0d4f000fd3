// The disks that an image of an instance offers: the instance's volumes, as snapshots, changed by the mappings of the request.
import type { AttachedVolume } from '../../db/attachments.ts';
import type { ImageRow } from '../../db/images.ts';
import type { InstanceRow } from '../../db/instances.ts';
import { newId } from '../../lib/ids.ts';
import { fail, type Call } from './action.ts';
import { byDevice, imageDevices, isIgnored, wishedDisk, type Disk, type Mapping, type Mappings } from './block-devices.ts';

export interface InstanceDevices {
  readonly devices: ImageRow['devices'];
  /** What is to be made of which volume. */
  readonly snapshots: readonly { readonly id: string; readonly volumeId: string }[];
}

/** `attached`: what the instance has. A mapping of one of its devices changes or takes away what the image has of it; others are added. */
export async function instanceDevices(
  call: Call, mappings: Mappings | undefined, { instance, attached }: { instance: InstanceRow; attached: readonly AttachedVolume[] },
): Promise<InstanceDevices> {
  const root = instance.rootDeviceName;
  const asked = byDevice(mappings, root);
  const devices: ImageRow['devices'] = [];
  const snapshots: { id: string; volumeId: string }[] = [];
  for (const { attachment: { device, deleteOnTermination }, volume } of attached) {
    const mapping = asked.get(device);
    const isRoot = device === root;
    if (mapping?.NoDevice !== undefined) {
      if (isRoot) fail('InvalidBlockDeviceMapping', 'The root device cannot be taken away.');
      continue;
    }
    const own: Disk = {
      device, snapshotId: null, sizeGiB: volume.sizeGiB, type: volume.type, iops: null, throughput: null, deleteOnTermination: isRoot || deleteOnTermination,
    };
    const { sizeGiB, type, deleteOnTermination: ends } = mapping === undefined || isIgnored(mapping) ? own : await changed(call, mapping, { own, isRoot });
    const id = newId('snap');
    snapshots.push({ id, volumeId: volume.id });
    devices.push({ device, snapshotId: id, sizeGiB, type, deleteOnTermination: ends });
  }
  const taken = new Set(attached.map(({ attachment }) => attachment.device));
  const added = (mappings ?? []).filter(({ DeviceName = '' }) => !taken.has(DeviceName) && !taken.has(`/dev/${DeviceName}`) && DeviceName !== root);
  if (!instance.bootsFromVolume) checkRoot(asked.get(root));
  return { devices: [...devices, ...await imageDevices(call, added, { rootDeviceName: root, hasContent: true })], snapshots };
}

async function changed(call: Call, mapping: Mapping, { own, isRoot }: { own: Disk; isRoot: boolean }): Promise<Disk> {
  if ((mapping.Ebs?.SnapshotId ?? '') !== '') {
    fail('InvalidBlockDeviceMapping', `The device '${own.device}' is a volume of the instance: its snapshot is made with the image`);
  }
  const disk = await wishedDisk(call, mapping, { device: own.device, own, isRoot });
  if (disk.sizeGiB < own.sizeGiB) {
    fail('InvalidBlockDeviceMapping', `Volume of size ${disk.sizeGiB}GB is smaller than the volume of the instance, expect size >= ${own.sizeGiB}GB`);
  }
  return disk;
}

/** A root disk that is no volume is the image's content: it is as it is. */
function checkRoot(mapping: Mapping | undefined): void {
  if (mapping === undefined || isIgnored(mapping)) return;
  if (mapping.NoDevice !== undefined) fail('InvalidBlockDeviceMapping', 'The root device cannot be taken away.');
  const { SnapshotId = '', VolumeSize, DeleteOnTermination } = mapping.Ebs ?? {};
  if (SnapshotId !== '') fail('InvalidBlockDeviceMapping', 'snapshotId cannot be modified on root device');
  if (VolumeSize !== undefined || DeleteOnTermination === false) {
    fail('UnsupportedOperation', 'The root disk of this instance is no volume: its image has its size, and its copies end with their instances.');
  }
}
