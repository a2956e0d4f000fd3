// The default VPC of a project over the dispatcher and a real database: made once, seen from all sides, and instances and groups in it.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { endInstance } from '../../src/db/instance-work.ts';
import { releasePort } from '../../src/db/instance-ports.ts';
import { addressesOfInstances, claimAddress, findSharedNetwork } from '../../src/db/networks.ts';
import { instances, vpcs } from '../../src/db/schema/all.ts';
import { ensureDefaultVpc } from '../../src/db/vpcs.ts';
import { absentActions } from '../../src/api/ec2/actions/absent.ts';
import { at, createEc2Lab, items, type Ec2Lab, type Element, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
  await lab.auth.addRole('ann', 'netadmin');
  await lab.auth.addRole('ann', 'netadmin', 'ann');
  Object.assign(lab.ann, await lab.auth.principalFor('ann', 'ann'));
});
beforeEach(() => lab.clear());
afterAll(() => lab.close());

const filter = (name: string, value: string): Params => ({ 'Filter.1.Name': name, 'Filter.1.Value.1': value });
const first = async (action: string, list: string, params: Params = {}): Promise<Element> => items(await lab.ask(action, params), list)[0] ?? {};
const launch = async (params: Params = {}): Promise<Element> =>
  items(await lab.ask('RunInstances', { ImageId: await lab.addImage(), MinCount: 1, MaxCount: 1, ...params }), 'instancesSet')[0] ?? {};
const launchCode = async (params: Params) => lab.codeOf('RunInstances', { ImageId: await lab.addImage(), MinCount: 1, MaxCount: 1, ...params });

