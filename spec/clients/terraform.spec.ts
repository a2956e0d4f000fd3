// Terraform cannot be installed here: what its AWS provider sends for a VPC with subnet, gateway, route table, association, group, instance, address, volume
// and attachment, and for their end, as captured from it, is sent by boto3 to the whole product under `vxlan`, with simulated guests. The provider
// fails an apply when one of these is refused or does not show what was made.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ClientError, openBoto3, type Boto3 } from '../support/clients.ts';
import { onFailureShow, startCloudProcess, type CloudProcess } from '../support/cloud-process.ts';
import { createSecondProject } from '../support/second-project.ts';

let cloud: CloudProcess;
let boto3: Boto3;
let stranger: Boto3;
const made: Record<string, string> = {};
const ec2 = <T = Record<string, never>>(method: string, parameters: Record<string, unknown> = {}) => boto3.call<T>('ec2', method, parameters);
const codeOf = (method: string, parameters: Record<string, unknown>, who = boto3) =>
  who.call('ec2', method, parameters).then(() => 'ok', (error: unknown) => (error instanceof ClientError ? error.code : String(error)));
/** botocore's default is a look every 15 seconds. */
const quick = { WaiterConfig: { Delay: 1, MaxAttempts: 60 } };
const filters = (given: Readonly<Record<string, string>>) => Object.entries(given).map(([Name, value]) => ({ Name, Values: [value] }));
const tagged = (ResourceType: string) => [{ ResourceType, Tags: [{ Key: 'Name', Value: 'shop' }] }];
const id = (name: string): string => made[name] ?? (() => { throw new Error(`no ${name} was made`); })();

type Shown = Readonly<Record<string, unknown>>;

/** The one that is shown, in the list of the answer. */
async function one(method: string, list: string, parameters: Record<string, unknown> = {}): Promise<Shown> {
  const answer = await ec2<Record<string, Shown[]>>(method, parameters);
  expect(answer[list], `${method} ${JSON.stringify(parameters)}`).toHaveLength(1);
  return answer[list]?.[0] ?? {};
}

beforeAll(async () => {
  cloud = await startCloudProcess('clients-terraform', {
    guests: 'lxc', settings: { NOVACT_HYPERVISOR: 'sim', NOVACT_NETWORK_MANAGER: 'vxlan', NOVACT_PROJECT_RANGE: '172.31.0.0/24' },
  });
  await cloud.novact('manage', 'floating', 'create', '192.0.2.16/29');
  boto3 = openBoto3(cloud);
  stranger = openBoto3(cloud, await createSecondProject(cloud, 'stranger'));
});
afterAll(async () => {
  await boto3?.close();
  await stranger?.close();
  await cloud?.down();
});
onFailureShow(() => cloud);

