// The network interface of an instance as clients see it. It has no row: it is made with the instance, and ends with it.
import type { FullInstance } from '../../db/instances.ts';
import { derivedId } from '../../lib/ids.ts';
import { privateName, publicName, reachableAddress } from './instance-names.ts';

export const interfaceIdOf = (instance: FullInstance): string | undefined => (instance.place === undefined ? undefined : derivedId('eni', instance.id));
export const attachmentIdOf = (instance: FullInstance): string | undefined => (instance.place === undefined ? undefined : derivedId('eni-attach', instance.id));

/** Attached once it has an address: then the network has its port. */
export function attachmentStatusOf(instance: FullInstance): 'attaching' | 'attached' | 'detaching' | undefined {
  if (instance.place === undefined) return undefined;
  if (instance.state === 'shutting-down') return 'detaching';
  return instance.address === undefined ? 'attaching' : 'attached';
}

const addressOf = (instance: FullInstance, dnsDomain: string) => {
  const reachable = reachableAddress(instance);
  const { floating } = instance;
  const owned = floating === undefined
    ? { IpOwnerId: 'amazon' }
    : { IpOwnerId: instance.projectId, AllocationId: floating.allocationId ?? undefined, AssociationId: floating.associationId ?? undefined };
  return {
    PrivateIpAddress: instance.address,
    PrivateDnsName: privateName(instance, dnsDomain),
    Association: reachable === undefined ? undefined : { PublicIp: reachable, PublicDnsName: publicName(instance), ...owned },
  };
};

/** What an instance's list and DescribeNetworkInterfaces have in common. */
export function interfaceOf(instance: FullInstance, dnsDomain: string) {
  const address = addressOf(instance, dnsDomain);
  return {
    NetworkInterfaceId: interfaceIdOf(instance),
    SubnetId: instance.place?.subnetId,
    VpcId: instance.place?.vpcId,
    OwnerId: instance.projectId,
    Description: '',
    Status: 'in-use' as const,
    InterfaceType: 'interface' as const,
    MacAddress: instance.mac,
    SourceDestCheck: true,
    ...address,
    PrivateIpAddresses: instance.address === undefined ? [] : [{ ...address, Primary: true }],
    Ipv6Addresses: instance.ipv6Address === undefined ? [] : [{ Ipv6Address: instance.ipv6Address, IsPrimaryIpv6: false }],
    Groups: instance.groups.map((group) => ({ GroupId: group.id, GroupName: group.name })),
    Attachment: {
      AttachmentId: attachmentIdOf(instance),
      Status: attachmentStatusOf(instance),
      AttachTime: instance.launchedAt,
      DeleteOnTermination: true,
      DeviceIndex: 0,
      NetworkCardIndex: 0,
    },
  };
}

/** None before the project has a VPC, and of an instance that has ended. */
export const showInterfaces = (instance: FullInstance, dnsDomain: string) => (instance.place === undefined ? [] : [interfaceOf(instance, dnsDomain)]);