describe('the default VPC', () => {
  it('is made once, however many look at the same moment, each project having its own', async () => {
    const wish = { projectId: lab.ann.projectId, zone: 'nova', now: new Date() };
    const made = await Promise.all([1, 2, 3, 4].map(() => ensureDefaultVpc(lab.db, wish)));
    expect(new Set(made.map((each) => each?.vpc.id)).size).toBe(1);
    expect(await lab.db.select().from(vpcs)).toHaveLength(1);
    const [foreign] = items(await lab.ask('DescribeVpcs', {}, lab.bob), 'vpcSet');
    expect(foreign).toMatchObject({ ownerId: lab.bob.projectId, isDefault: 'true' });
    expect(foreign?.['vpcId']).not.toBe(made[0]?.vpc.id);
    expect(await lab.codeOf('DescribeVpcs', { 'VpcId.1': String(foreign?.['vpcId']) })).toBe('InvalidVpcID.NotFound');
  });

  it('lies on the network that projects share, with a subnet, a way out, a main route table, an ACL, DHCP options and the default group', async () => {
    const vpc = await first('DescribeVpcs', 'vpcSet', filter('isDefault', 'true'));
    const id = String(vpc['vpcId']);
    expect(vpc).toMatchObject({ cidrBlock: '10.45.0.0/24', state: 'available', instanceTenancy: 'default' });
    const ofVpc = filter('vpc-id', id);
    const subnet = await first('DescribeSubnets', 'subnetSet', ofVpc);
    expect(subnet).toMatchObject({ cidrBlock: '10.45.0.0/24', availabilityZone: 'nova', defaultForAz: 'true', availableIpAddressCount: '253' });
    const gateway = await first('DescribeInternetGateways', 'internetGatewaySet', filter('attachment.vpc-id', id));
    const table = await first('DescribeRouteTables', 'routeTableSet', { ...ofVpc, 'Filter.2.Name': 'association.main', 'Filter.2.Value.1': 'true' });
    expect(items(table, 'routeSet')).toMatchObject([
      { destinationCidrBlock: '10.45.0.0/24', gatewayId: 'local', state: 'active' },
      { destinationCidrBlock: '0.0.0.0/0', gatewayId: gateway['internetGatewayId'], state: 'active' },
    ]);
    const acl = await first('DescribeNetworkAcls', 'networkAclSet', ofVpc);
    expect(items(acl, 'associationSet')).toMatchObject([{ subnetId: subnet['subnetId'], networkAclId: acl['networkAclId'] }]);
    const options = await first('DescribeDhcpOptions', 'dhcpOptionsSet', { 'DhcpOptionsId.1': String(vpc['dhcpOptionsId']) });
    expect(items(options, 'dhcpConfigurationSet').map((each) => [each['key'], at(each, 'valueSet', 'item', 0, 'value')])).toEqual([
      ['domain-name', 'novact.internal'], ['domain-name-servers', 'AmazonProvidedDNS'],
    ]);
    expect(await first('DescribeSecurityGroups', 'securityGroupInfo', ofVpc)).toMatchObject({ groupName: 'default', vpcId: id });
    const account = await first('DescribeAccountAttributes', 'accountAttributeSet', { 'AttributeName.1': 'default-vpc' });
    expect(at(account, 'attributeValueSet', 'item', 0, 'attributeValue')).toBe(id);
  });

  it('is not there before the cloud has a network, and instances are launched all the same', async () => {
    await lab.db.execute('truncate networks, fixed_addresses cascade');
    expect(items(await lab.ask('DescribeVpcs'), 'vpcSet')).toEqual([]);
    expect(await launch()).toMatchObject({ networkInterfaceSet: '', instanceState: { name: 'pending' } });
    expect(await launchCode({ PrivateIpAddress: '10.45.0.9' })).toBe('InvalidParameterValue');
  });

  it('keeps what is said of its names, and refuses what cannot be otherwise', async () => {
    const VpcId = String((await first('DescribeVpcs', 'vpcSet'))['vpcId']);
    const attribute = (Attribute: string) => lab.ask('DescribeVpcAttribute', { VpcId, Attribute });
    expect(await attribute('enableDnsHostnames')).toMatchObject({ vpcId: VpcId, enableDnsHostnames: { value: 'true' } });
    const { instanceId } = await launch();
    await lab.db.update(instances).set({ state: 'running' });
    const network = await findSharedNetwork(lab.db);
    await claimAddress(lab.db, { networkId: network?.id ?? '', instanceId: String(instanceId), now: new Date() });
    const name = async () => at(await first('DescribeInstances', 'reservationSet'), 'instancesSet', 'item', 0, 'dnsName');
    expect(await name()).toBe('10.45.0.2');
    await lab.ask('ModifyVpcAttribute', { VpcId, 'EnableDnsHostnames.Value': false });
    expect(await attribute('enableDnsHostnames')).toMatchObject({ enableDnsHostnames: { value: 'false' } });
    expect(await name()).toBe('');
    expect(await lab.codeOf('ModifyVpcAttribute', { VpcId, 'EnableDnsSupport.Value': false })).toBe('UnsupportedOperation');
    expect(await lab.codeOf('ModifyVpcAttribute', { VpcId, 'EnableDnsSupport.Value': true })).toBe('ok');
    expect(await lab.codeOf('ModifyVpcAttribute', { VpcId })).toBe('MissingParameter');
    expect(await lab.codeOf('DescribeVpcAttribute', { VpcId, Attribute: 'height' })).toBe('InvalidParameterValue');
  });

  it('and all that belongs to it can be tagged and found by tag', async () => {
    const kinds: [string, string, string][] = [
      ['DescribeVpcs', 'vpcSet', 'vpcId'], ['DescribeSubnets', 'subnetSet', 'subnetId'], ['DescribeRouteTables', 'routeTableSet', 'routeTableId'],
      ['DescribeInternetGateways', 'internetGatewaySet', 'internetGatewayId'], ['DescribeNetworkAcls', 'networkAclSet', 'networkAclId'],
      ['DescribeDhcpOptions', 'dhcpOptionsSet', 'dhcpOptionsId'],
    ];
    for (const [action, list, member] of kinds) {
      const id = String((await first(action, list))[member]);
      await lab.ask('CreateTags', { 'ResourceId.1': id, 'Tag.1.Key': 'stage', 'Tag.1.Value': 'test' });
      expect(items(await lab.ask(action, filter('tag:stage', 'test')), list).map((each) => each[member]), action).toEqual([id]);
    }
    expect(await lab.codeOf('CreateTags', { 'ResourceId.1': 'vpc-0123456789abcdef0', 'Tag.1.Key': 'a' })).toBe('InvalidVpcID.NotFound');
  });
});

