// VPCs that projects make for themselves, where each project has networks of its own: what is made, what is refused, what keeps what from being
// deleted, and what the hosts are told.
import { and, eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { networksOfHost, type ProjectNetworkPolicy } from '../../src/db/project-networks.ts';
import { waysOut } from '../../src/db/route-tables.ts';
import { claimAddress } from '../../src/db/networks.ts';
import { instances, networks, subnets } from '../../src/db/schema/all.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

const projectNetworks: ProjectNetworkPolicy = { manager: 'vxlan', cidr: '172.31.0.0/20', segments: { min: 5_000, max: 5_007 }, mtu: 1450 };
let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab({ projectNetworks });
  for (const [name, who] of [['ann', lab.ann], ['bob', lab.bob]] as const) {
    for (const project of [undefined, name]) await lab.auth.addRole(name, 'netadmin', project);
    Object.assign(who, await lab.auth.principalFor(name, name));
  }
});
beforeEach(() => lab.clear());
afterAll(() => lab.close());

const everywhere = { DestinationCidrBlock: '0.0.0.0/0' };
const filter = (name: string, value: string): Params => ({ 'Filter.1.Name': name, 'Filter.1.Value.1': value });
const made = async (action: string, member: string, id: string, params: Params = {}, as = lab.ann): Promise<string> =>
  String(at(await lab.ask(action, params, as), member, id));
const makeVpc = (CidrBlock = '10.0.0.0/16', as = lab.ann) => made('CreateVpc', 'vpc', 'vpcId', { CidrBlock }, as);
const makeSubnet = (VpcId: string, CidrBlock: string) => made('CreateSubnet', 'subnet', 'subnetId', { VpcId, CidrBlock });
const makeGateway = () => made('CreateInternetGateway', 'internetGateway', 'internetGatewayId');
const makeTable = (VpcId: string) => made('CreateRouteTable', 'routeTable', 'routeTableId', { VpcId });
const mainTable = async (vpcId: string): Promise<string> =>
  String(items(await lab.ask('DescribeRouteTables', {
    ...filter('vpc-id', vpcId), 'Filter.2.Name': 'association.main', 'Filter.2.Value.1': 'true',
  }), 'routeTableSet')[0]?.['routeTableId']);
const launch = async (params: Params): Promise<Element> =>
  items(await lab.ask('RunInstances', { ImageId: await lab.addImage(), MinCount: 1, MaxCount: 1, ...params }), 'instancesSet')[0] ?? {};
const networkOf = async (subnetId: string): Promise<string> => {
  const [row] = await lab.db.select().from(subnets).where(eq(subnets.id, subnetId));
  return row?.networkId ?? '';
};
const ways = async (subnetId: string): Promise<readonly string[] | undefined> => {
  const id = await networkOf(subnetId);
  return (await waysOut(lab.db, [id])).get(id);
};
/** As the hosts make it run. */
async function run(subnetId: string): Promise<string> {
  const instanceId = String((await launch({ SubnetId: subnetId }))['instanceId']);
  await lab.db.update(instances).set({ state: 'running', host: 'host1' }).where(eq(instances.id, instanceId));
  await claimAddress(lab.db, { networkId: await networkOf(subnetId), instanceId, now: new Date() });
  return instanceId;
}
const toldNetworks = async () => (await lab.told()).filter(({ verb }) => verb === 'refreshFirewall').map(({ to }) => to);

