// Security groups over the dispatcher and a real database: both forms of rules, all refusals, and what network hosts are told.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at, createEc2Lab, items, type Ec2Lab, type Params } from '../support/ec2.ts';

let lab: Ec2Lab;
beforeAll(async () => {
  lab = await createEc2Lab();
  // Bob is a plain member; ann manages her project, and changes groups as its netadmin.
  await lab.auth.addRole('ann', 'netadmin');
  await lab.auth.addRole('ann', 'netadmin', 'ann');
  Object.assign(lab.ann, await lab.auth.principalFor('ann', 'ann'));
});
afterAll(() => lab.close());

let count = 0;
async function group(): Promise<{ id: string; name: string }> {
  const name = `group ${(count += 1)}`;
  const made = await lab.ask('CreateSecurityGroup', { GroupName: name, GroupDescription: 'for a spec' });
  return { id: String(made['groupId']), name };
}
const ssh: Params = { IpProtocol: 'tcp', FromPort: 22, ToPort: 22 };
const authorize = (params: Params) => lab.ask('AuthorizeSecurityGroupIngress', params);
const authorizeCode = (params: Params) => lab.codeOf('AuthorizeSecurityGroupIngress', params);
const see = async (id: string, version = '2016-11-15') =>
  items(await lab.ask('DescribeSecurityGroups', { 'GroupId.1': id, Version: version }), 'securityGroupInfo')[0];
const permissions = async (id: string, version?: string) => items(await see(id, version), 'ipPermissions');

describe('the default group', () => {
  it('is there as soon as somebody looks, lets its own members in, and stays', async () => {
    const [seen] = items(await lab.ask('DescribeSecurityGroups', {}, lab.bob), 'securityGroupInfo');
    expect(seen).toMatchObject({ groupName: 'default', groupDescription: 'default group', ownerId: lab.bob.projectId });
    expect(items(seen, 'ipPermissions')).toMatchObject([{ ipProtocol: '-1', groups: { item: [{ groupId: seen?.['groupId'], userId: lab.bob.projectId }] } }]);
    expect(items(seen, 'ipPermissionsEgress')).toMatchObject([{ ipProtocol: '-1', ipRanges: { item: [{ cidrIp: '0.0.0.0/0' }] } }]);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupName: 'default' })).toBe('CannotDelete');
    expect(await lab.codeOf('CreateSecurityGroup', { GroupName: 'default', GroupDescription: 'x' })).toBe('InvalidGroup.Reserved');
  });
});

describe('the tags of rules', () => {
  const tagged: Params = {
    'TagSpecification.1.ResourceType': 'security-group-rule', 'TagSpecification.1.Tag.1.Key': 'env', 'TagSpecification.1.Tag.1.Value': 'test',
  };
  const rulesBy = async (params: Params) => items(await lab.ask('DescribeSecurityGroupRules', params), 'securityGroupRuleSet');
  const tagsBy = async (filter: string, value: string) =>
    items(await lab.ask('DescribeTags', { 'Filter.1.Name': filter, 'Filter.1.Value.1': value }), 'tagSet');

  it('are given with them, found, changed, and go with them', async () => {
    const { id } = await group();
    const [rule] = items(await authorize({ GroupId: id, ...ssh, CidrIp: '10.0.0.0/8', ...tagged }), 'securityGroupRuleSet');
    const ruleId = String(rule?.['securityGroupRuleId']);
    expect(items(rule, 'tagSet')).toEqual([{ key: 'env', value: 'test' }]);
    expect((await rulesBy({ 'Filter.1.Name': 'tag:env', 'Filter.1.Value.1': 'test' })).map((one) => one['securityGroupRuleId'])).toEqual([ruleId]);
    const write = { 'ResourceId.1': ruleId, 'Tag.1.Key': 'env', 'Tag.1.Value': 'live' };
    expect(await lab.codeOf('CreateTags', write)).toBe('ok');
    expect(await lab.codeOf('CreateTags', write, lab.bob)).toBe('InvalidSecurityGroupRuleId.NotFound');
    expect(items((await rulesBy({ 'SecurityGroupRuleId.1': ruleId }))[0], 'tagSet')).toEqual([{ key: 'env', value: 'live' }]);
    expect(await tagsBy('resource-id', ruleId)).toMatchObject([{ resourceType: 'security-group-rule', key: 'env', value: 'live' }]);
    expect(await lab.codeOf('RevokeSecurityGroupIngress', { GroupId: id, 'SecurityGroupRuleId.1': ruleId })).toBe('ok');
    expect(await tagsBy('resource-id', ruleId)).toEqual([]);
    const outgoing = {
      'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 443, 'IpPermissions.1.ToPort': 443, 'IpPermissions.1.IpRanges.1.CidrIp': '10.0.0.0/8',
    };
    const [out] = items(await lab.ask('AuthorizeSecurityGroupEgress', { GroupId: id, ...outgoing, ...tagged }), 'securityGroupRuleSet');
    expect(items(out, 'tagSet')).toEqual([{ key: 'env', value: 'test' }]);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: id })).toBe('ok');
    expect(await tagsBy('resource-type', 'security-group-rule')).toEqual([]);
  });

  it('are for rules alone, and by AWS\'s rules', async () => {
    const { id } = await group();
    const rule = { GroupId: id, ...ssh, CidrIp: '10.0.0.0/8' };
    expect(await authorizeCode({ ...rule, ...tagged, 'TagSpecification.1.ResourceType': 'instance' })).toBe('InvalidParameterValue');
    expect(await authorizeCode({ ...rule, ...tagged, 'TagSpecification.1.Tag.1.Key': 'aws:x' })).toBe('InvalidParameterValue');
    expect(await permissions(id)).toEqual([]);
  });
});

