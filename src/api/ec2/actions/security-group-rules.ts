// The rules of security groups, in both directions: added, taken away, changed and described. Each change is told to every network host, which
// renders what its guests may receive and send.
import {
  authorizeRules, changeRules, findSourceGroup, revokeRules, rulesOf, type Direction, type RuleChange, type RuleInsertion, type RuleSpec,
  type RuleWithSource, type SecurityGroup, type SecurityGroupRule,
} from '../../../db/security-groups.ts';
import { tagsOf } from '../../../db/tags.ts';
import { networkProtocol } from '../../../messages/network.ts';
import { action, fail, type Call, type InputOf } from '../action.ts';
import { describe, doesNotExist, idForm } from '../describe.ts';
import { checkGroupId, failNoGroup, groupChangers, groupOf, loadGroups } from '../group-access.ts';
import { sendHint } from '../notify.ts';
import { readDescription, readRules, ruleKey, ruleText, showCidr, shownProtocol, showRule, type GivenGroup } from '../permissions.ts';
import { tagsFor, type TagSpecification } from '../tag-specifications.ts';

const ruleForm = { pattern: idForm('sgr'), code: 'InvalidSecurityGroupRuleId.Malformed' } as const;
const namedErrors = ['InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'InvalidParameterValue', 'MissingParameter', 'UnsupportedOperation'] as const;
const addingErrors = [...namedErrors, 'InvalidPermission.Duplicate', 'RulesPerSecurityGroupLimitExceeded'] as const;
const namingErrors = [...namedErrors, 'InvalidPermission.NotFound', 'InvalidSecurityGroupRuleId.NotFound'] as const;

const describeRules = action({
  name: 'DescribeSecurityGroupRules',
  doc: 'The rules of the project\'s groups, one by one.',
  roles: 'anyMember',
  errors: ['InvalidNextToken', 'InvalidParameterValue', 'InvalidSecurityGroupRuleId.Malformed', 'InvalidSecurityGroupRuleId.NotFound'],
  filters: ['group-id', 'security-group-rule-id', 'tag-key', 'tag:KEY'],
  async handle(call, input) {
    const rules = (await loadGroups(call)).flatMap((group) => [...group.ingress, ...group.egress]);
    const tags = await tagsOf(call.db, call.principal.projectId, rules.map(({ id }) => id));
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
      tags: (rule) => tags.get(rule.id) ?? [],
      page: { min: 5, max: 1000 },
    });
    return { SecurityGroupRules: page.items.map((rule) => showRule(rule, ownerOf(call), tags.get(rule.id) ?? [])), NextToken: page.NextToken };
  },
});

const authorizeIngress = action({
  name: 'AuthorizeSecurityGroupIngress',
  doc: 'Lets traffic in, by CIDR or from the members of a group. All rules of the request are added, or none.',
  roles: groupChangers,
  errors: addingErrors,
  handle: (call, input) => authorize(call, input, 'ingress'),
});

const authorizeEgress = action({
  name: 'AuthorizeSecurityGroupEgress',
  doc: 'Lets traffic out, by CIDR or to the members of a group. All rules of the request are added, or none.',
  roles: groupChangers,
  errors: addingErrors,
  handle: (call, input) => authorize(call, input, 'egress'),
});

const revokeIngress = action({
  name: 'RevokeSecurityGroupIngress',
  doc: 'Takes rules away again, named by what they allow or by their ids. All of the request, or none.',
  roles: groupChangers,
  errors: namingErrors,
  handle: (call, input) => revoke(call, input, 'ingress'),
});

const revokeEgress = action({
  name: 'RevokeSecurityGroupEgress',
  doc: 'Takes rules away that let traffic out; also the one that a group begins with, which lets out all. All of the request, or none.',
  roles: groupChangers,
  errors: namingErrors,
  handle: (call, input) => revoke(call, input, 'egress'),
});

