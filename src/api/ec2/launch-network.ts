// Where a launch puts its instances: the subnet, the address that is wished for, whether it is shown as a public one, and the security groups,
// from the request itself or from its one network interface.
import ipaddr from 'ipaddr.js';
import { subnetsOf, type FullSubnet } from '../../db/vpcs.ts';
import { fail, type Call } from './action.ts';
import type { GroupPlace, GroupsAsked } from './instance-groups.ts';
import { ownIPv6Addresses, type LaunchInput } from './launch-request.ts';
import { checkedId, failNotFound } from './resource-kinds.ts';
import { defaultVpcOf } from './vpc-access.ts';

export interface NetworkAsked {
  readonly groups: GroupsAsked;
  readonly subnetId: string | undefined;
  readonly address: string | undefined;
  readonly hasPublicAddress: boolean | undefined;
}

const isGiven = (text: string | undefined): text is string => text !== undefined && text !== '';
const given = (text: string | undefined): string | undefined => (isGiven(text) ? text : undefined);
const manyAddresses = 'An instance has one address.';

/** What the request says of networks. */
export function networkAsked(input: LaunchInput): NetworkAsked {
  const names = (input.SecurityGroups ?? []).filter(isGiven);
  const ids = (input.SecurityGroupIds ?? []).filter(isGiven);
  const [one, ...others] = input.NetworkInterfaces ?? [];
  const atInstance = { groups: { names, ids }, subnetId: given(input.SubnetId), address: given(input.PrivateIpAddress), hasPublicAddress: undefined };
  if (one === undefined) return atInstance;
  if (others.length > 0) fail('UnsupportedOperation', 'Instances have one network interface.');
  if (names.length + ids.length > 0 || isGiven(input.SubnetId) || isGiven(input.PrivateIpAddress)) {
    fail('InvalidParameterCombination', 'Network interfaces and an instance-level security groups, subnet or address may not be specified on the same request');
  }
  return interfaceAsked(one);
}

function interfaceAsked(one: NonNullable<LaunchInput['NetworkInterfaces']>[number]): NetworkAsked {
  if ((one.DeviceIndex ?? 0) !== 0) fail('InvalidParameterValue', 'The only network interface has the device index 0.');
  // Every interface there is belongs to an instance.
  if (isGiven(one.NetworkInterfaceId)) failNotFound('eni', one.NetworkInterfaceId.slice(0, 60));
  if (one.DeleteOnTermination === false) fail('UnsupportedOperation', 'The network interface of an instance ends with it.');
  if ((one.Ipv6AddressCount ?? 0) > 0 || (one.Ipv6Addresses?.length ?? 0) > 0) fail('UnsupportedOperation', ownIPv6Addresses);
  if ((one.SecondaryPrivateIpAddressCount ?? 0) > 0 || (one.PrivateIpAddresses?.length ?? 0) > 1) fail('UnsupportedOperation', manyAddresses);
  const address = given(one.PrivateIpAddress) ?? given(one.PrivateIpAddresses?.[0]?.PrivateIpAddress);
  return {
    groups: { names: [], ids: (one.Groups ?? []).filter(isGiven) }, subnetId: given(one.SubnetId), address, hasPublicAddress: one.AssociatePublicIpAddress,
  };
}

export interface LaunchNetwork {
  /** Null: the default one. */
  readonly subnetId: string | null;
  /** Of the project; null: the one that all share. */
  readonly networkId: string | null;
  /** Where it is to be by its subnet; undefined: hosts of every zone serve it. */
  readonly zone: string | undefined;
  readonly hasPublicAddress: boolean;
  readonly wish: { readonly networkId: string; readonly address: string } | undefined;
  /** Undefined: the cloud has no network yet. */
  readonly place: GroupPlace | undefined;
}

/** The subnet that the request means, and what it makes possible. */
export async function launchNetwork(call: Call, asked: NetworkAsked, countMax: number): Promise<LaunchNetwork> {
  const subnet = await subnetAsked(call, asked.subnetId);
  if (subnet === undefined) {
    if (asked.address !== undefined) fail('InvalidParameterValue', 'An address cannot be chosen before the cloud has a network.');
    return { subnetId: null, networkId: null, zone: undefined, hasPublicAddress: true, wish: undefined, place: undefined };
  }
  if (asked.hasPublicAddress === true && !subnet.isReachable) {
    fail('UnsupportedOperation', 'Addresses of this subnet are not reached from outside; allocate an address and associate it with the instance.');
  }
  return {
    subnetId: subnet.isDefault ? null : subnet.id,
    networkId: subnet.isReachable ? null : subnet.networkId,
    zone: subnet.isDefault ? undefined : subnet.zone,
    hasPublicAddress: asked.hasPublicAddress ?? subnet.mapPublicIpOnLaunch,
    wish: asked.address === undefined ? undefined : { networkId: subnet.networkId, address: checkAddress(asked.address, subnet, countMax) },
    place: { subnetId: subnet.id, vpcId: subnet.isDefault ? null : subnet.vpcId },
  };
}

async function subnetAsked(call: Call, subnetId: string | undefined): Promise<FullSubnet | undefined> {
  const standard = await defaultVpcOf(call);
  if (standard === undefined && call.projectNetworks !== undefined) {
    fail('VpcLimitExceeded', 'The maximum number of networks has been reached: none is left for this project.');
  }
  const id = subnetId === undefined ? standard?.subnet.id : checkedId('subnet', subnetId);
  if (id === undefined) return undefined;
  return (await subnetsOf(call.db, call.principal.projectId)).find((each) => each.id === id) ?? failNotFound('subnet', id);
}

function checkAddress(address: string, subnet: FullSubnet, countMax: number): string {
  if (countMax > 1) fail('InvalidParameterCombination', 'The parameter privateIpAddress cannot be used to launch more than one instance');
  if (!ipaddr.IPv4.isValidFourPartDecimal(address)) fail('InvalidParameterValue', `Invalid IPv4 address: ${address.slice(0, 60)}`);
  if (!ipaddr.IPv4.parse(address).match(ipaddr.IPv4.parseCIDR(subnet.cidr))) {
    fail('InvalidParameterValue', `Address ${address} does not fall within the subnet's address range`);
  }
  return address;
}
