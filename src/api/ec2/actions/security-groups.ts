// Security groups: made, shown with their rules, deleted. The rules have a file of their own.
import { defaultGroupName, deleteGroup, insertGroup, type RuleWithSource, type SecurityGroup } from '../../../db/security-groups.ts';
import { findVpc } from '../../../db/vpcs.ts';
import { newId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { describe, doesNotExist } from '../describe.ts';
import { failNoGroup, groupChangers, groupForm as form, groupOf, loadGroups, type FullGroup } from '../group-access.ts';
import { showCidr, shownProtocol, showPermissions } from '../permissions.ts';
import { checkedId, failNotFound as failNoSuch } from '../resource-kinds.ts';
import { tagsFor } from '../tag-specifications.ts';
import { defaultVpcOf } from '../vpc-access.ts';
import { securityGroupRuleActions } from './security-group-rules.ts';

const ruleFilters = (prefix: string, rules: (group: FullGroup) => readonly RuleWithSource[]): Filters<FullGroup> => ({
  [`${prefix}.protocol`]: (group) => rules(group).map((rule) => shownProtocol(rule.protocol)),
  [`${prefix}.from-port`]: (group) => rules(group).map((rule) => rule.fromPort),
  [`${prefix}.to-port`]: (group) => rules(group).map((rule) => rule.toPort),
  [`${prefix}.cidr`]: (group) => rules(group).map((rule) => showCidr(rule.cidr).CidrIpv4),
  [`${prefix}.ipv6-cidr`]: (group) => rules(group).map((rule) => showCidr(rule.cidr).CidrIpv6),
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
  roles: groupChangers,
  errors: ['InvalidGroup.Duplicate', 'InvalidGroup.Reserved', 'InvalidParameterValue', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'MissingParameter',
    'SecurityGroupLimitExceeded', 'TagLimitExceeded'],
  async handle(call, input) {
    const name = checkText(input.GroupName, 'GroupName');
    const description = checkText(input.Description, 'GroupDescription');
    if (name.startsWith('sg-')) return call.fail('InvalidParameterValue',
      `Value (${name}) for parameter GroupName is invalid. Group names may not be in the format sg-*`);
    if (name === defaultGroupName) return call.fail('InvalidGroup.Reserved', `The security group '${name}' is reserved`);
    const vpcId = await vpcIdOf(call, input.VpcId);
    const tags = tagsFor(input.TagSpecifications, 'security-group');
    const row: SecurityGroup = { id: newId('sg'), projectId: call.principal.projectId, name, description, vpcId, createdAt: call.clock.date() };
    const result = await insertGroup(call.db, row, { tags, quota: call.securityGroupsPerProjectMax });
    if (result.outcome === 'overQuota') return call.fail('SecurityGroupLimitExceeded',
      `The maximum number of security groups (${result.limit}) has been reached.`);
    if (result.outcome === 'duplicate') {
      return call.fail('InvalidGroup.Duplicate', `The security group '${name}' already exists${vpcId === null ? '' : ` for VPC '${vpcId}'`}`);
    }
    return { GroupId: row.id, Tags: tags, SecurityGroupArn: arnOf(call, row.id) };
  },
});

const remove = action({
  name: 'DeleteSecurityGroup',
  doc: 'Deletes a group that no instance is in and no other group\'s rule refers to.',
  roles: groupChangers,
  errors: ['CannotDelete', 'InvalidGroup.InUse', 'InvalidGroup.NotFound', 'InvalidGroupId.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const group = await groupOf(call, input);
    if (group.name === defaultGroupName) return call.fail('CannotDelete', `the specified group: "${group.id}" name: "default" cannot be deleted by a user`);
    const outcome = await deleteGroup(call.db, group.id);
    if (outcome === 'usedByInstances') return call.fail('InvalidGroup.InUse', `There are active instances using security group '${group.name}'`);
    if (outcome === 'usedByRules') return call.fail('InvalidGroup.InUse', `Group '${group.id}' is referenced by rules of other security groups`);
    if (outcome === 'absent') return failNoGroup(group.id);
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

export const securityGroupActions = [create, remove, describeGroups, ...securityGroupRuleActions] as const;

/** As in the rows of groups: null for the default VPC, which is also meant when none is named. */
async function vpcIdOf(call: Call, given: string | undefined): Promise<string | null> {
  const defaultVpc = await defaultVpcOf(call);
  if (given === undefined || given === '') return null;
  const id = checkedId('vpc', given);
  if (id === defaultVpc?.vpc.id) return null;
  return (await findVpc(call.db, call.principal.projectId, id))?.id ?? failNoSuch('vpc', id);
}

/** EC2-Classic's rule: ASCII, at most 255 characters. */
function checkText(text: string | undefined, parameter: string): string {
  if (text === undefined || text === '') return fail('MissingParameter', `The request must contain the parameter ${parameter}`);
  if (text.length > 255) return fail('InvalidParameterValue', `Value for parameter ${parameter} is invalid. Length exceeds maximum of 255.`);
  if (!/^[\x20-\x7e]+$/.test(text)) return fail('InvalidParameterValue',
    `Value for parameter ${parameter} is invalid. Character sets beyond ASCII are not supported.`);
  return text;
}