describe('a VPC', () => {
  it('is made with a main route table to itself, an ACL, a default group and no way out, beside the default one', async () => {
    const answer = await lab.ask('CreateVpc', {
      CidrBlock: '10.0.3.7/16', 'TagSpecification.1.ResourceType': 'vpc', 'TagSpecification.1.Tag.1.Key': 'Name', 'TagSpecification.1.Tag.1.Value': 'shop',
    });
    const id = String(at(answer, 'vpc', 'vpcId'));
    expect(at(answer, 'vpc')).toMatchObject({ cidrBlock: '10.0.0.0/16', isDefault: 'false', tagSet: { item: [{ key: 'Name', value: 'shop' }] } });
    const [shown] = items(await lab.ask('DescribeVpcs', filter('tag:Name', 'shop')), 'vpcSet');
    expect(shown).toEqual(at(answer, 'vpc'));
    const [table] = items(await lab.ask('DescribeRouteTables', filter('vpc-id', id)), 'routeTableSet');
    expect(items(table, 'routeSet')).toMatchObject([{ destinationCidrBlock: '10.0.0.0/16', gatewayId: 'local' }]);
    expect(items(table, 'associationSet')).toMatchObject([{ main: 'true' }]);
    expect(items(await lab.ask('DescribeNetworkAcls', filter('vpc-id', id)), 'networkAclSet')).toHaveLength(1);
    expect(items(await lab.ask('DescribeSecurityGroups', filter('vpc-id', id)), 'securityGroupInfo')).toMatchObject([{ groupName: 'default' }]);
    expect(items(await lab.ask('DescribeSubnets', filter('vpc-id', id)), 'subnetSet')).toEqual([]);
    expect(items(await lab.ask('DescribeVpcs'), 'vpcSet').map((vpc) => vpc['isDefault']).toSorted()).toEqual(['false', 'true']);
    expect(at(await lab.ask('DescribeVpcAttribute', { VpcId: id, Attribute: 'enableDnsHostnames' }), 'enableDnsHostnames', 'value')).toBe('false');
  });

  it('has a range of its own size, and nothing that networks of projects have not', async () => {
    for (const [params, code] of [
      [{ CidrBlock: '10.0.0.0/15' }, 'InvalidVpc.Range'], [{ CidrBlock: '10.0.0.0/29' }, 'InvalidVpc.Range'],
      [{ CidrBlock: '169.254.64.0/24' }, 'InvalidVpc.Range'], [{ CidrBlock: '127.0.0.0/16' }, 'InvalidVpc.Range'],
      [{ CidrBlock: 'everything' }, 'InvalidParameterValue'], [{}, 'MissingParameter'],
      [{ CidrBlock: '10.0.0.0/16', InstanceTenancy: 'dedicated' }, 'UnsupportedOperation'],
      [{ CidrBlock: '10.0.0.0/16', AmazonProvidedIpv6CidrBlock: true }, 'UnsupportedOperation'],
    ] as const) expect(await lab.codeOf('CreateVpc', params), JSON.stringify(params)).toBe(code);
  });

  it('may have the range of any other, and a project has as many as it may', async () => {
    const own = await Promise.all([1, 2, 3, 4].map(() => makeVpc()));
    expect(new Set(own).size).toBe(4);
    expect(await lab.codeOf('CreateVpc', { CidrBlock: '10.0.0.0/16' })).toBe('VpcLimitExceeded');
    await makeVpc('10.0.0.0/16', lab.bob);
  });

  it('is deleted when nothing is left in it but what was made with it', async () => {
    const id = await makeVpc();
    const refused = async (why: string) => expect(await lab.codeOf('DeleteVpc', { VpcId: id }), why).toBe('DependencyViolation');
    const subnet = await makeSubnet(id, '10.0.1.0/24');
    await refused('a subnet');
    await lab.ask('DeleteSubnet', { SubnetId: subnet });
    const gateway = await makeGateway();
    await lab.ask('AttachInternetGateway', { InternetGatewayId: gateway, VpcId: id });
    await refused('a gateway');
    await lab.ask('DetachInternetGateway', { InternetGatewayId: gateway, VpcId: id });
    const table = await makeTable(id);
    await refused('a route table');
    await lab.ask('DeleteRouteTable', { RouteTableId: table });
    const group = String((await lab.ask('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x', VpcId: id }))['groupId']);
    await refused('a group');
    await lab.ask('DeleteSecurityGroup', { GroupId: group });
    expect(await lab.codeOf('DeleteVpc', { VpcId: id }, lab.bob)).toBe('InvalidVpcID.NotFound');
    expect(await lab.codeOf('DeleteVpc', { VpcId: id })).toBe('ok');
    expect(await lab.codeOf('DescribeVpcs', { 'VpcId.1': id })).toBe('InvalidVpcID.NotFound');
    expect(items(await lab.ask('DescribeSecurityGroups', filter('vpc-id', id)), 'securityGroupInfo')).toEqual([]);
    const standard = items(await lab.ask('DescribeVpcs'), 'vpcSet')[0];
    expect(await lab.codeOf('DeleteVpc', { VpcId: String(standard?.['vpcId']) })).toBe('UnsupportedOperation');
  });
});

