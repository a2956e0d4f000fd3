// Security groups. Rules that let traffic in are changed here and told to every network host; what a guest sends is not filtered yet,
// so the one rule that allows all of it is shown and cannot be changed.
import {
  authorizeIngress, defaultGroupName, deleteGroup, ensureDefaultGroup, findGroup, findSourceGroup, groupsOf, insertGroup, revokeIngress, rulesOf,
  type RuleSpec, type RuleWithSource, type SecurityGroup, type SecurityGroupRule,
} from '../../../db/security-groups.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { findVpc } from '../../../db/vpcs.ts';
import { groupBy } from '../../../lib/group-by.ts';
import { newId } from '../../../lib/ids.ts';
import { networkProtocol } from '../../../messages/network.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { describe, doesNotExist, idForm } from '../describe.ts';
import { readRules, ruleKey, ruleText, showPermissions, showRule, type GivenGroup } from '../permissions.ts';
import { sendHint } from '../notify.ts';
import { checkedId, failNotFound as failNoSuch } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { defaultVpcOf } from '../vpc-access.ts';

/** Nova's table gives these to netadmin alone. */
const changers = ['netadmin'] as const;
const rulesPerGroupMax = 100;

const form = { pattern: idForm('sg'), code: 'InvalidGroupId.Malformed' } as const;
const ruleForm = { pattern: idForm('sgr'), code: 'InvalidSecurityGroupRuleId.Malformed' } as const;

interface FullGroup extends SecurityGroup {
  /** The VPC that it is shown in; undefined while the cloud has no network. */
  readonly shownVpcId: string | undefined;
  readonly ingress: readonly RuleWithSource[];
  readonly egress: readonly RuleWithSource[];
  readonly tags: readonly TagText[];
}

const ruleFilters = (prefix: string, rules: (group: FullGroup) => readonly RuleWithSource[]): Filters<FullGroup> => ({
  [`${prefix}.protocol`]: (group) => rules(group).map((rule) => rule.protocol),
  [`${prefix}.from-port`]: (group) => rules(group).map((rule) => rule.fromPort),
  [`${prefix}.to-port`]: (group) => rules(group).map((rule) => rule.toPort),
  [`${prefix}.cidr`]: (group) => rules(group).map((rule) => rule.cidr),
  [`${prefix}.group-id`]: (group) => rules(group).map((rule) => rule.source?.id),
  [`${prefix}.group-name`]: (group) => rules(group).map((rule) => rule.source?.name),
  [`${prefix}.user-id`]: (group) => rules(group).map((rule) => rule.source?.projectId),
});

const filters: Filters<FullGroup> = {
  'group-id': (group) => group.id,
  'group-name': (group) => group.name,
  description: (group) => group.description,
  'owner-id': (group) => group.projectId,
  'vpc-id': (group) => group.shownVpcId,
  ...ruleFilters('ip-permission', (group) => group.ingress),
  ...ruleFilters('egress.ip-permission', (group) => group.egress),
};

/** Groups of other VPCs are asked for by id: the name alone would not say which. */
const nameInDefaultVpc = (group: FullGroup): string => (group.vpcId === null ? group.name : '');

const arnOf = (call: Call, groupId: string): string => `arn:aws:ec2:${call.region}:${call.principal.projectId}:security-group/${groupId}`;

const create = action({
  name: 'CreateSecurityGroup',
  doc: 'Makes an empty group: nothing is let in, everything is let out.',
  roles: changers,
  errors: ['InvalidGroup.Duplicate', 'InvalidGroup.Reserved', 'InvalidParameterValue', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'MissingParameter',
    'TagLimitExceeded'],
  async handle(call, input) {
    const name = checkText(input.GroupName, 'GroupName');
    const description = checkText(input.Description, 'GroupDescription');
    if (name.startsWith('sg-')) return call.fail('InvalidParameterValue',
      `Value (${name}) for parameter GroupName is invalid. Group names may not be in the format sg-*`);
    if (name === defaultGroupName) return call.fail('InvalidGroup.Reserved', `The security group '${name}' is reserved`);
    const vpcId = await vpcIdOf(call, input.VpcId);
    const tags = tagsFor(input.TagSpecifications, 'security-group');
    const row: SecurityGroup = { id: newId('sg'), projectId: call.principal.projectId, name, description, vpcId, createdAt: call.clock.date() };
    if (!(await insertGroup(call.db, row, tags))) {
      return call.fail('InvalidGroup.Duplicate', `The security group '${name}' already exists${vpcId === null ? '' : ` for VPC '${vpcId}'`}`);
    }
    return { GroupId: row.id, Tags: tags, SecurityGroupArn: arnOf(call, row.id) };
  },
});

