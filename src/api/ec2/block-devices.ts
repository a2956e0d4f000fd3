// Block device mappings: the disks of an image and of a launch, as AWS merges them. A mapping of the request takes the place of the image's own for
// the same device, changes it, or takes it away.
import type { ImageRow } from '../../db/images.ts';
import { deviceTargets, type LaunchVolume } from '../../db/launch-volumes.ts';
import { loadSnapshot } from '../../db/snapshot-work.ts';
import { fail, type Call } from './action.ts';
import { rootGiBMax, type LaunchInput } from './launch-request.ts';
import { checkDevice, checkSize, checkType, completedSnapshot, failNoSnapshot, refuseEncryption } from './volume-request.ts';

export type Mappings = NonNullable<LaunchInput['BlockDeviceMappings']>;
export type Mapping = Mappings[number];
export type Disk = Omit<LaunchVolume, 'target'>;

/** What an image offers to a launch. */
export type ImageDisks = Pick<ImageRow, 'rootDeviceName' | 'devices'>;

export interface LaunchDisks {
  /** Of the root disk, where it is a copy of the image's content and the request asks for a size. */
  readonly rootGiB: number | undefined;
  readonly bootsFromVolume: boolean;
  readonly volumes: readonly LaunchVolume[];
}

/** `virtualGiB`: of the image's own content, rounded up. */
export async function launchDisks(call: Call, mappings: Mappings | undefined, image: ImageDisks & { readonly virtualGiB: number }): Promise<LaunchDisks> {
  const root = image.rootDeviceName;
  const disks = new Map<string, Disk>(image.devices.map((own) => [own.device, diskOf(own)]));
  const bootsFromVolume = disks.has(root);
  let rootGiB: number | undefined;
  for (const [device, mapping] of byDevice(mappings, root)) {
    if (isIgnored(mapping)) continue;
    if (mapping.NoDevice !== undefined) {
      // The root disk of an image that has content is no device of the mapping, and stays.
      if (bootsFromVolume && device === root) fail('InvalidBlockDeviceMapping', 'The root device cannot be taken away.');
      disks.delete(device);
    } else if (device === root && !bootsFromVolume) {
      rootGiB = rootSizeAsked(mapping, image.virtualGiB);
    } else {
      disks.set(device, await wishedDisk(call, mapping, { device, own: disks.get(device), isRoot: device === root }));
    }
  }
  const targets = deviceTargets([...disks.keys()], root);
  if (targets === undefined) return fail('AttachmentLimitExceeded', 'The instance would have more volumes than it can have.');
  return { rootGiB, bootsFromVolume, volumes: [...disks.values()].map((disk) => ({ ...disk, target: targets.get(disk.device) ?? '' })) };
}

/** The volumes that instances of an image are to have. */
export async function imageDevices(
  call: Call, mappings: Mappings | undefined, { rootDeviceName, hasContent }: { rootDeviceName: string; hasContent: boolean },
): Promise<ImageRow['devices']> {
  const devices: ImageRow['devices'] = [];
  for (const [device, mapping] of byDevice(mappings, rootDeviceName)) {
    if (isIgnored(mapping) || mapping.NoDevice !== undefined) continue;
    const isRoot = device === rootDeviceName;
    if (isRoot && hasContent) fail('InvalidBlockDeviceMapping', 'The root device of an image with an ImageLocation is a copy of its content.');
    const { snapshotId, sizeGiB, type, deleteOnTermination } = await wishedDisk(call, mapping, { device, own: undefined, isRoot });
    devices.push({ device, ...(snapshotId === null ? {} : { snapshotId }), sizeGiB, type, deleteOnTermination });
  }
  const hasRoot = devices.some(({ device, snapshotId }) => device === rootDeviceName && snapshotId !== undefined);
  if (!hasRoot && !hasContent) fail('InvalidBlockDeviceMapping', 'No root snapshot specified in device mapping.');
  return devices;
}

const diskOf = ({ device, snapshotId, sizeGiB, type, deleteOnTermination }: ImageRow['devices'][number]): Disk =>
  ({ device, snapshotId: snapshotId ?? null, sizeGiB, type, iops: null, throughput: null, deleteOnTermination });