const describeIngress = action({
  name: 'UpdateSecurityGroupRuleDescriptionsIngress',
  doc: 'Writes the descriptions of rules that let traffic in, named by what they allow or by their ids.',
  roles: groupChangers,
  errors: namingErrors,
  handle: (call, input) => updateDescriptions(call, input, 'ingress'),
});

const describeEgress = action({
  name: 'UpdateSecurityGroupRuleDescriptionsEgress',
  doc: 'Writes the descriptions of rules that let traffic out, named by what they allow or by their ids.',
  roles: groupChangers,
  errors: namingErrors,
  handle: (call, input) => updateDescriptions(call, input, 'egress'),
});

const modify = action({
  name: 'ModifySecurityGroupRules',
  doc: 'Puts other rules in the place of some, which keep their ids and directions. All of the request, or none.',
  roles: groupChangers,
  errors: [...addingErrors, 'InvalidSecurityGroupRuleId.NotFound'],
  async handle(call, input) {
    const group = await groupOf(call, input);
    const given = input.SecurityGroupRules ?? [];
    if (given.length === 0) return call.fail('MissingParameter', 'The request must contain the parameter SecurityGroupRules');
    const wishes = new Map<string, RuleSpec>();
    for (const { SecurityGroupRuleId: id = '', SecurityGroupRule: rule } of given) {
      if (wishes.has(id)) return call.fail('InvalidParameterValue', 'The same rule must not appear multiple times');
      const [spec] = await readSpecs(call, group, { IpPermissions: [permissionOf(rule ?? {})] });
      if (spec !== undefined) wishes.set(id, spec);
    }
    const pick = (present: readonly SecurityGroupRule[]): RuleChange[] =>
      pickById(present, [...wishes.keys()]).map((rule) => ({ id: rule.id, set: { ...rule, ...wishes.get(rule.id) } }));
    const outcome = await changeRules(call.db, group.id, pick);
    if (outcome === 'absent') return failNoGroup(group.id);
    if (outcome === 'duplicate') return call.fail('InvalidPermission.Duplicate', 'The group has one of the specified rules already');
    await tellFirewalls(call, group.id);
    return { Return: true };
  },
});

export const securityGroupRuleActions = [
  describeRules, authorizeIngress, authorizeEgress, revokeIngress, revokeEgress, describeIngress, describeEgress, modify,
] as const;

type Named = Parameters<typeof readRules>[0] & { readonly GroupId?: string | undefined; readonly GroupName?: string | undefined };

async function authorize(call: Call, input: Named & { readonly TagSpecifications?: readonly TagSpecification[] | undefined }, direction: Direction) {
  const group = await groupOf(call, input);
  const tags = tagsFor(input.TagSpecifications, 'security-group-rule');
  const specs = await readSpecs(call, group, input);
  const result = await authorizeRules(call.db, { groupId: group.id, direction, rulesMax: call.rulesPerSecurityGroupMax }, specs, tags);
  if (result.outcome !== 'inserted') return refuse(call, result, { group, direction, specs });
  await tellFirewalls(call, group.id);
  return { Return: true, SecurityGroupRules: result.rules.map((rule) => showRule(rule, ownerOf(call), tags)) };
}

async function refuse(
  call: Call, result: Exclude<RuleInsertion, { readonly outcome: 'inserted' }>,
  { group, direction, specs }: { readonly group: SecurityGroup; readonly direction: Direction; readonly specs: readonly RuleSpec[] },
): Promise<never> {
  if (result.outcome === 'absent') return failNoGroup(group.id);
  if (result.outcome === 'tooMany') {
    return fail('RulesPerSecurityGroupLimitExceeded', `The maximum number of rules per security group (${result.limit}) has been reached.`);
  }
  const present = new Set((await rulesOf(call.db, [group.id])).filter((rule) => rule.direction === direction).map(ruleKey));
  const text = specs.filter((spec) => present.has(ruleKey(spec))).map(ruleText)[0] ?? '';
  return fail('InvalidPermission.Duplicate', `the specified rule "${text}" already exists`);
}