describe('a group', () => {
  it('is made with a name of its own, found by id, name, filter and tag, and deleted', async () => {
    const made = await lab.ask('CreateSecurityGroup',
      { GroupName: 'web', GroupDescription: '0123', 'TagSpecification.1.ResourceType': 'security-group', 'TagSpecification.1.Tag.1.Key': 'k',
        'TagSpecification.1.Tag.1.Value': 'v' });
    const id = String(made['groupId']);
    expect(id).toMatch(/^sg-[0-9a-f]{17}$/);
    for (const params of [{ 'GroupId.1': id }, { 'GroupName.1': 'web' }, { 'Filter.1.Name': 'group-name', 'Filter.1.Value.1': 'w?b' },
      { 'Filter.1.Name': 'tag:k', 'Filter.1.Value.1': 'v' }]) {
      expect(items(await lab.ask('DescribeSecurityGroups', params), 'securityGroupInfo')).toMatchObject([{ groupId: id, groupDescription: '0123' }]);
    }
    expect(await lab.codeOf('CreateSecurityGroup', { GroupName: 'web', GroupDescription: 'x' })).toBe('InvalidGroup.Duplicate');
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupName: 'web' })).toBe('ok');
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: id })).toBe('InvalidGroup.NotFound');
  });

  it('that is badly named, unknown or foreign is refused in AWS\'s words', async () => {
    const { id } = await group();
    const refused: [string, Params, string][] = [
      ['CreateSecurityGroup', { GroupName: 'sg-x', GroupDescription: 'x' }, 'InvalidParameterValue'],
      ['CreateSecurityGroup', { GroupName: 'é', GroupDescription: 'x' }, 'InvalidParameterValue'],
      ['CreateSecurityGroup', { GroupName: 'x'.repeat(256), GroupDescription: 'x' }, 'InvalidParameterValue'],
      ['CreateSecurityGroup', { GroupName: 'x' }, 'MissingParameter'],
      ['CreateSecurityGroup', { GroupName: 'x', GroupDescription: 'x', VpcId: 'vpc-12345678' }, 'InvalidVpcID.NotFound'],
      ['DeleteSecurityGroup', {}, 'MissingParameter'],
      ['DeleteSecurityGroup', { GroupId: 'nonsense' }, 'InvalidGroupId.Malformed'],
      ['DescribeSecurityGroups', { 'GroupId.1': 'sg-00000000' }, 'InvalidGroup.NotFound'],
      ['DescribeSecurityGroups', { 'GroupName.1': 'nobody' }, 'InvalidGroup.NotFound'],
    ];
    for (const [action, params, code] of refused) expect(await lab.codeOf(action, params), JSON.stringify(params)).toBe(code);
    expect(await lab.codeOf('DescribeSecurityGroups', { 'GroupId.1': id }, lab.bob)).toBe('InvalidGroup.NotFound');
    expect(await lab.codeOf('CreateSecurityGroup', { GroupName: 'x', GroupDescription: 'x' }, lab.bob)).toBe('UnauthorizedOperation');
  });

  it('that another group\'s rule refers to cannot be deleted before the rule', async () => {
    const [source, user] = [await group(), await group()];
    const rule = { GroupId: user.id, 'IpPermissions.1.IpProtocol': '-1', 'IpPermissions.1.Groups.1.GroupId': source.id };
    await authorize(rule);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: source.id })).toBe('InvalidGroup.InUse');
    await lab.ask('RevokeSecurityGroupIngress', rule);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: source.id })).toBe('ok');
  });
});