const remove = action({
  name: 'DeleteSecurityGroup',
  doc: 'Deletes a group that no instance is in and no other group\'s rule refers to.',
  roles: changers,
  errors: ['CannotDelete', 'InvalidGroup.InUse', 'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const group = await groupOf(call, input);
    if (group.name === defaultGroupName) return call.fail('CannotDelete', `the specified group: "${group.id}" name: "default" cannot be deleted by a user`);
    const outcome = await deleteGroup(call.db, group.id);
    if (outcome === 'usedByInstances') return call.fail('InvalidGroup.InUse', `There are active instances using security group '${group.name}'`);
    if (outcome === 'usedByRules') return call.fail('InvalidGroup.InUse', `Group '${group.id}' is referenced by rules of other security groups`);
    if (outcome === 'absent') return failNotFound(group.id);
    return { Return: true, GroupId: group.id };
  },
});

const describeGroups = action({
  name: 'DescribeSecurityGroups',
  doc: 'The groups of the project with their rules. The default group is made by looking.',
  roles: 'anyMember',
  errors: ['InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidNextToken', 'InvalidParameterCombination', 'InvalidParameterValue'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const notFound = { code: 'InvalidGroup.NotFound', message: doesNotExist('security group') } as const;
    const page = describe<FullGroup>({
      input,
      items: await loadGroups(call),
      id: (group) => group.id,
      ids: [{ values: input.GroupIds, form, notFound }, { values: input.GroupNames, of: nameInDefaultVpc, notFound }],
      filters,
      tags: (group) => group.tags,
      page: { min: 5, max: 1000 },
    });
    const shown = (group: FullGroup) => ({
      GroupId: group.id,
      GroupName: group.name,
      Description: group.description,
      OwnerId: group.projectId,
      VpcId: group.shownVpcId,
      IpPermissions: showPermissions(group.ingress, call.version),
      IpPermissionsEgress: showPermissions(group.egress, call.version),
      Tags: [...group.tags],
      SecurityGroupArn: arnOf(call, group.id),
    });
    return { SecurityGroups: page.items.map(shown), NextToken: page.NextToken };
  },
});

const describeRules = action({
  name: 'DescribeSecurityGroupRules',
  doc: 'The rules of the project\'s groups, one by one.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterValue', 'InvalidSecurityGroupRuleId.Malformed', 'InvalidSecurityGroupRuleId.NotFound'],
  filters: ['group-id', 'security-group-rule-id'],
  async handle(call, input) {
    const rules = (await loadGroups(call)).flatMap((group) => [...group.ingress, ...group.egress]);
    const page = describe<RuleWithSource>({
      input,
      items: rules,
      id: (rule) => rule.id,
      ids: {
        values: input.SecurityGroupRuleIds,
        form: ruleForm,
        notFound: { code: 'InvalidSecurityGroupRuleId.NotFound', message: doesNotExist('security group rule ID') },
      },
      filters: { 'group-id': (rule) => rule.groupId, 'security-group-rule-id': (rule) => rule.id },
      tags: () => [],
      page: { min: 5, max: 1000 },
    });
    return { SecurityGroupRules: page.items.map((rule) => showRule(rule, ownerOf(call))), NextToken: page.NextToken };
  },
});

const authorize = action({
  name: 'AuthorizeSecurityGroupIngress',
  doc: 'Lets traffic in, by CIDR or from the members of a group. All rules of the request are added, or none.',
  roles: changers,
  errors: [
    'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidParameterValue', 'InvalidPermission.Duplicate', 'MissingParameter',
    'RulesPerSecurityGroupLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const group = await groupOf(call, input);
    if ((input.TagSpecifications?.length ?? 0) > 0) return call.fail('UnsupportedOperation', 'Tags on security group rules are not supported.');
    const specs = await readSpecs(call, group, input);
    const result = await authorizeIngress(call.db, group.id, specs, rulesPerGroupMax);
    if (result.outcome === 'absent') return failNotFound(group.id);
    if (result.outcome === 'tooMany') {
      return call.fail('RulesPerSecurityGroupLimitExceeded', `The maximum number of rules per security group (${rulesPerGroupMax}) has been reached.`);
    }
    if (result.outcome === 'duplicate') {
      return call.fail('InvalidPermission.Duplicate', `the specified rule "${await duplicateText(call, group.id, specs)}" already exists`);
    }
    await tellFirewalls(call, group.id);
    return { Return: true, SecurityGroupRules: result.rules.map((rule) => showRule(rule, ownerOf(call))) };
  },
});