describe('an apply', () => {
  it('makes aws_vpc and reads all that came with it', async () => {
    const { Vpc } = await ec2<{ Vpc: Shown }>('create_vpc', {
      CidrBlock: '10.0.0.0/16', InstanceTenancy: 'default', AmazonProvidedIpv6CidrBlock: false, TagSpecifications: tagged('vpc'),
    });
    made['vpc'] = String(Vpc['VpcId']);
    const VpcId = id('vpc');
    await ec2('wait:vpc_available', { VpcIds: [VpcId], ...quick });
    expect(await one('describe_vpcs', 'Vpcs', { VpcIds: [VpcId] })).toMatchObject({
      CidrBlock: '10.0.0.0/16', State: 'available', IsDefault: false, Tags: [{ Key: 'Name', Value: 'shop' }],
    });
    await ec2('modify_vpc_attribute', { VpcId, EnableDnsSupport: { Value: true } });
    await ec2('modify_vpc_attribute', { VpcId, EnableDnsHostnames: { Value: true } });
    for (const [Attribute, member, Value] of [
      ['enableDnsHostnames', 'EnableDnsHostnames', true], ['enableDnsSupport', 'EnableDnsSupport', true],
      ['enableNetworkAddressUsageMetrics', 'EnableNetworkAddressUsageMetrics', false],
    ] as const) expect(await ec2('describe_vpc_attribute', { VpcId, Attribute })).toMatchObject({ [member]: { Value } });
    await one('describe_network_acls', 'NetworkAcls', { Filters: filters({ default: 'true', 'vpc-id': VpcId }) });
    await one('describe_route_tables', 'RouteTables', { Filters: filters({ 'association.main': 'true', 'vpc-id': VpcId }) });
    await one('describe_security_groups', 'SecurityGroups', { Filters: filters({ 'group-name': 'default', 'vpc-id': VpcId }) });
  });

  it('makes aws_subnet, aws_internet_gateway, aws_route_table and aws_route_table_association', async () => {
    const VpcId = id('vpc');
    const { Subnet } = await ec2<{ Subnet: Shown }>('create_subnet', {
      CidrBlock: '10.0.1.0/24', VpcId, AvailabilityZone: 'nova', TagSpecifications: tagged('subnet'),
    });
    const SubnetId = made['subnet'] = String(Subnet['SubnetId']);
    await ec2('wait:subnet_available', { SubnetIds: [SubnetId], ...quick });
    expect(await one('describe_subnets', 'Subnets', { SubnetIds: [SubnetId] })).toMatchObject({ MapPublicIpOnLaunch: false, AvailableIpAddressCount: 251 });
    await one('describe_subnets', 'Subnets', { Filters: filters({ 'vpc-id': VpcId, 'cidr-block': '10.0.1.0/24' }) });

    const { InternetGateway } = await ec2<{ InternetGateway: Shown }>('create_internet_gateway', { TagSpecifications: tagged('internet-gateway') });
    const InternetGatewayId = made['gateway'] = String(InternetGateway['InternetGatewayId']);
    await ec2('wait:internet_gateway_exists', { InternetGatewayIds: [InternetGatewayId], ...quick });
    await ec2('attach_internet_gateway', { InternetGatewayId, VpcId });
    expect(await one('describe_internet_gateways', 'InternetGateways', { InternetGatewayIds: [InternetGatewayId] })).toMatchObject({
      Attachments: [{ VpcId, State: 'available' }],
    });

    const { RouteTable } = await ec2<{ RouteTable: Shown }>('create_route_table', { VpcId, TagSpecifications: tagged('route-table') });
    const RouteTableId = made['table'] = String(RouteTable['RouteTableId']);
    await one('describe_route_tables', 'RouteTables', { RouteTableIds: [RouteTableId] });
    expect(await ec2('create_route', { RouteTableId, DestinationCidrBlock: '0.0.0.0/0', GatewayId: InternetGatewayId })).toMatchObject({ Return: true });
    const table = await one('describe_route_tables', 'RouteTables', { RouteTableIds: [RouteTableId] });
    expect(table['Routes']).toMatchObject([
      { DestinationCidrBlock: '10.0.0.0/16', GatewayId: 'local', Origin: 'CreateRouteTable', State: 'active' },
      { DestinationCidrBlock: '0.0.0.0/0', GatewayId: InternetGatewayId, Origin: 'CreateRoute', State: 'active' },
    ]);
    const { AssociationId } = await ec2<{ AssociationId: string }>('associate_route_table', { RouteTableId, SubnetId });
    made['association'] = AssociationId;
    const followed = await one('describe_route_tables', 'RouteTables', { Filters: filters({ 'association.route-table-association-id': AssociationId }) });
    expect(followed['Associations']).toMatchObject([{ Main: false, SubnetId, AssociationState: { State: 'associated' } }]);
  });

  it('makes aws_security_group, aws_instance, aws_eip, aws_ebs_volume and aws_volume_attachment', async () => {
    const [VpcId, SubnetId] = [id('vpc'), id('subnet')];
    const { GroupId } = await ec2<{ GroupId: string }>('create_security_group', { GroupName: 'web', Description: 'Managed by Terraform', VpcId });
    made['group'] = GroupId;
    await ec2('wait:security_group_exists', { GroupIds: [GroupId], ...quick });
    const all = { IpProtocol: '-1', IpRanges: [{ CidrIp: '0.0.0.0/0' }] };
    await ec2('revoke_security_group_egress', { GroupId, IpPermissions: [all] });
    await ec2('authorize_security_group_ingress', { GroupId, IpPermissions: [{ IpProtocol: 'tcp', FromPort: 80, ToPort: 80, IpRanges: all.IpRanges }] });
    await ec2('authorize_security_group_egress', { GroupId, IpPermissions: [all] });
    expect((await ec2<{ SecurityGroupRules: Shown[] }>('describe_security_group_rules', { Filters: filters({ 'group-id': GroupId }) })).SecurityGroupRules)
      .toHaveLength(2);

    const image = await one('describe_images', 'Images', { Filters: filters({ name: 'novact-tiny', state: 'available' }) });
    const { Instances } = await ec2<{ Instances: Shown[] }>('run_instances', {
      ClientToken: 'terraform-20261129', ImageId: image['ImageId'], InstanceType: 't2.nano', MinCount: 1, MaxCount: 1, SubnetId, SecurityGroupIds: [GroupId],
      Placement: { AvailabilityZone: '' }, DisableApiTermination: false, Monitoring: { Enabled: false }, TagSpecifications: tagged('instance'),
    });
    const InstanceId = made['instance'] = String(Instances[0]?.['InstanceId']);
    await ec2('wait:instance_running', { InstanceIds: [InstanceId], ...quick });
    const { Reservations } = await ec2<{ Reservations: { Instances: Shown[] }[] }>('describe_instances', { InstanceIds: [InstanceId] });
    const instance = Reservations[0]?.Instances[0];
    expect(instance).toMatchObject({ SubnetId, VpcId, SecurityGroups: [{ GroupId }], PrivateIpAddress: expect.stringMatching(/^10\.0\.1\./) as string });
    expect(instance).not.toHaveProperty('PublicIpAddress');
    await ec2('describe_instance_types', { InstanceTypes: ['t2.nano'] });
    await ec2('describe_tags', { Filters: filters({ 'resource-id': InstanceId, key: 'aws:ec2launchtemplate:id' }) });
    await ec2('describe_instance_credit_specifications', { InstanceIds: [InstanceId] });
    for (const Attribute of ['disableApiTermination', 'disableApiStop', 'instanceInitiatedShutdownBehavior', 'userData']) {
      await ec2('describe_instance_attribute', { InstanceId, Attribute });
    }

    const { AllocationId, PublicIp } = await ec2<{ AllocationId: string; PublicIp: string }>('allocate_address', { Domain: 'vpc' });
    made['address'] = AllocationId;
    await one('describe_addresses', 'Addresses', { AllocationIds: [AllocationId] });
    await one('describe_addresses_attribute', 'Addresses', { AllocationIds: [AllocationId], Attribute: 'domain-name' });
    const { AssociationId } = await ec2<{ AssociationId: string }>('associate_address', { AllocationId, InstanceId, AllowReassociation: true });
    made['eip'] = AssociationId;
    expect(await one('describe_addresses', 'Addresses', { Filters: filters({ 'association-id': AssociationId }) })).toMatchObject({ InstanceId, PublicIp });

    const { VolumeId } = await ec2<{ VolumeId: string }>('create_volume', { AvailabilityZone: 'nova', Size: 1, TagSpecifications: tagged('volume') });
    made['volume'] = VolumeId;
    await ec2('wait:volume_available', { VolumeIds: [VolumeId], ...quick });
    const attachment = { Device: '/dev/sdh', InstanceId, VolumeId };
    await ec2('attach_volume', attachment);
    await ec2('wait:volume_in_use', { VolumeIds: [VolumeId], ...quick });
    const attached = await one('describe_volumes', 'Volumes', {
      VolumeIds: [VolumeId], Filters: filters({ 'attachment.device': '/dev/sdh', 'attachment.instance-id': InstanceId }),
    });
    expect(attached).toMatchObject({ MultiAttachEnabled: false });
  });
});

