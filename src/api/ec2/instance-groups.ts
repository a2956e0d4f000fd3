// The security groups of an instance, as a request names them. They are of the VPC that the instance is in.
import { findInstance, replaceGroups } from '../../db/instances.ts';
import { ensureDefaultGroup, findGroup, type SecurityGroup } from '../../db/security-groups.ts';
import { subnetPlaces } from '../../db/vpcs.ts';
import { networkProtocol } from '../../messages/network.ts';
import { fail, type Call } from './action.ts';
import { checkForm, doesNotExist, idForm } from './describe.ts';
import { sendHint } from './notify.ts';

const groupsPerInstanceMax = 16;

export interface GroupsAsked {
  readonly names: readonly string[];
  readonly ids: readonly string[];
}

/** Where the instance is: null, as in the rows of groups, is the project's default VPC. */
export interface GroupPlace {
  readonly vpcId: string | null;
  readonly subnetId: string;
}

/** The default group of the VPC when none is named. Names are of groups of the default VPC. */
export async function groupIdsOf(call: Call, asked: GroupsAsked, place: GroupPlace | undefined): Promise<string[]> {
  const { projectId } = call.principal;
  const found = new Map<string, SecurityGroup>();
  const add = (group: SecurityGroup | undefined, named: string): void => {
    if (group === undefined) return fail('InvalidGroup.NotFound', `The security group '${named.slice(0, 255)}' does not exist`);
    if (place !== undefined && group.vpcId !== place.vpcId) {
      fail('InvalidParameter', `Security group ${group.id} and subnet ${place.subnetId} belong to different networks.`);
    }
    found.set(group.id, group);
  };
  for (const id of asked.ids) {
    checkForm(id, { pattern: idForm('sg'), code: 'InvalidGroupId.Malformed' });
    add(await findGroup(call.db, projectId, { id }), id);
  }
  for (const name of asked.names) {
    add(name === 'default' ? await ensureDefaultGroup(call.db, projectId, call.clock.date()) : await findGroup(call.db, projectId, { name }), name);
  }
  if (found.size === 0) add(await ensureDefaultGroup(call.db, projectId, call.clock.date(), place?.vpcId ?? null), 'default');
  if (found.size > groupsPerInstanceMax) fail('InvalidParameterValue', `An instance can be in at most ${groupsPerInstanceMax} security groups`);
  return [...found.keys()];
}

/** Of an instance's row. */
async function groupPlaceOf(call: Call, subnetId: string | null): Promise<GroupPlace | undefined> {
  const place = (await subnetPlaces(call.db, call.principal.projectId))(subnetId);
  return place === undefined ? undefined : { subnetId: place.subnetId, vpcId: subnetId === null ? null : place.vpcId };
}

const isId = (text: string): boolean => text.startsWith('sg-');

/** Puts an instance into exactly the groups that are named, and tells those who filter for it. */
export async function changeGroups(call: Call, id: string, given: readonly string[]): Promise<void> {
  const { projectId } = call.principal;
  const row = await findInstance(call.db, projectId, id);
  if (row === undefined) return failNoInstance(id);
  const asked = { ids: given.filter(isId), names: given.filter((text) => !isId(text)) };
  const groupIds = await groupIdsOf(call, asked, await groupPlaceOf(call, row.subnetId));
  const result = await replaceGroups(call.db, { projectId, id }, groupIds);
  if (result.outcome === 'absent') return failNoInstance(id);
  if (result.outcome === 'groupGone') return fail('InvalidGroup.NotFound', 'A security group of the request was deleted meanwhile');
  await sendHint(call, () =>
    call.transport.fanOut('network', networkProtocol, 'refreshFirewall', { groupIds: [...result.touched] }, { requestId: call.requestId }));
}

const failNoInstance = (id: string): never => fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([id]));