const revoke = action({
  name: 'RevokeSecurityGroupIngress',
  doc: 'Takes rules away again, named by what they allow or by their ids. All of the request, or none.',
  roles: changers,
  errors: [
    'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidParameterValue', 'InvalidPermission.NotFound', 'InvalidSecurityGroupRuleId.NotFound',
    'MissingParameter', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const group = await groupOf(call, input);
    const ids = input.SecurityGroupRuleIds ?? [];
    const specs = ids.length > 0 ? [] : await readSpecs(call, group, input);
    const revoked = await revokeIngress(call.db, group.id, (present) => (ids.length > 0 ? pickById(present, ids) : pickBySpec(present, specs)));
    await tellFirewalls(call, group.id);
    return {
      Return: true,
      RevokedSecurityGroupRules: revoked.map((rule) => ({
        SecurityGroupRuleId: rule.id,
        GroupId: rule.groupId,
        IsEgress: false,
        IpProtocol: rule.protocol,
        FromPort: rule.fromPort,
        ToPort: rule.toPort,
        CidrIpv4: rule.cidr ?? undefined,
        ReferencedGroupId: rule.sourceGroupId ?? undefined,
        Description: rule.description ?? undefined,
      })),
    };
  },
});

const egressUnsupported = 'What instances send is not filtered yet: every group has the one rule that allows all of it.';

const authorizeEgress = action({
  name: 'AuthorizeSecurityGroupEgress',
  doc: 'Refused: what instances send is not filtered yet.',
  roles: changers,
  errors: ['InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    await groupOf(call, input);
    return call.fail('UnsupportedOperation', egressUnsupported);
  },
});

