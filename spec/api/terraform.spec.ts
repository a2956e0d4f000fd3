// What Terraform's AWS provider asks for, call by call as captured from it, for the resources of a small plan: key, group, instance in the default
// VPC. Each answer must have what the provider reads, or the apply fails.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { instances } from '../../src/db/schema/all.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
  for (const project of [undefined, 'ann']) await lab.auth.addRole('ann', 'netadmin', project);
  Object.assign(lab.ann, await lab.auth.principalFor('ann', 'ann'));
});
afterAll(() => lab.close());

const one = async (action: string, list: string, params: Params = {}): Promise<Element> => {
  const found = items(await lab.ask(action, params), list);
  expect(found, `${action} ${JSON.stringify(params)}`).toHaveLength(1);
  return found[0] ?? {};
};
const filters = (given: Readonly<Record<string, string>>): Params => Object.fromEntries(
  Object.entries(given).flatMap(([name, value], index) => [[`Filter.${index + 1}.Name`, name], [`Filter.${index + 1}.Value.1`, value]]));

describe('Terraform', () => {
  it('finds the default VPC as data and as aws_default_vpc, and reads all that belongs to it', async () => {
    const vpc = await one('DescribeVpcs', 'vpcSet', filters({ isDefault: 'true' }));
    const VpcId = String(vpc['vpcId']);
    expect(await one('DescribeVpcs', 'vpcSet', { 'VpcId.1': VpcId })).toEqual(vpc);
    for (const [Attribute, member] of [
      ['enableDnsHostnames', 'enableDnsHostnames'], ['enableDnsSupport', 'enableDnsSupport'],
      ['enableNetworkAddressUsageMetrics', 'enableNetworkAddressUsageMetrics'],
    ] as const) expect(at(await lab.ask('DescribeVpcAttribute', { VpcId, Attribute }), member, 'value')).toMatch(/^(true|false)$/);
    await one('DescribeNetworkAcls', 'networkAclSet', filters({ default: 'true', 'vpc-id': VpcId }));
    await one('DescribeRouteTables', 'routeTableSet', filters({ 'association.main': 'true', 'vpc-id': VpcId }));
    await one('DescribeSecurityGroups', 'securityGroupInfo', filters({ 'group-name': 'default', 'vpc-id': VpcId }));
    await one('DescribeSubnets', 'subnetSet', filters({ availabilityZone: 'nova', defaultForAz: 'true' }));
    await one('DescribeInternetGateways', 'internetGatewaySet', filters({ 'attachment.state': 'available', 'attachment.vpc-id': VpcId }));
  });

  it('makes, reads, tags and destroys a key, a group and an instance in a chosen subnet', async () => {
    const subnet = await one('DescribeSubnets', 'subnetSet', filters({ 'default-for-az': 'true' }));
    const made = await lab.ask('CreateSecurityGroup', {
      GroupName: 'tf', GroupDescription: 'Managed by Terraform', VpcId: String(subnet['vpcId']),
      'TagSpecification.1.ResourceType': 'security-group', 'TagSpecification.1.Tag.1.Key': 'Name', 'TagSpecification.1.Tag.1.Value': 'tf',
    });
    const groupId = String(made['groupId']);
    const group = await one('DescribeSecurityGroups', 'securityGroupInfo', { 'GroupId.1': groupId });
    expect(group).toMatchObject({ vpcId: subnet['vpcId'], ownerId: lab.ann.projectId });
    const run = await lab.ask('RunInstances', {
      ClientToken: 'terraform-20261129', DisableApiTermination: false, EbsOptimized: false, 'HibernationOptions.Configured': false,
      ImageId: await lab.addImage(), InstanceType: 'm1.tiny', MaxCount: 1, MinCount: 1, 'Monitoring.Enabled': false, 'Placement.AvailabilityZone': '',
      'NetworkInterface.1.AssociatePublicIpAddress': true, 'NetworkInterface.1.DeleteOnTermination': true, 'NetworkInterface.1.DeviceIndex': 0,
      'NetworkInterface.1.SecurityGroupId.1': groupId, 'NetworkInterface.1.SubnetId': String(subnet['subnetId']),
    });
    const id = String(at(run, 'instancesSet', 'item', 0, 'instanceId'));
    await lab.db.update(instances).set({ state: 'running' });
    const instance = (at(await one('DescribeInstances', 'reservationSet', { 'InstanceId.1': id }), 'instancesSet', 'item', 0) ?? {}) as Element;
    expect(instance).toMatchObject({ subnetId: subnet['subnetId'], vpcId: subnet['vpcId'] });
    expect(items(instance, 'networkInterfaceSet')).toMatchObject([{ attachment: { deviceIndex: '0', deleteOnTermination: 'true' }, sourceDestCheck: 'true' }]);
    await lab.ask('DescribeInstanceTypes', { 'InstanceType.1': 'm1.tiny' });
    await lab.ask('DescribeTags', filters({ 'resource-id': id, key: 'aws:ec2launchtemplate:id' }));
    await one('DescribeVpcs', 'vpcSet', { 'VpcId.1': String(subnet['vpcId']) });
    for (const Attribute of ['disableApiTermination', 'disableApiStop', 'instanceInitiatedShutdownBehavior', 'userData']) {
      expect(await lab.codeOf('DescribeInstanceAttribute', { InstanceId: id, Attribute })).toBe('ok');
    }
    await lab.ask('CreateTags', { 'ResourceId.1': id, 'Tag.1.Key': 'Name', 'Tag.1.Value': 'web' });
    await lab.ask('ModifyInstanceAttribute', { InstanceId: id, 'DisableApiTermination.Value': false });
    await lab.ask('TerminateInstances', { 'InstanceId.1': id });
    await lab.db.update(instances).set({ state: 'terminated' });
    // Before a group goes, the provider looks for interfaces that it would have to detach.
    expect(items(await lab.ask('DescribeNetworkInterfaces', filters({ 'group-id': groupId })), 'networkInterfaceSet')).toEqual([]);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: groupId })).toBe('ok');
    expect(await lab.codeOf('DescribeSecurityGroups', { 'GroupId.1': groupId })).toBe('InvalidGroup.NotFound');
  });

  it('is told in words why a VPC of its own cannot be made', async () => {
    const why = 'UnsupportedOperation: The network manager is flat-dhcp';
    await expect(lab.ask('CreateVpc', { CidrBlock: '10.0.0.0/16' })).rejects.toThrow(why);
    await expect(lab.ask('CreateSubnet', { CidrBlock: '10.0.1.0/24', VpcId: 'vpc-x' })).rejects.toThrow(why);
    await expect(lab.ask('CreateDefaultVpc')).rejects.toThrow('DefaultVpcAlreadyExists');
    await expect(lab.ask('CreateNetworkInterface', { SubnetId: 'subnet-x' })).rejects.toThrow('UnsupportedOperation: Instances have one network interface');
  });
});
