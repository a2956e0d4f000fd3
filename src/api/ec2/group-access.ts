// The security groups of a call's project, loaded and found as its requests name them.
import { defaultGroupName, ensureDefaultGroup, findGroup, groupsOf, rulesOf, type RuleWithSource, type SecurityGroup } from '../../db/security-groups.ts';
import { tagsOf, type TagText } from '../../db/tags.ts';
import { groupBy } from '../../lib/group-by.ts';
import { fail, type Call } from './action.ts';
import { idForm } from './describe.ts';
import { defaultVpcOf } from './vpc-access.ts';

/** Nova's table gives these to netadmin alone. */
export const groupChangers = ['netadmin'] as const;

export const groupForm = { pattern: idForm('sg'), code: 'InvalidGroupId.Malformed' } as const;

export interface FullGroup extends SecurityGroup {
  /** The VPC that it is shown in; undefined while the cloud has no network. */
  readonly shownVpcId: string | undefined;
  readonly ingress: readonly RuleWithSource[];
  readonly egress: readonly RuleWithSource[];
  readonly tags: readonly TagText[];
}

export async function loadGroups(call: Call): Promise<FullGroup[]> {
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

export const failNoGroup = (named: string): never => fail('InvalidGroup.NotFound', `The security group '${named.slice(0, 255)}' does not exist`);

/** The group that the request names. The default group is there as soon as somebody names it. */
export async function groupOf(call: Call, named: { GroupId?: string | undefined; GroupName?: string | undefined }): Promise<SecurityGroup> {
  const { projectId } = call.principal;
  if (named.GroupId !== undefined && named.GroupId !== '') {
    checkGroupId(named.GroupId);
    return (await findGroup(call.db, projectId, { id: named.GroupId })) ?? failNoGroup(named.GroupId);
  }
  const name = named.GroupName ?? '';
  if (name === '') return fail('MissingParameter', 'The request must contain the parameter GroupName or GroupId');
  if (name === defaultGroupName) return ensureDefaultGroup(call.db, projectId, call.clock.date());
  return (await findGroup(call.db, projectId, { name })) ?? failNoGroup(name);
}

export function checkGroupId(id: string): void {
  if (!groupForm.pattern.test(id)) fail('InvalidGroupId.Malformed', `Invalid id: "${id.slice(0, 60)}" (expecting "sg-...")`);
}