const revokeEgress = action({
  name: 'RevokeSecurityGroupEgress',
  doc: 'Refused: what instances send is not filtered yet, and to answer otherwise would promise what is not so.',
  roles: changers,
  errors: ['InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'MissingParameter', 'UnsupportedOperation'],
  async handle(call, input) {
    await groupOf(call, input);
    return call.fail('UnsupportedOperation', egressUnsupported);
  },
});

export const securityGroupActions = [create, remove, describeGroups, describeRules, authorize, revoke, authorizeEgress, revokeEgress] as const;

const ownerOf = (call: Call) => ({ owner: call.principal.projectId, region: call.region });

async function loadGroups(call: Call): Promise<FullGroup[]> {
  const { projectId } = call.principal;
  const defaultVpc = await defaultVpcOf(call);
  await ensureDefaultGroup(call.db, projectId, call.clock.date());
  const groups = await groupsOf(call.db, projectId);
  const ids = groups.map((group) => group.id);
  const rules = await rulesOf(call.db, ids);
  const tags = await tagsOf(call.db, projectId, ids);
  const rulesByGroup = groupBy(rules, (rule) => rule.groupId);
  return groups.map((group) => {
    const own = rulesByGroup.get(group.id) ?? [];
    return {
      ...group,
      shownVpcId: group.vpcId ?? defaultVpc?.vpc.id,
      ingress: own.filter((rule) => rule.direction === 'ingress'),
      egress: own.filter((rule) => rule.direction === 'egress'),
      tags: tags.get(group.id) ?? [],
    };
  });
}

const failNotFound = (named: string): never => fail('InvalidGroup.NotFound', `The security group '${named.slice(0, 255)}' does not exist`);

/** As in the rows of groups: null for the default VPC, which is also meant when none is named. */
async function vpcIdOf(call: Call, given: string | undefined): Promise<string | null> {
  const defaultVpc = await defaultVpcOf(call);
  if (given === undefined || given === '') return null;
  const id = checkedId('vpc', given);
  if (id === defaultVpc?.vpc.id) return null;
  return (await findVpc(call.db, call.principal.projectId, id))?.id ?? failNoSuch('vpc', id);
}

/** The group that the request names. The default group is there as soon as somebody names it. */
async function groupOf(call: Call, named: { GroupId?: string | undefined; GroupName?: string | undefined }): Promise<SecurityGroup> {
  const { projectId } = call.principal;
  if (named.GroupId !== undefined && named.GroupId !== '') {
    checkGroupId(named.GroupId);
    return (await findGroup(call.db, projectId, { id: named.GroupId })) ?? failNotFound(named.GroupId);
  }
  const name = named.GroupName ?? '';
  if (name === '') return fail('MissingParameter', 'The request must contain the parameter GroupName or GroupId');
  if (name === defaultGroupName) return ensureDefaultGroup(call.db, projectId, call.clock.date());
  return (await findGroup(call.db, projectId, { name })) ?? failNotFound(name);
}

function checkGroupId(id: string): void {
  if (!form.pattern.test(id)) fail('InvalidGroupId.Malformed', `Invalid id: "${id.slice(0, 60)}" (expecting "sg-...")`);
}

const readSpecs = (call: Call, group: SecurityGroup, input: Parameters<typeof readRules>[0]): Promise<RuleSpec[]> =>
  readRules(input, { version: call.version, groupId: async (given) => inSameVpc(group, await sourceGroup(call, given)).id });

/** Members of a group of another VPC may have the addresses of this one's: a rule that names it would let strangers in. */
function inSameVpc(group: SecurityGroup, source: SecurityGroup): SecurityGroup {
  if (group.vpcId !== source.vpcId) fail('InvalidGroup.NotFound', 'You have specified two resources that belong to different networks.');
  return source;
}

/** Nova wrote the owner as `user:project`. */
async function sourceGroup(call: Call, given: GivenGroup): Promise<SecurityGroup> {
  const named = given.GroupId !== undefined && given.GroupId !== '' ? { id: given.GroupId } : { name: given.GroupName ?? '' };
  if ('id' in named) checkGroupId(named.id);
  else if (named.name === '') fail('MissingParameter', 'The request must contain the parameter GroupId or GroupName of the source group');
  const owner = (given.UserId ?? '').replace(/^.*:/, '');
  const { projectId, projectName } = call.principal;
  if (owner !== '' && owner !== projectId && owner !== projectName) {
    const foreign = await findSourceGroup(call.db, owner, named);
    return foreign ?? failNotFound('id' in named ? named.id : named.name);
  }
  return groupOf(call, 'id' in named ? { GroupId: named.id } : { GroupName: named.name });
}

async function duplicateText(call: Call, groupId: string, specs: readonly RuleSpec[]): Promise<string> {
  const present = new Set((await rulesOf(call.db, [groupId])).filter((rule) => rule.direction === 'ingress').map(ruleKey));
  return specs.filter((spec) => present.has(ruleKey(spec))).map(ruleText)[0] ?? '';
}

function pickBySpec(present: readonly SecurityGroupRule[], specs: readonly RuleSpec[]): SecurityGroupRule[] {
  const byKey = new Map(present.map((rule) => [ruleKey(rule), rule]));
  return specs.map((spec) => byKey.get(ruleKey(spec)) ?? fail('InvalidPermission.NotFound', 'The specified rule does not exist in this security group.'));
}

function pickById(present: readonly SecurityGroupRule[], ids: readonly string[]): SecurityGroupRule[] {
  const byId = new Map(present.map((rule) => [rule.id, rule]));
  return [...new Set(ids)].map((id) => byId.get(id)
    ?? fail('InvalidSecurityGroupRuleId.NotFound', `The security group rule ID '${id.slice(0, 60)}' does not exist`));
}

const tellFirewalls = (call: Call, groupId: string): Promise<void> =>
  sendHint(call, () => call.transport.fanOut('network', networkProtocol, 'refreshFirewall', { groupIds: [groupId] }, { requestId: call.requestId }));

/** EC2-Classic's rule: ASCII, at most 255 characters. */
function checkText(text: string | undefined, parameter: string): string {
  if (text === undefined || text === '') return fail('MissingParameter', `The request must contain the parameter ${parameter}`);
  if (text.length > 255) return fail('InvalidParameterValue', `Value for parameter ${parameter} is invalid. Length exceeds maximum of 255.`);
  if (!/^[\x20-\x7e]+$/.test(text)) return fail('InvalidParameterValue',
    `Value for parameter ${parameter} is invalid. Character sets beyond ASCII are not supported.`);
  return text;
}