describe('an instance', () => {
  it('is in the default subnet with one interface, which is described, tagged and changed as such', async () => {
    const subnet = await first('DescribeSubnets', 'subnetSet');
    const run = await launch({ SubnetId: String(subnet['subnetId']), 'TagSpecification.1.ResourceType': 'network-interface',
      'TagSpecification.1.Tag.1.Key': 'a', 'TagSpecification.1.Tag.1.Value': 'b' });
    expect(run).toMatchObject({ subnetId: subnet['subnetId'], vpcId: subnet['vpcId'] });
    const id = String(at(run, 'networkInterfaceSet', 'item', 0, 'networkInterfaceId'));
    expect(id).toBe(String(run['instanceId']).replace('i-', 'eni-'));
    const shown = await first('DescribeNetworkInterfaces', 'networkInterfaceSet', filter('attachment.instance-id', String(run['instanceId'])));
    expect(shown).toMatchObject({
      networkInterfaceId: id, subnetId: subnet['subnetId'], attachment: { status: 'attaching', instanceId: run['instanceId'] },
      tagSet: { item: [{ key: 'a', value: 'b' }] },
    });
    const { groupId } = await lab.ask('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x', VpcId: String(subnet['vpcId']) });
    await lab.ask('ModifyNetworkInterfaceAttribute', { NetworkInterfaceId: id, 'SecurityGroupId.1': String(groupId) });
    const attribute = await lab.ask('DescribeNetworkInterfaceAttribute', { NetworkInterfaceId: id, Attribute: 'groupSet' });
    expect(items(attribute, 'groupSet')).toMatchObject([{ groupId }]);
    expect(await lab.codeOf('ModifyNetworkInterfaceAttribute', { NetworkInterfaceId: id, 'SourceDestCheck.Value': false })).toBe('UnsupportedOperation');
    await lab.db.update(instances).set({ state: 'terminated' });
    expect(await lab.codeOf('DescribeNetworkInterfaces', { 'NetworkInterfaceId.1': id })).toBe('InvalidNetworkInterfaceID.NotFound');
    const [ended] = items(await first('DescribeInstances', 'reservationSet'), 'instancesSet');
    expect(ended).toMatchObject({ networkInterfaceSet: '' });
    expect(ended).not.toHaveProperty('vpcId');
  });

  it('has the address that was wished for, keeps it from host to host, and nobody else gets it', async () => {
    const run = await launch({ PrivateIpAddress: '10.45.0.77' });
    const instanceId = String(run['instanceId']);
    expect(run).toMatchObject({ privateIpAddress: '10.45.0.77' });
    expect(await launchCode({ PrivateIpAddress: '10.45.0.77' })).toBe('InvalidIPAddress.InUse');
    const held = async () => (await addressesOfInstances(lab.db, [instanceId])).get(instanceId);
    await lab.db.update(instances).set({ host: 'host1' });
    await releasePort(lab.db, { instanceId, host: 'host1', now: new Date() });
    expect(await held()).toBe('10.45.0.77');
    await lab.db.transaction(async (tx) => {
      const [row] = await tx.select().from(instances).where(eq(instances.id, instanceId));
      if (row !== undefined) await endInstance(tx, row, undefined, new Date());
    });
    expect(await held()).toBeUndefined();
    expect((await launch({ PrivateIpAddress: '10.45.0.77' }))['privateIpAddress']).toBe('10.45.0.77');
  });

  it('is shown without a public address where it is to have none', async () => {
    const subnet = await first('DescribeSubnets', 'subnetSet');
    await lab.ask('ModifySubnetAttribute', { SubnetId: String(subnet['subnetId']), 'MapPublicIpOnLaunch.Value': false });
    const hidden = await launch({ PrivateIpAddress: '10.45.0.8' });
    const shownOne = { DeviceIndex: 0, PrivateIpAddress: '10.45.0.9', AssociatePublicIpAddress: true };
    await launch(Object.fromEntries(Object.entries(shownOne).map(([name, value]) => [`NetworkInterface.1.${name}`, value])));
    await lab.db.update(instances).set({ state: 'running' });
    const shown = items(await lab.ask('DescribeNetworkInterfaces'), 'networkInterfaceSet');
    expect(shown.map((each) => [each['privateIpAddress'], at(each, 'association', 'publicIp')]).toSorted()).toEqual([
      ['10.45.0.8', undefined], ['10.45.0.9', '10.45.0.9'],
    ]);
    expect(items(await lab.ask('DescribeInstances', filter('ip-address', '10.45.0.8')), 'reservationSet')).toEqual([]);
    expect(items(await lab.ask('DescribeInstances', filter('subnet-id', String(subnet['subnetId']))), 'reservationSet')).toHaveLength(2);
    expect(hidden).toMatchObject({ privateIpAddress: '10.45.0.8' });
  });
});

/** Where the name of the ids is not that of the kind. */
const otherIds: Readonly<Record<string, string>> = {
  DescribePlacementGroups: 'GroupId', DescribeBundleTasks: 'BundleId', DescribeIamInstanceProfileAssociations: 'AssociationId',
  DescribeReservedInstances: 'ReservedInstancesId',
};

describe('what there is none of', () => {
  it.each(absentActions.map(({ name }) => name as string))('%s is an empty list, and an id is of nothing', async (name) => {
    const answer = await lab.ask(name);
    expect(Object.entries(answer).filter(([member]) => member !== 'requestId').map(([, value]) => value)).toEqual(['']);
    const noun = name.replace(/^Describe(Managed)?/, '').replace(/VpcAttachments$/, 'Attachment').replace(/s$/, '');
    const id = otherIds[name] ?? `${noun}Id`;
    // AWS's model writes the list of some with an s.
    expect(await lab.codeOf(name, { [`${id}.1`]: 'x-0123456789abcdef0', [`${id}s.1`]: 'x-0123456789abcdef0' }))
      .toMatch(/NotFound$|Unknown$|^InvalidConversionTaskId$|^InvalidReservedInstancesID$/);
  });
});
