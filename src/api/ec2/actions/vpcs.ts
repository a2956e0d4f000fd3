// Virtual private clouds: made where networks of projects are, seen, their attributes, deleted.
import { createVpc, deleteVpc } from '../../../db/make-vpcs.ts';
import { dhcpOptionsOf, setDnsHostnames, vpcsOf, type Vpc } from '../../../db/vpcs.ts';
import { derivedId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters, type OutputOf } from '../action.ts';
import { describe } from '../describe.ts';
import { checkedId, failNotFound, wantedIds } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { changeOf, checkDeleted, defaultVpcOf, loadTagged, networkChangers, page, projectNetworks, type Tagged } from '../vpc-access.ts';
import { checkRange } from '../vpc-range.ts';

const isDefault = (vpc: Vpc): boolean => vpc.isDefault;
const cidr = (vpc: Vpc): string => vpc.cidr;

const filters = (dhcpOptionsId: string | undefined): Filters<Tagged<Vpc>> => ({
  cidr,
  'cidr-block': cidr,
  'cidr-block-association.association-id': (vpc) => derivedId('vpc-cidr-assoc', vpc.id),
  'cidr-block-association.cidr-block': cidr,
  'cidr-block-association.state': () => 'associated',
  'dhcp-options-id': () => dhcpOptionsId,
  'is-default': isDefault,
  isDefault,
  'owner-id': (vpc) => vpc.projectId,
  state: () => 'available',
  'vpc-id': (vpc) => vpc.id,
});

const showVpc = (vpc: Tagged<Vpc>, dhcpOptionsId: string | undefined) => ({
  VpcId: vpc.id,
  OwnerId: vpc.projectId,
  State: 'available' as const,
  CidrBlock: vpc.cidr,
  CidrBlockAssociationSet: [{ AssociationId: derivedId('vpc-cidr-assoc', vpc.id), CidrBlock: vpc.cidr, CidrBlockState: { State: 'associated' as const } }],
  Ipv6CidrBlockAssociationSet: [],
  DhcpOptionsId: dhcpOptionsId,
  InstanceTenancy: 'default' as const,
  IsDefault: vpc.isDefault,
  Tags: [...vpc.tags],
});

const describeVpcs = action({
  name: 'DescribeVpcs',
  doc: 'The virtual private clouds of the project. The default one is made by looking.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed'],
  filters: Object.keys(filters('')),
  async handle(call, input) {
    const items = await loadTagged(call, (projectId) => vpcsOf(call.db, projectId));
    const dhcpOptionsId = await dhcpOptionsOf(call.db, call.principal.projectId);
    const found = describe<Tagged<Vpc>>({
      input, items, id: (vpc) => vpc.id, ids: wantedIds('vpc', input.VpcIds), filters: filters(dhcpOptionsId), tags: (vpc) => vpc.tags, page,
    });
    return { Vpcs: found.items.map((vpc) => showVpc(vpc, dhcpOptionsId)), NextToken: found.NextToken };
  },
});

const create = action({
  name: 'CreateVpc',
  doc: 'Makes a VPC without a way out, with its main route table, network ACL and default group. Where all projects share one network it is refused.',
  roles: networkChangers,
  errors: ['InvalidParameterValue', 'InvalidVpc.Range', 'MissingParameter', 'TagLimitExceeded', 'UnsupportedOperation', 'VpcLimitExceeded'],
  async handle(call, input) {
    await projectNetworks(call);
    if ((input.InstanceTenancy ?? 'default') !== 'default') return call.fail('UnsupportedOperation', 'Hosts of this cloud are shared: the tenancy is default.');
    if (input.AmazonProvidedIpv6CidrBlock === true || (input.Ipv6CidrBlock ?? input.Ipv6IpamPoolId ?? input.Ipv6Pool ?? '') !== '') {
      return call.fail('UnsupportedOperation', 'Networks of projects are IPv4 only.');
    }
    if ((input.Ipv4IpamPoolId ?? '') !== '') return call.fail('UnsupportedOperation', 'There are no pools of ranges: name a CidrBlock.');
    const { cidr: range } = checkRange(input.CidrBlock, 'Vpc');
    const tags = tagsFor(input.TagSpecifications, 'vpc');
    await defaultVpcOf(call);
    const made = await createVpc(call.db, { ...changeOf(call), cidr: range, tags, countMax: call.vpcsPerProjectMax });
    if (made === undefined) return call.fail('VpcLimitExceeded', 'The maximum number of VPCs has been reached.');
    return { Vpc: showVpc({ ...made, tags }, await dhcpOptionsOf(call.db, made.projectId)) };
  },
});