describe('a subnet', () => {
  it('is a network of its own behind the router of its VPC, which hosts with members of the VPC are told of', async () => {
    const id = await makeVpc();
    const one = await makeSubnet(id, '10.0.1.0/24');
    await run(one);
    await toldNetworks();
    const answer = await lab.ask('CreateSubnet', { VpcId: id, CidrBlock: '10.0.2.9/24', AvailabilityZone: 'nova' });
    expect(at(answer, 'subnet')).toMatchObject({
      cidrBlock: '10.0.2.0/24', vpcId: id, availabilityZone: 'nova', availableIpAddressCount: '251', defaultForAz: 'false', mapPublicIpOnLaunch: 'false',
    });
    expect(await toldNetworks()).toEqual(['network@host1']);
    const plumbed = (await networksOfHost(lab.db, 'host1')).filter((network) => network.routerId === id);
    expect(plumbed.map((network) => network.cidr).toSorted()).toEqual(['10.0.1.0/24', '10.0.2.0/24']);
    expect(new Set(plumbed.map((network) => network.segment)).size).toBe(2);
  });

  it('is within its VPC and meets no other one', async () => {
    const VpcId = await makeVpc();
    await makeSubnet(VpcId, '10.0.16.0/20');
    for (const [CidrBlock, code] of [
      ['10.1.0.0/24', 'InvalidSubnet.Range'], ['10.0.0.0/15', 'InvalidSubnet.Range'], ['10.0.0.0/30', 'InvalidSubnet.Range'],
      ['10.0.17.0/24', 'InvalidSubnet.Conflict'], ['10.0.0.0/16', 'InvalidSubnet.Conflict'], ['10.0.16.0/20', 'InvalidSubnet.Conflict'],
      ['10.0', 'InvalidParameterValue'],
    ] as const) expect(await lab.codeOf('CreateSubnet', { VpcId, CidrBlock }), CidrBlock).toBe(code);
    expect(await lab.codeOf('CreateSubnet', { VpcId, CidrBlock: '10.0.0.0/24', AvailabilityZone: 'moon' })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('CreateSubnet', { VpcId: 'vpc-0123456789abcdef0', CidrBlock: '10.0.0.0/24' })).toBe('InvalidVpcID.NotFound');
    expect(await lab.codeOf('CreateSubnet', { VpcId, CidrBlock: '10.0.0.0/24' }, lab.bob)).toBe('InvalidVpcID.NotFound');
  });

  it('of ten that meet, asked for at once, is made once; and there are not more than may be', async () => {
    const VpcId = await makeVpc();
    const codes = await Promise.all(Array.from({ length: 10 }, () => lab.codeOf('CreateSubnet', { VpcId, CidrBlock: '10.0.9.0/24' })));
    expect(codes.toSorted()).toEqual([...Array.from({ length: 9 }, () => 'InvalidSubnet.Conflict'), 'ok']);
    for (const n of [1, 2, 3, 4]) await makeSubnet(VpcId, `10.0.${n}.0/24`);
    expect(await lab.codeOf('CreateSubnet', { VpcId, CidrBlock: '10.0.5.0/24' })).toBe('SubnetLimitExceeded');
  });

  it('ends the numbers of networks that the cloud has', async () => {
    const [one, two] = [await makeVpc(), await makeVpc()];
    for (const n of [1, 2, 3, 4]) await makeSubnet(one, `10.0.${n}.0/24`);
    for (const n of [1, 2, 3]) await makeSubnet(two, `10.0.${n}.0/24`);
    expect(await lab.codeOf('CreateSubnet', { VpcId: two, CidrBlock: '10.0.9.0/24' })).toBe('SubnetLimitExceeded');
  });

  it('has instances with groups of its VPC only, and stays until the last has ended', async () => {
    const id = await makeVpc();
    const [subnet, other] = [await makeSubnet(id, '10.0.1.0/24'), await makeSubnet(id, '10.0.2.0/24')];
    const group = String((await lab.ask('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x', VpcId: id }))['groupId']);
    const foreign = String((await lab.ask('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x' }))['groupId']);
    const one = await launch({ SubnetId: subnet, 'SecurityGroupId.1': group, PrivateIpAddress: '10.0.1.77' });
    expect(one).toMatchObject({ subnetId: subnet, vpcId: id, privateIpAddress: '10.0.1.77', groupSet: { item: [{ groupId: group }] } });
    const refused = { ImageId: await lab.addImage(), MinCount: 1, MaxCount: 1, SubnetId: subnet };
    expect(await lab.codeOf('RunInstances', { ...refused, 'SecurityGroupId.1': foreign })).toBe('InvalidParameter');
    expect(await lab.codeOf('RunInstances', { ...refused, PrivateIpAddress: '10.0.2.5' })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('RunInstances', { ...refused, 'Placement.AvailabilityZone': 'moon' })).toBe('InvalidParameterValue');
    const reachable = { 'NetworkInterface.1.DeviceIndex': 0, 'NetworkInterface.1.AssociatePublicIpAddress': true, SubnetId: '' };
    expect(await lab.codeOf('RunInstances', { ...refused, ...reachable })).toBe('UnsupportedOperation');
    expect(await lab.codeOf('ModifySubnetAttribute', { SubnetId: subnet, 'MapPublicIpOnLaunch.Value': true })).toBe('UnsupportedOperation');
    expect(await lab.codeOf('DeleteSubnet', { SubnetId: subnet })).toBe('DependencyViolation');
    expect(await lab.codeOf('DeleteSubnet', { SubnetId: other })).toBe('ok');
    const [row] = await lab.db.select().from(instances).where(eq(instances.id, String(one['instanceId'])));
    expect(row).toMatchObject({ networkId: await networkOf(subnet), subnetId: subnet });
    await lab.db.update(instances).set({ state: 'terminated' }).where(eq(instances.id, String(one['instanceId'])));
    await lab.db.execute('update fixed_addresses set instance_id = null');
    expect(await lab.codeOf('DeleteSubnet', { SubnetId: subnet })).toBe('ok');
    expect(await lab.db.select().from(networks).where(eq(networks.routerId, id))).toEqual([]);
    expect(items(await lab.ask('DescribeInstances', { 'InstanceId.1': String(one['instanceId']) }), 'reservationSet')).toHaveLength(1);
    const [standard] = items(await lab.ask('DescribeSubnets', filter('default-for-az', 'true')), 'subnetSet');
    expect(standard).toMatchObject({ mapPublicIpOnLaunch: 'false' });
    expect(await lab.codeOf('DeleteSubnet', { SubnetId: String(standard?.['subnetId']) })).toBe('UnsupportedOperation');
  });
});

