// Subnets: made, seen, their one attribute, deleted.
import { createSubnet, deleteSubnet } from '../../../db/make-vpcs.ts';
import { zoneHasHosts } from '../../../db/reservations.ts';
import { setPublicOnLaunch, subnetsOf, type FullSubnet } from '../../../db/vpcs.ts';
import { derivedId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { changeOf, checkDeleted, defaultVpcOf, loadTagged, networkChangers, page, projectNetworks, type Tagged } from '../vpc-access.ts';
import { checkRange } from '../vpc-range.ts';

const arnOf = (call: Pick<Call, 'region'>, subnet: FullSubnet): string => `arn:aws:ec2:${call.region}:${subnet.projectId}:subnet/${subnet.id}`;
const zone = (subnet: FullSubnet): string => subnet.zone;
const cidr = (subnet: FullSubnet): string => subnet.cidr;
const isDefault = (subnet: FullSubnet): boolean => subnet.isDefault;

const filters = (call: Pick<Call, 'region'>): Filters<Tagged<FullSubnet>> => ({
  availabilityZone: zone,
  'availability-zone': zone,
  'availability-zone-id': zone,
  'available-ip-address-count': (subnet) => subnet.freeAddresses,
  cidr,
  cidrBlock: cidr,
  'cidr-block': cidr,
  defaultForAz: isDefault,
  'default-for-az': isDefault,
  'map-public-ip-on-launch': (subnet) => subnet.mapPublicIpOnLaunch,
  'owner-id': (subnet) => subnet.projectId,
  state: () => 'available',
  'subnet-arn': (subnet) => arnOf(call, subnet),
  'subnet-id': (subnet) => subnet.id,
  'vpc-id': (subnet) => subnet.vpcId,
});

const showSubnet = (call: Call, subnet: Tagged<FullSubnet>) => ({
  SubnetId: subnet.id,
  SubnetArn: arnOf(call, subnet),
  VpcId: subnet.vpcId,
  OwnerId: subnet.projectId,
  State: 'available' as const,
  AvailabilityZone: subnet.zone,
  AvailabilityZoneId: subnet.zone,
  CidrBlock: subnet.cidr,
  AvailableIpAddressCount: subnet.freeAddresses,
  DefaultForAz: subnet.isDefault,
  MapPublicIpOnLaunch: subnet.mapPublicIpOnLaunch,
  MapCustomerOwnedIpOnLaunch: false,
  AssignIpv6AddressOnCreation: subnet.ipv6Cidr !== null,
  Ipv6CidrBlockAssociationSet: subnet.ipv6Cidr === null ? [] : [{
    AssociationId: derivedId('subnet-cidr-assoc', subnet.id), Ipv6CidrBlock: subnet.ipv6Cidr, Ipv6CidrBlockState: { State: 'associated' as const },
  }],
  Ipv6Native: false,
  EnableDns64: false,
  PrivateDnsNameOptionsOnLaunch: { HostnameType: 'resource-name' as const, EnableResourceNameDnsARecord: true, EnableResourceNameDnsAAAARecord: false },
  Tags: [...subnet.tags],
});

const load = (call: Call): Promise<Tagged<FullSubnet>[]> => loadTagged(call, (projectId) => subnetsOf(call.db, projectId));

const describeSubnets = action({
  name: 'DescribeSubnets',
  doc: 'The subnets of the project. The default one is made by looking, and is served by hosts of every zone, whatever zone is shown.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidSubnetID.NotFound', 'InvalidSubnetId.Malformed'],
  filters: Object.keys(filters({ region: '' })),
  async handle(call, input) {
    const found = describe<Tagged<FullSubnet>>({
      input, items: await load(call), id: (subnet) => subnet.id, ids: wantedIds('subnet', input.SubnetIds), filters: filters(call),
      tags: (subnet) => subnet.tags, page,
    });
    return { Subnets: found.items.map((subnet) => showSubnet(call, subnet)), NextToken: found.NextToken };
  },
});

