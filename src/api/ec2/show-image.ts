// An image as DescribeImages shows it. Machine images are said to be `ebs`: their instances can be stopped and keep their root disk,
// which is what clients conclude from it (`instance-store` would promise that stopping is impossible). The mapping names the root
// disk that a launch makes; it has no snapshot where the image's own content is what it is made from.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { ImageRow } from '../../db/images.ts';
import type { TagText } from '../../db/tags.ts';

const architectures: Readonly<Record<string, ec2.ArchitectureValues>> = { i386: 'i386', x86_64: 'x86_64', arm64: 'arm64' };

export const architectureOf = (text: string): ec2.ArchitectureValues | undefined => architectures[text];

export function showImage(image: ImageRow, tags: readonly TagText[], region: string): ec2.Image {
  const isMachine = image.type === 'machine';
  return {
    ImageId: image.id,
    ImageLocation: image.location,
    State: image.state,
    OwnerId: image.projectId,
    Public: image.isPublic,
    Architecture: architectureOf(image.architecture),
    ImageType: image.type,
    KernelId: image.kernelId ?? undefined,
    RamdiskId: image.ramdiskId ?? undefined,
    StateReason: image.stateReasonCode === null ? undefined : { Code: image.stateReasonCode, Message: image.stateReason ?? '' },
    Name: image.name,
    Description: image.description === '' ? undefined : image.description,
    RootDeviceType: isMachine ? 'ebs' : 'instance-store',
    RootDeviceName: isMachine ? image.rootDeviceName : undefined,
    BlockDeviceMappings: deviceMappings(image),
    VirtualizationType: image.virtualizationType === 'paravirtual' ? 'paravirtual' : 'hvm',
    CreationDate: image.createdAt.toISOString(),
    PlatformDetails: 'Linux/UNIX',
    UsageOperation: 'RunInstances',
    ProductCodes: [],
    SourceImageId: image.sourceImageId ?? undefined,
    SourceImageRegion: image.sourceImageId === null ? undefined : region,
    Tags: [...tags],
  };
}

/** The disks that a launch of it makes. */
export function deviceMappings(image: ImageRow): ec2.BlockDeviceMapping[] {
  if (image.type !== 'machine') return [];
  const volumes = image.devices.map(({ device, snapshotId, sizeGiB, type, deleteOnTermination }): ec2.BlockDeviceMapping => ({
    DeviceName: device,
    Ebs: { DeleteOnTermination: deleteOnTermination, SnapshotId: snapshotId, VolumeSize: sizeGiB, VolumeType: type as ec2.VolumeType, Encrypted: false },
  }));
  return image.devices.some(({ device }) => device === image.rootDeviceName) ? volumes : [rootMapping(image), ...volumes];
}

function rootMapping(image: ImageRow): ec2.BlockDeviceMapping {
  return {
    DeviceName: image.rootDeviceName,
    Ebs: {
      DeleteOnTermination: true,
      VolumeType: 'standard',
      Encrypted: false,
      VolumeSize: image.virtualSizeBytes === null ? undefined : Math.max(1, Math.ceil(image.virtualSizeBytes / 2 ** 30)),
    },
  };
}