/** In the order of the request; a device that is named twice is refused. */
export function byDevice(mappings: Mappings | undefined, rootDeviceName: string): ReadonlyMap<string, Mapping> {
  const found = new Map<string, Mapping>();
  for (const mapping of mappings ?? []) {
    const { DeviceName: given = '' } = mapping;
    if (given === '') fail('MissingParameter', 'The request must contain the parameter BlockDeviceMapping.DeviceName');
    const device = given === rootDeviceName ? given : checkDevice(given, 'InvalidBlockDeviceMapping');
    if (found.has(device)) fail('InvalidBlockDeviceMapping', `The device '${device}' is used in more than one block-device mapping`);
    found.set(device, mapping);
  }
  return found;
}

/** Disks of the host that end with the instance: ignored for types that have none, as at AWS. */
export function isIgnored({ VirtualName: name = '' }: Mapping): boolean {
  if (name !== '' && !/^ephemeral([0-9]|1[0-9]|2[0-3])$/.test(name)) fail('InvalidBlockDeviceMapping', `Invalid virtual name: ${name.slice(0, 60)}`);
  return name !== '';
}

/** Of a root disk that is a copy of the image's content. */
function rootSizeAsked({ Ebs: ebs }: Mapping, virtualGiB: number): number | undefined {
  if ((ebs?.SnapshotId ?? '') !== '') fail('InvalidBlockDeviceMapping', 'snapshotId cannot be modified on root device');
  refuseEncryption(ebs ?? {});
  if (ebs?.DeleteOnTermination === false) {
    fail('UnsupportedOperation', 'The root disk of this image ends with its instance: to keep it, register an image of a snapshot.');
  }
  const sizeGiB = ebs?.VolumeSize;
  if (sizeGiB === undefined) return undefined;
  const sizeGiBMin = Math.max(1, virtualGiB);
  if (sizeGiB < sizeGiBMin) fail('InvalidBlockDeviceMapping', `Volume of size ${sizeGiB}GB is smaller than the image, expect size >= ${sizeGiBMin}GB`);
  if (sizeGiB > rootGiBMax) fail('InvalidParameterValue', `Volume of ${sizeGiB}GiB is too large; maximum is ${rootGiBMax}GiB.`);
  return sizeGiB;
}

interface Place {
  readonly device: string;
  /** The image's own disk there. */
  readonly own: Disk | undefined;
  readonly isRoot: boolean;
}

export async function wishedDisk(call: Call, { Ebs: ebs }: Mapping, { device, own, isRoot }: Place): Promise<Disk> {
  if (ebs === undefined) return fail('MissingParameter', `The request must contain the parameter Ebs of the device ${device}`);
  refuseEncryption(ebs);
  if ((ebs.OutpostArn ?? '') !== '') fail('UnsupportedOperation', 'Outposts are not supported.');
  const asked = ebs.SnapshotId === undefined || ebs.SnapshotId === '' ? undefined : ebs.SnapshotId;
  if (isRoot && own !== undefined && asked !== undefined && asked !== own.snapshotId) {
    fail('InvalidBlockDeviceMapping', 'snapshotId cannot be modified on root device');
  }
  const snapshot = await snapshotOf(call, asked, own);
  const sizeGiB = ebs.VolumeSize ?? (asked === undefined || asked === own?.snapshotId ? own?.sizeGiB : undefined) ?? snapshot?.sizeGiB;
  if (sizeGiB === undefined) return fail('MissingParameter', 'The request must contain the parameter size or snapshotId');
  if (snapshot !== undefined && sizeGiB < snapshot.sizeGiB) {
    fail('InvalidBlockDeviceMapping', `Volume of size ${sizeGiB}GB is smaller than snapshot '${snapshot.id}', expect size >= ${snapshot.sizeGiB}GB`);
  }
  const type = ebs.VolumeType === undefined ? (own?.type ?? checkType(undefined)) : checkType(ebs.VolumeType);
  return {
    device, snapshotId: snapshot?.id ?? null, sizeGiB: checkSize(sizeGiB, undefined), type, iops: ebs.Iops ?? null, throughput: ebs.Throughput ?? null,
    deleteOnTermination: ebs.DeleteOnTermination ?? own?.deleteOnTermination ?? true,
  };
}

/** Who may launch an image may have volumes of its snapshots, whosever they are. */
async function snapshotOf(call: Call, asked: string | undefined, own: Disk | undefined) {
  if (asked !== undefined && asked !== own?.snapshotId) return completedSnapshot(call, asked);
  const id = own?.snapshotId ?? undefined;
  return id === undefined ? undefined : ((await loadSnapshot(call.db, id)) ?? failNoSnapshot(id));
}