async function revoke(call: Call, input: Named & { readonly SecurityGroupRuleIds?: readonly string[] | undefined }, direction: Direction) {
  const group = await groupOf(call, input);
  const ids = input.SecurityGroupRuleIds ?? [];
  const specs = ids.length > 0 ? [] : await readSpecs(call, group, input);
  const pick = (present: readonly SecurityGroupRule[]) => (ids.length > 0 ? pickById(present, ids) : pickBySpec(present, specs));
  const revoked = await revokeRules(call.db, { groupId: group.id, direction }, pick);
  await tellFirewalls(call, group.id);
  return {
    Return: true,
    RevokedSecurityGroupRules: revoked.map((rule) => ({
      SecurityGroupRuleId: rule.id,
      GroupId: rule.groupId,
      IsEgress: direction === 'egress',
      IpProtocol: shownProtocol(rule.protocol),
      FromPort: rule.fromPort,
      ToPort: rule.toPort,
      ...showCidr(rule.cidr),
      ReferencedGroupId: rule.sourceGroupId ?? undefined,
      Description: rule.description ?? undefined,
    })),
  };
}

type DescribedRules = Omit<InputOf<'UpdateSecurityGroupRuleDescriptionsIngress'>, 'IpPermissions'> & Pick<Named, 'IpPermissions'>;

async function updateDescriptions(call: Call, input: DescribedRules, direction: Direction) {
  const group = await groupOf(call, input);
  const byId = new Map((input.SecurityGroupRuleDescriptions ?? []).map((one) => [one.SecurityGroupRuleId ?? '', readDescription(one.Description)]));
  const specs = byId.size > 0 ? [] : await readSpecs(call, group, input);
  const texts = new Map(specs.map((spec) => [ruleKey(spec), spec.description]));
  const pick = (all: readonly SecurityGroupRule[]): RuleChange[] => {
    const present = all.filter((rule) => rule.direction === direction);
    const rules = byId.size > 0 ? pickById(present, [...byId.keys()]) : pickBySpec(present, specs);
    return rules.map((rule) => ({ id: rule.id, set: { ...rule, description: byId.get(rule.id) ?? texts.get(ruleKey(rule)) ?? null } }));
  };
  if ((await changeRules(call.db, group.id, pick)) === 'absent') return failNoGroup(group.id);
  return { Return: true };
}

type RuleRequest = NonNullable<NonNullable<InputOf<'ModifySecurityGroupRules'>['SecurityGroupRules']>[number]['SecurityGroupRule']>;

/** The one source that a rule of ModifySecurityGroupRules names, in the form of the other actions. */
function permissionOf(rule: RuleRequest) {
  const { CidrIpv4: CidrIp, CidrIpv6, PrefixListId, ReferencedGroupId: GroupId, Description } = rule;
  const given = [CidrIp, CidrIpv6, PrefixListId, GroupId].filter((source) => source !== undefined && source !== '');
  if (given.length !== 1) fail('InvalidParameterValue', 'A rule must have exactly one of CidrIpv4, CidrIpv6, PrefixListId and ReferencedGroupId');
  return {
    IpProtocol: rule.IpProtocol, FromPort: rule.FromPort, ToPort: rule.ToPort,
    IpRanges: CidrIp === undefined ? [] : [{ CidrIp, Description }],
    Ipv6Ranges: CidrIpv6 === undefined ? [] : [{ CidrIpv6, Description }],
    PrefixListIds: PrefixListId === undefined ? [] : [{ PrefixListId, Description }],
    UserIdGroupPairs: GroupId === undefined ? [] : [{ GroupId, Description }],
  };
}

const ownerOf = (call: Call) => ({ owner: call.principal.projectId, region: call.region });

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
    return foreign ?? failNoGroup('id' in named ? named.id : named.name);
  }
  return groupOf(call, 'id' in named ? { GroupId: named.id } : { GroupName: named.name });
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