describe('what is made', () => {
  it('E22: is nobody else\'s: another project finds none of it, and leads no address of this one', async () => {
    const InstanceId = id('instance');
    for (const [method, parameters, code] of [
      ['describe_vpcs', { VpcIds: [id('vpc')] }, 'InvalidVpcID.NotFound'], ['delete_vpc', { VpcId: id('vpc') }, 'InvalidVpcID.NotFound'],
      ['create_subnet', { VpcId: id('vpc'), CidrBlock: '10.0.2.0/24' }, 'InvalidVpcID.NotFound'],
      ['delete_subnet', { SubnetId: id('subnet') }, 'InvalidSubnetID.NotFound'],
      ['detach_internet_gateway', { VpcId: id('vpc'), InternetGatewayId: id('gateway') }, 'InvalidInternetGatewayID.NotFound'],
      ['delete_route', { RouteTableId: id('table'), DestinationCidrBlock: '0.0.0.0/0' }, 'InvalidRouteTableID.NotFound'],
      ['associate_address', { AllocationId: id('address'), InstanceId }, 'InvalidInstanceID.NotFound'],
      ['release_address', { AllocationId: id('address') }, 'InvalidAllocationID.NotFound'],
    ] as const) expect(await codeOf(method, parameters, stranger), method).toBe(code);
    expect(await stranger.call('ec2', 'describe_addresses')).toMatchObject({ Addresses: [] });
  });
});