describe('rules', () => {
  it('come flat or as permissions, are stored canonically, and network hosts are told of each change', async () => {
    const { id, name } = await group();
    await lab.told();
    await authorize({ GroupName: name, ...ssh, CidrIp: '10.1.2.3/8' });
    await authorize({ GroupId: id, 'IpPermissions.1.IpProtocol': '17', 'IpPermissions.1.FromPort': 53, 'IpPermissions.1.ToPort': 54,
      'IpPermissions.1.IpRanges.1.CidrIp': '1.2.3.4/32', 'IpPermissions.1.IpRanges.1.Description': 'dns', 'IpPermissions.1.IpRanges.2.CidrIp': '1.2.3.5/32' });
    expect(await permissions(id)).toEqual(expect.arrayContaining([
      expect.objectContaining({ ipProtocol: 'tcp', fromPort: '22', toPort: '22', ipRanges: { item: [{ cidrIp: '10.0.0.0/8' }] } }),
      expect.objectContaining({ ipProtocol: 'udp', fromPort: '53', toPort: '54',
        ipRanges: { item: expect.arrayContaining([{ cidrIp: '1.2.3.4/32', description: 'dns' }, { cidrIp: '1.2.3.5/32' }]) } }),
    ]));
    expect(await lab.told()).toEqual(Array.from({ length: 2 }, () => ({ to: 'network@host1', verb: 'refreshFirewall', body: { groupIds: [id] } })));
    await lab.ask('RevokeSecurityGroupIngress', { GroupId: id, ...ssh, CidrIp: '10.0.0.0/8' });
    expect(await permissions(id)).toHaveLength(1);
    expect(await lab.told()).toHaveLength(1);
  });

  it('without a source mean everywhere to clients of Nova\'s age, and are refused from later ones', async () => {
    const { id } = await group();
    expect(await authorizeCode({ GroupId: id, ...ssh })).toBe('MissingParameter');
    await authorize({ GroupId: id, ...ssh, Version: '2014-10-01' });
    expect(at(await permissions(id), 0, 'ipRanges', 'item', 0, 'cidrIp')).toBe('0.0.0.0/0');
  });

  it('from a group by name alone mean all of tcp, udp and icmp, and name the group to old clients only', async () => {
    const [source, user] = [await group(), await group()];
    await authorize({ GroupName: user.name, SourceSecurityGroupName: source.name, SourceSecurityGroupOwnerId: `ann:${lab.ann.projectId}` });
    const seen = await permissions(user.id, '2014-10-01');
    expect(seen.map((each) => each['ipProtocol']).toSorted()).toEqual(['icmp', 'tcp', 'udp']);
    expect(at(seen, 0, 'groups', 'item', 0)).toEqual({ groupId: source.id, groupName: source.name, userId: lab.ann.projectId });
    expect(at(await permissions(user.id), 0, 'groups', 'item', 0)).toEqual({ groupId: source.id, userId: lab.ann.projectId });
  });

  it('from a group of another project are found by its owner', async () => {
    const { id } = await group();
    const [foreign] = items(await lab.ask('DescribeSecurityGroups', {}, lab.bob), 'securityGroupInfo');
    await authorize({ GroupId: id, 'IpPermissions.1.IpProtocol': '-1', 'IpPermissions.1.Groups.1.GroupName': 'default',
      'IpPermissions.1.Groups.1.UserId': lab.bob.projectId });
    expect(at(await permissions(id), 0, 'groups', 'item', 0)).toEqual({ groupId: foreign?.['groupId'], userId: lab.bob.projectId });
    expect(await authorizeCode({ GroupId: id, 'IpPermissions.1.IpProtocol': '-1',
      'IpPermissions.1.Groups.1.GroupId': String(foreign?.['groupId']) })).toBe('InvalidGroup.NotFound');
  });

  it('that are there already, or are not there, fail as a whole', async () => {
    const { id } = await group();
    await authorize({ GroupId: id, ...ssh, CidrIp: '10.0.0.0/8' });
    expect(await authorizeCode({ GroupId: id, ...ssh, CidrIp: '10.9.0.0/8' })).toBe('InvalidPermission.Duplicate');
    const two = { GroupId: id, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 22, 'IpPermissions.1.ToPort': 22,
      'IpPermissions.1.IpRanges.1.CidrIp': '9.0.0.0/8', 'IpPermissions.1.IpRanges.2.CidrIp': '10.0.0.0/8' };
    expect(await authorizeCode(two)).toBe('InvalidPermission.Duplicate');
    expect(await lab.codeOf('RevokeSecurityGroupIngress', two)).toBe('InvalidPermission.NotFound');
    expect(at(await permissions(id), 0, 'ipRanges', 'item')).toEqual([{ cidrIp: '10.0.0.0/8' }]);
    expect(await authorizeCode({ ...two, 'IpPermissions.1.IpRanges.2.CidrIp': '9.1.0.0/8' })).toBe('InvalidParameterValue');
  });

  it('that make no sense are refused', async () => {
    const { id } = await group();
    const cidr = { CidrIp: '10.0.0.0/8' };
    const refused: [Params, string][] = [
      [{ ...cidr, IpProtocol: 'tcp' }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'tcp', FromPort: -1, ToPort: -1 }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'tcp', FromPort: 80, ToPort: 22 }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'udp', FromPort: 80, ToPort: 65_536 }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'icmp', FromPort: 300, ToPort: -1 }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'icmp', FromPort: -1, ToPort: 3 }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: 'sctpx' }, 'InvalidParameterValue'],
      [{ ...cidr, IpProtocol: '256' }, 'InvalidParameterValue'],
      [{ ...cidr }, 'MissingParameter'],
      ...['10.0.0.0', '10.0.0.0/33', '10.0.0/8', '010.0.0.0/8', 'x', '10.0.0.256/8', '::/0', '10.0.0.0/-1', '10.0.0.0/8\n']
        .map((CidrIp): [Params, string] => [{ ...ssh, CidrIp }, 'InvalidParameterValue']),
      ...['::', '::/129', '0.0.0.0/0', 'fe80::1%eth0/64', ':::/0', ''].map((CidrIpv6): [Params, string] => [
        { 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 1, 'IpPermissions.1.ToPort': 2, 'IpPermissions.1.Ipv6Ranges.1.CidrIpv6': CidrIpv6 },
        'InvalidParameterValue']),
      [{ ...ssh, SourceSecurityGroupName: 'nobody' }, 'InvalidGroup.NotFound'],
    ];
    for (const [params, code] of refused) expect(await authorizeCode({ GroupId: id, ...params }), JSON.stringify(params)).toBe(code);
    expect(await permissions(id)).toEqual([]);
  });

  it('N14: of IPv6 are kept in their shortest form, shown beside those of IPv4, found by filters, and revoked', async () => {
    const { id } = await group();
    const wish = {
      GroupId: id, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 22, 'IpPermissions.1.ToPort': 22,
      'IpPermissions.1.Ipv6Ranges.1.CidrIpv6': 'FD00:45:0:0::7/64', 'IpPermissions.1.Ipv6Ranges.1.Description': 'lab',
      'IpPermissions.1.IpRanges.1.CidrIp': '10.0.0.0/8', 'IpPermissions.2.IpProtocol': 'icmpv6', 'IpPermissions.2.FromPort': 128, 'IpPermissions.2.ToPort': -1,
      'IpPermissions.2.Ipv6Ranges.1.CidrIpv6': '::/0',
    };
    await authorize(wish);
    expect(await authorizeCode(wish)).toBe('InvalidPermission.Duplicate');
    const shown = (await permissions(id)).toSorted((a, b) => (String(a['ipProtocol']) < String(b['ipProtocol']) ? -1 : 1));
    expect(shown).toMatchObject([
      { ipProtocol: 'icmpv6', fromPort: '128', toPort: '-1', ipv6Ranges: { item: [{ cidrIpv6: '::/0' }] } },
      { ipProtocol: 'tcp', ipRanges: { item: [{ cidrIp: '10.0.0.0/8' }] }, ipv6Ranges: { item: [{ cidrIpv6: 'fd00:45::/64', description: 'lab' }] } },
    ]);
    const byCidr = { 'Filter.1.Name': 'ip-permission.ipv6-cidr', 'Filter.1.Value.1': '::/0' };
    const found = items(await lab.ask('DescribeSecurityGroups', byCidr), 'securityGroupInfo');
    expect(found).toMatchObject([{ groupId: id }]);
    const rules = items(await lab.ask('DescribeSecurityGroupRules', { 'Filter.1.Name': 'group-id', 'Filter.1.Value.1': id }), 'securityGroupRuleSet');
    expect(rules.flatMap((rule) => rule['cidrIpv6'] ?? []).toSorted()).toEqual(['::/0', 'fd00:45::/64']);
    await lab.ask('RevokeSecurityGroupIngress', wish);
    expect(await permissions(id)).toEqual([]);
  });

  it('of one group are bounded', async () => {
    const { id } = await group();
    const ranges = (from: number, to: number): Params =>
      Object.fromEntries(Array.from({ length: to - from }, (_, index) => [`IpPermissions.1.IpRanges.${index + 1}.CidrIp`, `10.0.${from + index}.0/24`]));
    const all = { GroupId: id, 'IpPermissions.1.IpProtocol': '-1' };
    await authorize({ ...all, ...ranges(0, 100) });
    expect(await authorizeCode({ ...all, ...ranges(100, 101) })).toBe('RulesPerSecurityGroupLimitExceeded');
    expect(at(await permissions(id), 0, 'ipRanges', 'item')).toHaveLength(100);
  });

  it('are listed one by one and revoked by id', async () => {
    const { id } = await group();
    await authorize({ GroupId: id, ...ssh, CidrIp: '10.0.0.0/8' });
    const rules = items(await lab.ask('DescribeSecurityGroupRules', { 'Filter.1.Name': 'group-id', 'Filter.1.Value.1': id }), 'securityGroupRuleSet');
    expect(rules.map((rule) => rule['isEgress']).toSorted()).toEqual(['false', 'true']);
    const ingress = rules.find((rule) => rule['isEgress'] === 'false');
    expect(ingress).toMatchObject({ ipProtocol: 'tcp', fromPort: '22', cidrIpv4: '10.0.0.0/8', groupOwnerId: lab.ann.projectId });
    expect(await lab.codeOf('RevokeSecurityGroupIngress',
      { GroupId: id, 'SecurityGroupRuleId.1': 'sgr-00000000' })).toBe('InvalidSecurityGroupRuleId.NotFound');
    await lab.ask('RevokeSecurityGroupIngress', { GroupId: id, 'SecurityGroupRuleId.1': String(ingress?.['securityGroupRuleId']) });
    expect(await permissions(id)).toEqual([]);
  });

  it('N17: of egress are as real as those of ingress: the one for all is revoked, others come instead, and hosts are told of it', async () => {
    const [web, db] = [await group(), await group()];
    const egress = async () => items(await see(web.id), 'ipPermissionsEgress');
    const all = { GroupId: web.id, 'IpPermissions.1.IpProtocol': '-1', 'IpPermissions.1.IpRanges.1.CidrIp': '0.0.0.0/0' };
    expect(await lab.codeOf('AuthorizeSecurityGroupEgress', all)).toBe('InvalidPermission.Duplicate');
    await lab.told();
    await lab.ask('RevokeSecurityGroupEgress', all);
    expect(await lab.codeOf('RevokeSecurityGroupEgress', all)).toBe('InvalidPermission.NotFound');
    expect(await egress()).toEqual([]);
    const made = await lab.ask('AuthorizeSecurityGroupEgress', { GroupId: web.id, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 5432,
      'IpPermissions.1.ToPort': 5432, 'IpPermissions.1.Groups.1.GroupId': db.id });
    expect(items(made, 'securityGroupRuleSet')).toMatchObject([{ isEgress: 'true', referencedGroupInfo: { groupId: db.id } }]);
    expect(await egress()).toMatchObject([{ ipProtocol: 'tcp', fromPort: '5432', groups: { item: [{ groupId: db.id }] } }]);
    expect(await permissions(web.id)).toEqual([]);
    expect(await lab.codeOf('DeleteSecurityGroup', { GroupId: db.id })).toBe('InvalidGroup.InUse');
    const id = String(at(items(made, 'securityGroupRuleSet'), 0, 'securityGroupRuleId'));
    // One of the other direction is not found by its id.
    expect(await lab.codeOf('RevokeSecurityGroupIngress', { GroupId: web.id, 'SecurityGroupRuleId.1': id })).toBe('InvalidSecurityGroupRuleId.NotFound');
    await lab.ask('RevokeSecurityGroupEgress', { GroupId: web.id, 'SecurityGroupRuleId.1': id });
    expect(await lab.told()).toHaveLength(3);
  });

  it('are described anew, and changed in place', async () => {
    const { id: GroupId } = await group();
    await authorize({ GroupId, ...ssh, CidrIp: '10.0.0.0/8' });
    await authorize({ GroupId, ...ssh, CidrIp: '11.0.0.0/8' });
    const rules = async () => items(await lab.ask('DescribeSecurityGroupRules', { 'Filter.1.Name': 'group-id', 'Filter.1.Value.1': GroupId }),
      'securityGroupRuleSet').filter((rule) => rule['isEgress'] === 'false');
    const described = { GroupId, 'IpPermissions.1.IpProtocol': 'tcp', 'IpPermissions.1.FromPort': 22, 'IpPermissions.1.ToPort': 22,
      'IpPermissions.1.IpRanges.1.CidrIp': '10.0.0.0/8', 'IpPermissions.1.IpRanges.1.Description': 'office' };
    await lab.ask('UpdateSecurityGroupRuleDescriptionsIngress', described);
    expect(await lab.codeOf('UpdateSecurityGroupRuleDescriptionsEgress', described)).toBe('InvalidPermission.NotFound');
    const office = (await rules()).find((rule) => rule['description'] === 'office');
    const id = String(office?.['securityGroupRuleId']);
    expect(office).toMatchObject({ cidrIpv4: '10.0.0.0/8' });
    await lab.ask('UpdateSecurityGroupRuleDescriptionsIngress',
      { GroupId, 'SecurityGroupRuleDescription.1.SecurityGroupRuleId': id, 'SecurityGroupRuleDescription.1.Description': 'home' });
    expect((await rules()).map((rule) => rule['description'])).toContain('home');
    const modified = (rule: Params) => ({ GroupId, 'SecurityGroupRule.1.SecurityGroupRuleId': id,
      ...Object.fromEntries(Object.entries(rule).map(([name, value]) => [`SecurityGroupRule.1.SecurityGroupRule.${name}`, value])) });
    await lab.told();
    await lab.ask('ModifySecurityGroupRules', modified({ IpProtocol: 'udp', FromPort: 53, ToPort: 53, CidrIpv4: '12.0.0.0/8' }));
    expect((await rules()).find((rule) => rule['securityGroupRuleId'] === id)).toMatchObject({ ipProtocol: 'udp', cidrIpv4: '12.0.0.0/8' });
    expect(await lab.told()).toHaveLength(1);
    expect(await lab.codeOf('ModifySecurityGroupRules', modified({ ...ssh, CidrIpv4: '11.0.0.0/8' }))).toBe('InvalidPermission.Duplicate');
    expect(await lab.codeOf('ModifySecurityGroupRules', modified({ ...ssh }))).toBe('InvalidParameterValue');
    expect(await lab.codeOf('ModifySecurityGroupRules', { GroupId })).toBe('MissingParameter');
    expect(await lab.codeOf('ModifySecurityGroupRules', { ...modified({ ...ssh, CidrIpv4: '13.0.0.0/8' }),
      'SecurityGroupRule.1.SecurityGroupRuleId': 'sgr-00000000' })).toBe('InvalidSecurityGroupRuleId.NotFound');
  });
});
