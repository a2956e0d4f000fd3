// An instance as clients see it. The address that the network gave it is its private one; while it runs, the same is shown as its
// public address and name, because it is what the instance can be reached at: an address is never shown that would not answer.
import type * as ec2 from '@aws-sdk/client-ec2';
import type { FullInstance } from '../../db/instances.ts';
import { groupBy } from '../../lib/group-by.ts';
import { showState, showStateReason, transitionReason } from './instance-states.ts';
import { architectureOf } from './show-image.ts';

interface Shown {
  readonly principal: { readonly projectId: string };
  readonly dnsDomain: string;
}

/** The address at which the instance can be reached now. */
export const reachableAddress = (instance: FullInstance): string | undefined => (instance.state === 'running' ? instance.address : undefined);

/** AWS's list of hypervisors ends with Xen; clients take any text, and ours is what really runs the instance. */
export const hypervisorOf = (instance: FullInstance): ec2.HypervisorType | undefined => (instance.hypervisor ?? undefined) as ec2.HypervisorType | undefined;

/** The name that the guests' DNS answers; none before there is an address. */
export const privateName = (instance: FullInstance, dnsDomain: string): string | undefined =>
  instance.address === undefined ? undefined : `${instance.id}.${dnsDomain}`;

export function showInstance(instance: FullInstance, dnsDomain: string): ec2.Instance {
  const reachable = reachableAddress(instance);
  return {
    InstanceId: instance.id,
    ImageId: instance.imageId,
    State: showState(instance.state),
    // Old clients read an absent name as null and fail on it.
    PrivateDnsName: privateName(instance, dnsDomain) ?? '',
    PublicDnsName: reachable ?? '',
    PrivateIpAddress: instance.address,
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
    BlockDeviceMappings: [],
    VirtualizationType: instance.virtualizationType === 'paravirtual' ? 'paravirtual' : 'hvm',
    ClientToken: instance.reservation.clientToken ?? '',
    Tags: [...instance.tags],
    SecurityGroups: showGroups(instance),
    Hypervisor: hypervisorOf(instance),
    NetworkInterfaces: [],
    EbsOptimized: false,
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