const remove = action({
  name: 'DeleteVpc',
  doc: 'Deletes a VPC that has neither subnets nor a gateway, nor route tables and groups of its users. The default one stays.',
  roles: networkChangers,
  errors: ['DependencyViolation', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'UnsupportedOperation'],
  async handle(call, input) {
    const vpc = await vpcNamed(call, input.VpcId);
    if (vpc.isDefault) return call.fail('UnsupportedOperation', 'The default VPC is the network of the project: it cannot be deleted.');
    checkDeleted(await deleteVpc(call.db, { projectId: vpc.projectId, vpcId: vpc.id }), 'vpc', vpc.id);
    return {};
  },
});

async function vpcNamed(call: Call, given: string | undefined): Promise<Vpc> {
  const id = checkedId('vpc', given);
  const rows = await loadTagged(call, (projectId) => vpcsOf(call.db, projectId));
  return rows.find((vpc) => vpc.id === id) ?? failNotFound('vpc', id);
}

const described: Readonly<Record<string, (vpc: Vpc) => Omit<OutputOf<'DescribeVpcAttribute'>, 'VpcId'>>> = {
  // The network's DHCP server is its DNS server, and always there.
  enableDnsSupport: () => ({ EnableDnsSupport: { Value: true } }),
  enableDnsHostnames: (vpc) => ({ EnableDnsHostnames: { Value: vpc.enableDnsHostnames } }),
  enableNetworkAddressUsageMetrics: () => ({ EnableNetworkAddressUsageMetrics: { Value: false } }),
};

const describeAttribute = action({
  name: 'DescribeVpcAttribute',
  doc: 'One attribute of a VPC.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const attribute: string = input.Attribute ?? '';
    const describes = Object.hasOwn(described, attribute) ? described[attribute] : undefined;
    if (describes === undefined) return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid.`);
    const vpc = await vpcNamed(call, input.VpcId);
    return { VpcId: vpc.id, ...describes(vpc) };
  },
});

const modifyAttribute = action({
  name: 'ModifyVpcAttribute',
  doc: 'Says whether instances with a public address are shown with a name for it. What cannot be otherwise is refused, unless asked for as it is.',
  roles: networkChangers,
  errors: ['InvalidParameterCombination', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    const { EnableDnsHostnames: hostnames, EnableDnsSupport: support, EnableNetworkAddressUsageMetrics: metrics } = input;
    const given = [hostnames?.Value, support?.Value, metrics?.Value].filter((value) => value !== undefined);
    if (given.length === 0) return call.fail('MissingParameter', 'No attributes specified.');
    if (given.length > 1) return call.fail('InvalidParameterCombination', 'Fields for multiple attribute types specified');
    const vpc = await vpcNamed(call, input.VpcId);
    if (support?.Value === false) fail('UnsupportedOperation', 'The DNS of a VPC cannot be switched off: its DHCP server answers names as well.');
    if (metrics?.Value === true) fail('UnsupportedOperation', 'Metrics of network address usage are not kept.');
    if (hostnames?.Value !== undefined) await setDnsHostnames(call.db, vpc.id, hostnames.Value);
    return {};
  },
});

export const vpcActions = [create, remove, describeVpcs, describeAttribute, modifyAttribute] as const;