describe('a destroy', () => {
  it('takes instance, address and volume away, what others need being refused until they are gone', async () => {
    const [VpcId, InstanceId, VolumeId] = [id('vpc'), id('instance'), id('volume')];
    // The provider asks again for as long as this is the answer.
    expect(await codeOf('detach_internet_gateway', { InternetGatewayId: id('gateway'), VpcId })).toBe('DependencyViolation');
    expect(await codeOf('delete_subnet', { SubnetId: id('subnet') })).toBe('DependencyViolation');
    expect(await codeOf('delete_vpc', { VpcId })).toBe('DependencyViolation');
    expect(await codeOf('delete_route_table', { RouteTableId: id('table') })).toBe('DependencyViolation');
    await ec2('disassociate_address', { AssociationId: id('eip') });
    await ec2('release_address', { AllocationId: id('address') });
    expect(await codeOf('describe_addresses', { AllocationIds: [id('address')] })).toBe('InvalidAllocationID.NotFound');
    await ec2('detach_volume', { Device: '/dev/sdh', InstanceId, VolumeId });
    await ec2('wait:volume_available', { VolumeIds: [VolumeId], ...quick });
    await ec2('delete_volume', { VolumeId });
    await ec2('wait:volume_deleted', { VolumeIds: [VolumeId], ...quick });
    await ec2('modify_instance_attribute', { InstanceId, DisableApiTermination: { Value: false } });
    await ec2('terminate_instances', { InstanceIds: [InstanceId] });
    await ec2('wait:instance_terminated', { InstanceIds: [InstanceId], ...quick });
  });

  it('takes association, table, gateway, group, subnet and VPC away, and finds none of them afterwards', async () => {
    const [VpcId, SubnetId, RouteTableId, InternetGatewayId, GroupId] = [id('vpc'), id('subnet'), id('table'), id('gateway'), id('group')];
    await ec2('disassociate_route_table', { AssociationId: id('association') });
    await ec2('delete_route_table', { RouteTableId });
    expect(await codeOf('describe_route_tables', { RouteTableIds: [RouteTableId] })).toBe('InvalidRouteTableID.NotFound');
    await ec2('detach_internet_gateway', { InternetGatewayId, VpcId });
    await ec2('delete_internet_gateway', { InternetGatewayId });
    expect(await codeOf('describe_internet_gateways', { InternetGatewayIds: [InternetGatewayId] })).toBe('InvalidInternetGatewayID.NotFound');
    for (const filter of [{ 'group-id': GroupId }, { 'subnet-id': SubnetId }]) {
      expect(await ec2('describe_network_interfaces', { Filters: filters(filter) })).toMatchObject({ NetworkInterfaces: [] });
    }
    await ec2('delete_security_group', { GroupId });
    expect(await codeOf('describe_security_groups', { GroupIds: [GroupId] })).toBe('InvalidGroup.NotFound');
    await ec2('delete_subnet', { SubnetId });
    expect(await codeOf('describe_subnets', { SubnetIds: [SubnetId] })).toBe('InvalidSubnetID.NotFound');
    await ec2('delete_vpc', { VpcId });
    expect(await codeOf('describe_vpcs', { VpcIds: [VpcId] })).toBe('InvalidVpcID.NotFound');
    expect((await ec2<{ Tags: Shown[] }>('describe_tags', { Filters: filters({ value: 'shop', 'resource-type': 'vpc' }) })).Tags).toEqual([]);
  });
});