const create = action({
  name: 'CreateSubnet',
  doc: 'Makes a subnet of a VPC: a network of its own behind the VPC\'s router. Where all projects share one network it is refused.',
  roles: networkChangers,
  errors: [
    'InvalidParameterValue', 'InvalidSubnet.Conflict', 'InvalidSubnet.Range', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'MissingParameter',
    'SubnetLimitExceeded', 'TagLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const policy = await projectNetworks(call);
    const vpcId = checkedId('vpc', input.VpcId);
    if (input.Ipv6Native === true || (input.Ipv6CidrBlock ?? input.Ipv6IpamPoolId ?? '') !== '') {
      fail('UnsupportedOperation', 'Networks of projects are IPv4 only.');
    }
    if ((input.OutpostArn ?? input.Ipv4IpamPoolId ?? '') !== '') {
      fail('UnsupportedOperation', 'There are neither outposts nor pools of ranges: name a CidrBlock.');
    }
    const asked = checkRange(input.CidrBlock, 'Subnet');
    const tags = tagsFor(input.TagSpecifications, 'subnet');
    const inZone = await zoneAsked(call, input.AvailabilityZone ?? input.AvailabilityZoneId);
    await defaultVpcOf(call);
    const made = await createSubnet(call.db, {
      ...changeOf(call), ...asked, vpcId, zone: inZone, tags, policy, countMax: call.subnetsPerVpcMax,
    });
    switch (made.outcome) {
      case 'noVpc': return failNotFound('vpc', vpcId);
      case 'outside': return call.fail('InvalidSubnet.Range', `The CIDR '${asked.cidr}' is invalid.`);
      case 'conflict': return call.fail('InvalidSubnet.Conflict', `The CIDR '${asked.cidr}' conflicts with another subnet`);
      case 'tooMany': return call.fail('SubnetLimitExceeded', 'The maximum number of subnets has been reached.');
      case 'noSegment': return call.fail('SubnetLimitExceeded', 'The maximum number of networks of this cloud has been reached.');
      case 'made': {
        call.relay.kick();
        return { Subnet: showSubnet(call, await subnetNamed(call, made.subnetId)) };
      }
    }
  },
});

/** The cloud's main one, unless the request names another that has hosts. Zones have no other ids than their names. */
async function zoneAsked(call: Call, given: string | undefined): Promise<string> {
  if (given === undefined || given === '' || given === call.zone) return call.zone;
  if (await zoneHasHosts(call.db, given)) return given;
  return fail('InvalidParameterValue', `Value (${given.slice(0, 60)}) for parameter availabilityZone is invalid. No host is in that zone.`);
}

const remove = action({
  name: 'DeleteSubnet',
  doc: 'Deletes a subnet in which no instance is. The default one stays.',
  roles: networkChangers,
  errors: ['DependencyViolation', 'InvalidSubnetID.NotFound', 'InvalidSubnetId.Malformed', 'UnsupportedOperation'],
  async handle(call, input) {
    const subnet = await subnetNamed(call, input.SubnetId);
    if (subnet.isDefault) return call.fail('UnsupportedOperation', 'The default subnet is the network of the project: it cannot be deleted.');
    checkDeleted(await deleteSubnet(call.db, { ...changeOf(call), subnetId: subnet.id }), 'subnet', subnet.id);
    call.relay.kick();
    return {};
  },
});

async function subnetNamed(call: Call, given: string | undefined): Promise<Tagged<FullSubnet>> {
  const id = checkedId('subnet', given);
  return (await load(call)).find((each) => each.id === id) ?? failNotFound('subnet', id);
}

const modifyAttribute = action({
  name: 'ModifySubnetAttribute',
  doc: 'Says whether instances are launched with a public address. What cannot be otherwise is refused, unless asked for as it is.',
  roles: networkChangers,
  errors: ['InvalidParameterCombination', 'InvalidSubnetID.NotFound', 'InvalidSubnetId.Malformed', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    const { MapPublicIpOnLaunch: map, SubnetId: _which, ...others } = input;
    const given = Object.entries(others).filter(([, value]) => value !== undefined);
    if (given.length === 0 && map?.Value === undefined) return call.fail('MissingParameter', 'No attributes specified.');
    if (given.length + (map?.Value === undefined ? 0 : 1) > 1) return call.fail('InvalidParameterCombination', 'Fields for multiple attribute types specified');
    const subnet = await subnetNamed(call, input.SubnetId);
    for (const [name, value] of given) if (!isAsItIs(name, value)) fail('UnsupportedOperation', `The attribute ${name} of a subnet cannot be changed.`);
    if (map?.Value !== undefined) await changeMapping(call, subnet, map.Value);
    return {};
  },
});

/** What a client may say that changes nothing. */
function isAsItIs(name: string, value: unknown): boolean {
  const off = ['AssignIpv6AddressOnCreation', 'EnableDns64', 'EnableResourceNameDnsAAAARecordOnLaunch', 'MapCustomerOwnedIpOnLaunch'];
  const given = typeof value === 'object' && value !== null && 'Value' in value ? value.Value : value;
  if (name === 'PrivateDnsHostnameTypeOnLaunch') return given === 'resource-name';
  return name === 'EnableResourceNameDnsARecordOnLaunch' ? given === true : off.includes(name) && given === false;
}

async function changeMapping(call: Call, subnet: FullSubnet, isMapped: boolean): Promise<void> {
  if (isMapped && !subnet.isReachable) {
    fail('UnsupportedOperation', 'Addresses of this subnet are not reached from outside; allocate an address and associate it with the instance.');
  }
  await setPublicOnLaunch(call.db, subnet.id, isMapped);
}

export const subnetActions = [create, remove, describeSubnets, modifyAttribute] as const;
