// An instance as clients see it.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { FullInstance } from '../../db/instances.ts';
import { groupBy } from '../../lib/group-by.ts';
import { privateName, publicName, reachableAddress } from './instance-names.ts';
import { showState, showStateReason, transitionReason } from './instance-states.ts';
import { showMetadataOptions } from './metadata-options.ts';
import { showInterfaces } from './show-interface.ts';
import { showDevice } from './show-volume.ts';
import { architectureOf } from './show-image.ts';

interface Shown {
  readonly principal: { readonly projectId: string };
  readonly dnsDomain: string;
}

/** AWS's list of hypervisors ends with Xen; clients take any text, and ours is what really runs the instance. */
export const hypervisorOf = (instance: FullInstance): ec2.HypervisorType | undefined => (instance.hypervisor ?? undefined) as ec2.HypervisorType | undefined;

export function showInstance(instance: FullInstance, dnsDomain: string): ec2.Instance {
  const reachable = reachableAddress(instance);
  return {
    InstanceId: instance.id,
    ImageId: instance.imageId,
    State: showState(instance.state),
    // Old clients read an absent name as null and fail on it.
    PrivateDnsName: privateName(instance, dnsDomain) ?? '',
    PublicDnsName: publicName(instance),
    PrivateIpAddress: instance.address,
    Ipv6Address: instance.ipv6Address,
    PublicIpAddress: reachable,
    StateTransitionReason: transitionReason(instance),
    StateReason: showStateReason(instance),
    KeyName: instance.keyName ?? undefined,
    AmiLaunchIndex: instance.launchIndex,
    ProductCodes: [],
    // The types are this cloud's own, not those of AWS's list.
    InstanceType: instance.instanceType as ec2._InstanceType,
    LaunchTime: instance.launchedAt,
    Placement: { AvailabilityZone: instance.zone, GroupName: '', Tenancy: 'default' },
    KernelId: instance.kernelId ?? undefined,
    RamdiskId: instance.ramdiskId ?? undefined,
    Monitoring: { State: 'disabled' },
    Architecture: architectureOf(instance.architecture),
    RootDeviceType: 'ebs',
    RootDeviceName: instance.rootDeviceName,
    // The root disk is among them only where it is a volume: docs/decisions/0013-volumes.md.
    BlockDeviceMappings: instance.volumes.map(showDevice),
    VirtualizationType: instance.virtualizationType === 'paravirtual' ? 'paravirtual' : 'hvm',
    ClientToken: instance.reservation.clientToken ?? '',
    Tags: [...instance.tags],
    SecurityGroups: showGroups(instance),
    Hypervisor: hypervisorOf(instance),
    VpcId: instance.place?.vpcId,
    SubnetId: instance.place?.subnetId,
    SourceDestCheck: instance.place === undefined ? undefined : true,
    NetworkInterfaces: showInterfaces(instance, dnsDomain),
    EbsOptimized: false,
    MetadataOptions: showMetadataOptions(instance),
    CpuOptions: { CoreCount: instance.cores, ThreadsPerCore: 1 },
    PlatformDetails: 'Linux/UNIX',
    UsageOperation: 'RunInstances',
    UsageOperationUpdateTime: instance.launchedAt,
  };
}

const showGroups = (instance: FullInstance): ec2.GroupIdentifier[] => instance.groups.map((group) => ({ GroupId: group.id, GroupName: group.name }));

/** The instances of one launch. */
export function showReservation(call: Shown, instances: readonly FullInstance[]): ec2.Reservation {
  const [first] = instances;
  return {
    ReservationId: first?.reservation.id,
    OwnerId: first?.projectId ?? call.principal.projectId,
    Groups: first === undefined ? [] : showGroups(first),
    Instances: instances.map((instance) => showInstance(instance, call.dnsDomain)),
  };
}

/** Instances by the launch that they came from. */
export function showReservations(call: Shown, instances: readonly FullInstance[]): ec2.Reservation[] {
  return [...groupBy(instances, (instance) => instance.reservation.id).values()].map((group) => showReservation(call, group));
}
