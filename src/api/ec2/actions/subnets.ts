// Subnets: seen, and their one attribute.
import { setPublicOnLaunch, subnetsOf, type FullSubnet } from '../../../db/vpcs.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { describe } from '../describe.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { loadTagged, networkChangers, page, type Tagged } from '../vpc-access.ts';

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
  AssignIpv6AddressOnCreation: false,
  Ipv6CidrBlockAssociationSet: [],
  Ipv6Native: false,
  EnableDns64: false,
  PrivateDnsNameOptionsOnLaunch: { HostnameType: 'resource-name' as const, EnableResourceNameDnsARecord: true, EnableResourceNameDnsAAAARecord: false },
  Tags: [...subnet.tags],
});

const load = (call: Call): Promise<Tagged<FullSubnet>[]> => loadTagged(call, (projectId) => subnetsOf(call.db, projectId));

const describeSubnets = action({
  name: 'DescribeSubnets',
  doc: 'The subnets of the project. The default one is made by looking. Hosts of every zone serve every subnet, whatever zone is shown.',
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
    const id = checkedId('subnet', input.SubnetId);
    const subnet = (await load(call)).find((each) => each.id === id) ?? failNotFound('subnet', id);
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

export const subnetActions = [describeSubnets, modifyAttribute] as const;