describe('the way out', () => {
  it('of a subnet is what its own table, or else the main one, leads to a gateway that is attached', async () => {
    const id = await makeVpc();
    const [one, two] = [await makeSubnet(id, '10.0.1.0/24'), await makeSubnet(id, '10.0.2.0/24')];
    const [gateway, table] = [await makeGateway(), await makeTable(id)];
    expect(await lab.codeOf('CreateRoute', { RouteTableId: table, GatewayId: gateway, ...everywhere })).toBe('InvalidParameterValue');
    await lab.ask('AttachInternetGateway', { InternetGatewayId: gateway, VpcId: id });
    await lab.ask('CreateRoute', { RouteTableId: table, GatewayId: gateway, ...everywhere });
    expect([await ways(one), await ways(two)]).toEqual([[], []]);
    await run(one);
    await toldNetworks();
    const { associationId } = await lab.ask('AssociateRouteTable', { RouteTableId: table, SubnetId: one });
    expect(await toldNetworks()).toEqual(['network@host1']);
    expect([await ways(one), await ways(two)]).toEqual([['0.0.0.0/0'], []]);
    await lab.ask('CreateRoute', { RouteTableId: await mainTable(id), GatewayId: gateway, DestinationCidrBlock: '198.51.100.7/24' });
    expect(await ways(two)).toEqual(['198.51.100.0/24']);
    const { newAssociationId } = await lab.ask('ReplaceRouteTableAssociation', { AssociationId: String(associationId), RouteTableId: await mainTable(id) });
    expect(await ways(one)).toEqual(['198.51.100.0/24']);
    await lab.ask('DisassociateRouteTable', { AssociationId: String(newAssociationId) });
    expect(await lab.codeOf('DisassociateRouteTable', { AssociationId: String(newAssociationId) })).toBe('InvalidAssociationID.NotFound');
    await lab.ask('DetachInternetGateway', { InternetGatewayId: gateway, VpcId: id });
    expect(await ways(two)).toEqual([]);
    const [shown] = items(await lab.ask('DescribeRouteTables', { 'RouteTableId.1': table }), 'routeTableSet');
    expect(items(shown, 'routeSet').map((route) => route['state'])).toEqual(['active', 'blackhole']);
  });

  it('of the default VPC is there from the first, and can be closed as well', async () => {
    const [vpc] = items(await lab.ask('DescribeVpcs'), 'vpcSet');
    const [subnet] = items(await lab.ask('DescribeSubnets'), 'subnetSet');
    const [VpcId, SubnetId] = [String(vpc?.['vpcId']), String(subnet?.['subnetId'])];
    expect(await ways(SubnetId)).toEqual(['0.0.0.0/0']);
    await lab.ask('DeleteRoute', { RouteTableId: await mainTable(VpcId), ...everywhere });
    expect(await ways(SubnetId)).toEqual([]);
    await makeSubnet(VpcId, '172.31.128.0/24');
  });

  it('has a main table that can be another one, and tables that stay while they are followed', async () => {
    const id = await makeVpc();
    const subnet = await makeSubnet(id, '10.0.1.0/24');
    const [main, table] = [await mainTable(id), await makeTable(id)];
    const [shown] = items(await lab.ask('DescribeRouteTables', { 'RouteTableId.1': main }), 'routeTableSet');
    const association = String(items(shown, 'associationSet')[0]?.['routeTableAssociationId']);
    expect(await lab.codeOf('DisassociateRouteTable', { AssociationId: association })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('DeleteRouteTable', { RouteTableId: main })).toBe('DependencyViolation');
    await lab.ask('ReplaceRouteTableAssociation', { AssociationId: association, RouteTableId: table });
    expect(await lab.codeOf('DeleteRouteTable', { RouteTableId: table })).toBe('DependencyViolation');
    await lab.ask('AssociateRouteTable', { RouteTableId: main, SubnetId: subnet });
    expect(await lab.codeOf('AssociateRouteTable', { RouteTableId: main, SubnetId: subnet })).toBe('Resource.AlreadyAssociated');
    expect(await lab.codeOf('DeleteRouteTable', { RouteTableId: main })).toBe('DependencyViolation');
    const elsewhere = await makeTable(await makeVpc());
    expect(await lab.codeOf('AssociateRouteTable', { RouteTableId: elsewhere, SubnetId: subnet })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('DeleteRouteTable', { RouteTableId: elsewhere })).toBe('ok');
    expect(await lab.codeOf('DeleteRouteTable', { RouteTableId: elsewhere })).toBe('InvalidRouteTableID.NotFound');
  });

  it('has routes to gateways only, one for each range, and none into the VPC itself', async () => {
    const id = await makeVpc();
    const [RouteTableId, gateway] = [await mainTable(id), await makeGateway()];
    await lab.ask('AttachInternetGateway', { InternetGatewayId: gateway, VpcId: id });
    const route = (params: Params) => lab.codeOf('CreateRoute', { RouteTableId, ...params });
    expect(await route({ ...everywhere, NatGatewayId: 'nat-0123456789abcdef0' })).toBe('UnsupportedOperation');
    expect(await route({ ...everywhere, InstanceId: 'i-0123456789abcdef0' })).toBe('UnsupportedOperation');
    expect(await route({ DestinationIpv6CidrBlock: '::/0', GatewayId: gateway })).toBe('UnsupportedOperation');
    expect(await route({ ...everywhere, GatewayId: gateway, NatGatewayId: 'nat-0123456789abcdef0' })).toBe('InvalidParameterCombination');
    expect(await route({ ...everywhere, GatewayId: 'local' })).toBe('InvalidInternetGatewayId.Malformed');
    expect(await route({ ...everywhere, GatewayId: 'igw-0123456789abcdef0' })).toBe('InvalidInternetGatewayID.NotFound');
    expect(await route(everywhere)).toBe('MissingParameter');
    expect(await route({ DestinationCidrBlock: '10.0.1.0/24', GatewayId: gateway })).toBe('InvalidParameterValue');
    const replaced = () => lab.codeOf('ReplaceRoute', { RouteTableId, ...everywhere, GatewayId: gateway });
    expect(await replaced()).toBe('InvalidParameterValue');
    expect(await route({ ...everywhere, GatewayId: gateway })).toBe('ok');
    expect(await route({ ...everywhere, GatewayId: gateway })).toBe('RouteAlreadyExists');
    expect(await replaced()).toBe('ok');
    expect(await lab.codeOf('DeleteRoute', { RouteTableId, DestinationCidrBlock: '10.0.0.0/16' })).toBe('InvalidParameterValue');
    expect(await lab.codeOf('DeleteRoute', { RouteTableId, ...everywhere })).toBe('ok');
    expect(await lab.codeOf('DeleteRoute', { RouteTableId, ...everywhere })).toBe('InvalidRoute.NotFound');
  });

  it('is one gateway for a VPC and one VPC for a gateway, kept by floating addresses, which need it', async () => {
    const [one, two] = [await makeVpc(), await makeVpc()];
    const [first, second] = [await makeGateway(), await makeGateway()];
    const pair = (InternetGatewayId: string, VpcId: string) => ({ InternetGatewayId, VpcId });
    const instanceId = await run(await makeSubnet(one, '10.0.1.0/24'));
    await lab.db.execute(`insert into floating_addresses (address, pool, position) values ('192.0.2.1', 'default', 1) on conflict do nothing`);
    const { publicIp } = await lab.ask('AllocateAddress');
    const address = { PublicIp: String(publicIp), InstanceId: instanceId };
    expect(await lab.codeOf('AssociateAddress', address)).toBe('Gateway.NotAttached');
    expect(await lab.codeOf('AttachInternetGateway', pair(first, one))).toBe('ok');
    expect(await lab.codeOf('AttachInternetGateway', pair(first, two))).toBe('Resource.AlreadyAssociated');
    expect(await lab.codeOf('AttachInternetGateway', pair(second, one))).toBe('InvalidParameterValue');
    expect(await lab.codeOf('AssociateAddress', address)).toBe('ok');
    expect(await lab.codeOf('DetachInternetGateway', pair(first, one))).toBe('DependencyViolation');
    expect(await lab.codeOf('DeleteInternetGateway', { InternetGatewayId: first })).toBe('DependencyViolation');
    await lab.ask('DisassociateAddress', { PublicIp: String(publicIp) });
    expect(await lab.codeOf('DetachInternetGateway', pair(first, two))).toBe('Gateway.NotAttached');
    expect(await lab.codeOf('DetachInternetGateway', pair(first, one))).toBe('ok');
    expect(await lab.codeOf('DeleteInternetGateway', { InternetGatewayId: first })).toBe('ok');
    expect(await lab.codeOf('DeleteInternetGateway', { InternetGatewayId: first })).toBe('InvalidInternetGatewayID.NotFound');
    expect(await lab.codeOf('DeleteInternetGateway', { InternetGatewayId: second }, lab.bob)).toBe('InvalidInternetGatewayID.NotFound');
    expect(await lab.db.select().from(instances).where(and(eq(instances.id, instanceId), eq(instances.state, 'running')))).toHaveLength(1);
  });
});
