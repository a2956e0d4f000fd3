// Tags of every kind of resource.
import { insertTags, largestTagCount, lockTagsOf, removeTags, tagRowsOf, visibleResources } from '../../../db/tags.ts';
import { ApiError } from '../../../lib/errors.ts';
import { action, type Call } from '../action.ts';
import { checkForm, describe, idForm } from '../describe.ts';
import { resourceKind } from '../resource-kinds.ts';
import { checkTags, tagsPerResourceMax } from '../tag-specifications.ts';

const resourcesMax = 1000;

const resourceErrors = [
  'InvalidAllocationID.NotFound',
  'InvalidID', 'InvalidInstanceID.NotFound', 'InvalidInstanceID.Malformed', 'InvalidAMIID.NotFound', 'InvalidAMIID.Malformed', 'InvalidGroup.NotFound',
  'InvalidGroupId.Malformed', 'InvalidKeyPair.NotFound', 'InvalidVolume.NotFound', 'InvalidVolumeID.Malformed',
  'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'InvalidVpcID.NotFound', 'InvalidVpcId.Malformed', 'InvalidSubnetID.NotFound',
  'InvalidSubnetId.Malformed', 'InvalidInternetGatewayID.NotFound', 'InvalidInternetGatewayId.Malformed', 'InvalidRouteTableID.NotFound',
  'InvalidRouteTableId.Malformed', 'InvalidNetworkAclID.NotFound', 'InvalidNetworkAclId.Malformed', 'InvalidDhcpOptionID.NotFound',
  'InvalidDhcpOptionsId.Malformed', 'InvalidNetworkInterfaceID.NotFound', 'InvalidNetworkInterfaceId.Malformed',
  'InvalidSecurityGroupRuleId.NotFound', 'InvalidSecurityGroupRuleId.Malformed',
] as const;

interface TaggedResource {
  readonly id: string;
  readonly type: string;
}

/** Every id must be of a kind we know and exist for the caller; the first that does not is named. */
async function existing(call: Pick<Call, 'db' | 'principal'>, given: readonly string[]): Promise<TaggedResource[]> {
  const ids = [...new Set(given)];
  if (ids.length > resourcesMax) throw new ApiError('InvalidParameterValue', `More than ${resourcesMax} resources are given`);
  const resources = ids.map((id) => {
    const kind = resourceKind(id);
    checkForm(id, { pattern: idForm('(import-)?[a-z]+'), code: kind.malformed });
    return { id, type: kind.type };
  });
  const visible = await visibleResources(call.db, call.principal.projectId, ids);
  const missing = ids.find((id) => !visible.has(id));
  if (missing !== undefined) {
    const kind = resourceKind(missing);
    throw new ApiError(kind.notFound, kind.message([missing]));
  }
  return resources;
}

const createTags = action({
  name: 'CreateTags',
  doc: 'Writes up to 50 tags on each resource, over those of the same key: all of them or none.',
  roles: 'anyMember',
  errors: [...resourceErrors, 'InvalidParameterValue', 'TagLimitExceeded'],
  async handle(call, input) {
    const tags = checkTags(input.Tags ?? []);
    const resources = await existing(call, input.Resources ?? []);
    const { projectId } = call.principal;
    const resourceIds = resources.map(({ id }) => id);
    await call.db.transaction(async (tx) => {
      await lockTagsOf(tx, projectId, resourceIds);
      for (const resourceType of new Set(resources.map(({ type }) => type))) {
        const ofType = resources.filter(({ type }) => type === resourceType);
        await insertTags(tx, { projectId, resourceType, resourceIds: ofType.map(({ id }) => id), tags });
      }
      if ((await largestTagCount(tx, projectId, resourceIds)) <= tagsPerResourceMax) return;
      call.fail('TagLimitExceeded', `The maximum number of tags for a resource is ${tagsPerResourceMax}.`);
    });
    return {};
  },
});

const deleteTags = action({
  name: 'DeleteTags',
  doc: 'Removes tags by key, and only those of the value where one is given, an empty one included; all when no tag is named.',
  roles: 'anyMember',
  errors: [...resourceErrors, 'InvalidParameterValue'],
  async handle(call, input) {
    // The same rules as for writing; but here no value and an empty one are two things.
    checkTags(input.Tags ?? []);
    const tags = (input.Tags ?? []).map((tag) => ({ Key: tag.Key ?? '', Value: tag.Value }));
    const resources = await existing(call, input.Resources ?? []);
    await removeTags(call.db, { projectId: call.principal.projectId, resourceIds: resources.map(({ id }) => id), tags });
    return {};
  },
});

type TagResourceType =
  | 'instance' | 'image' | 'security-group' | 'key-pair' | 'vpc' | 'subnet' | 'internet-gateway' | 'route-table' | 'network-acl' | 'dhcp-options'
  | 'network-interface' | 'elastic-ip';

const describeTags = action({
  name: 'DescribeTags',
  doc: 'The project\'s tags.',
  roles: 'anyMember',
  errors: ['InvalidParameterValue', 'InvalidNextToken'],
  filters: ['key', 'resource-id', 'resource-type', 'value', 'tag:KEY'],
  async handle(call, input) {
    const rows = await tagRowsOf(call.db, call.principal.projectId);
    const page = describe({
      input,
      items: rows,
      id: (row) => `${row.resourceId} ${row.key}`,
      filters: {
        key: (row) => row.key,
        value: (row) => row.value,
        'resource-id': (row) => row.resourceId,
        'resource-type': (row) => row.resourceType,
      },
      tags: (row) => [{ Key: row.key, Value: row.value }],
      page: { min: 5, max: 1000 },
    });
    const tags = page.items.map((row) => ({ Key: row.key, Value: row.value, ResourceId: row.resourceId, ResourceType: row.resourceType as TagResourceType }));
    return { Tags: tags, NextToken: page.NextToken };
  },
});

export const tagActions = [createTags, deleteTags, describeTags];
