// Snapshots: what a volume held at one moment, made, seen, shared, copied and deleted.
import { volumesOfInstance } from '../../../db/attachments.ts';
import { existingProjects } from '../../../db/images.ts';
import { findInstance } from '../../../db/instances.ts';
import type { Snapshot } from '../../../db/snapshot-work.ts';
import {
  copySnapshot, createSnapshot, createSnapshots, deleteSnapshot, findVisibleSnapshot, shareSnapshot, snapshotPermissionsOf, visibleSnapshots,
  type SnapshotRefusal, type SnapshotSharing,
} from '../../../db/snapshots.ts';
import { tagsOf, type TagText } from '../../../db/tags.ts';
import { groupBy } from '../../../lib/group-by.ts';
import { newId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters } from '../action.ts';
import { checkForm, describe, doesNotExist } from '../describe.ts';
import { instanceForm } from '../instance-filters.ts';
import { progressOf, showSnapshot } from '../show-volume.ts';
import { tagsFor } from '../tag-specifications.ts';
import {
  completedSnapshot, failNoSnapshot, failNoVolume, refuseEncryption, snapshotForm, snapshotIdOf, snapshotNotFound, volumeIdOf, volumeTimeoutMs,
} from '../volume-request.ts';

const changers = ['projectmanager', 'sysadmin'] as const;
const descriptionLengthMax = 255;

function wishOf(call: Call, volumeId: string, more: { description: string | undefined; tags: readonly TagText[] }) {
  const { projectId, userId } = call.principal;
  const deadline = new Date(call.clock.now() + volumeTimeoutMs);
  const description = checkDescription(more.description);
  return {
    projectId, userId, volumeId, requestId: call.requestId, deadline, id: newId('snap'), description, tags: more.tags, quota: call.snapshotsPerProjectMax,
  };
}

function checkDescription(description = ''): string {
  if (description.length > descriptionLengthMax) {
    fail('InvalidParameterValue', `Value for parameter description is invalid. Length exceeds maximum of ${descriptionLengthMax}.`);
  }
  return description;
}

function refuse(refusal: SnapshotRefusal, volumeId: string): never {
  switch (refusal.refused) {
    case 'noVolume': return failNoVolume(volumeId);
    case 'overQuota': return failOverQuota(refusal.limit);
    case 'state': return fail('IncorrectState',
      `The volume '${volumeId}' is in state '${refusal.state}': snapshots are made of available and attached volumes.`);
  }
}

const failOverQuota = (limit: number): never => fail('SnapshotLimitExceeded', `You have reached your maximum of ${limit} snapshots.`);

const create = action({
  name: 'CreateSnapshot',
  doc: 'Keeps what a volume holds, attached or not, as of one moment: what a guest has not flushed by then is not in it.',
  roles: changers,
  errors: [
    'IncorrectState', 'InvalidParameterValue', 'InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'MissingParameter', 'SnapshotLimitExceeded',
    'TagLimitExceeded',
  ],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    const tags = tagsFor(input.TagSpecifications, 'snapshot');
    const made = await createSnapshot(call.db, wishOf(call, volumeId, { description: input.Description, tags }), call.clock.date());
    if ('refused' in made) return refuse(made, volumeId);
    call.relay.kick();
    return showSnapshot(made, tags);
  },
});

const createOfInstance = action({
  name: 'CreateSnapshots',
  doc: 'Snapshots of the volumes of an instance: all of them or none. Each is of one moment, but not all of the same.',
  roles: changers,
  errors: [
    'IncorrectState', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterValue', 'InvalidVolume.NotFound', 'MissingParameter',
    'SnapshotLimitExceeded', 'TagLimitExceeded',
  ],
  async handle(call, input) {
    const id = input.InstanceSpecification?.InstanceId ?? '';
    if (id === '') return call.fail('MissingParameter', 'The request must contain the parameter InstanceSpecification.InstanceId');
    checkForm(id, instanceForm);
    const instance = await findInstance(call.db, call.principal.projectId, id);
    if (instance === undefined) return call.fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([id]));
    const tags = tagsFor(input.TagSpecifications, 'snapshot');
    const left = new Set(input.InstanceSpecification?.ExcludeDataVolumeIds ?? []);
    const withoutRoot = input.InstanceSpecification?.ExcludeBootVolume === true;
    const attached = (await volumesOfInstance(call.db, id))
      .filter(({ volume, attachment }) => !left.has(volume.id) && !(withoutRoot && attachment.device === instance.rootDeviceName));
    if (attached.length === 0) return call.fail('IncorrectState', `The instance '${id}' has no volumes to make snapshots of.`);
    const wishes = attached.map(({ volume }) => wishOf(call, volume.id, { description: input.Description, tags }));
    const made = await createSnapshots(call.db, wishes, call.clock.date());
    if ('refused' in made) return refuse(made, attached[0]?.volume.id ?? '');
    call.relay.kick();
    return { Snapshots: made.map(infoOf(tags)) };
  },
});

const infoOf = (tags: readonly TagText[]) => (snapshot: Snapshot) => {
  const { SnapshotId, VolumeId, State, StartTime, Progress, OwnerId, Description, VolumeSize, Encrypted } = showSnapshot(snapshot, tags);
  return { SnapshotId, VolumeId, State, StartTime, Progress, OwnerId, Description, VolumeSize, Encrypted, Tags: [...tags] };
};

interface FullSnapshot extends Snapshot {
  readonly tags: readonly TagText[];
  readonly permitted: readonly string[];
}

const filters: Filters<FullSnapshot> = {
  description: (snapshot) => snapshot.description,
  encrypted: () => false,
  'owner-alias': () => undefined,
  'owner-id': (snapshot) => snapshot.projectId,
  progress: progressOf,
  'snapshot-id': (snapshot) => snapshot.id,
  'start-time': (snapshot) => snapshot.startedAt,
  status: (snapshot) => snapshot.state,
  'storage-tier': () => 'standard',
  'volume-id': (snapshot) => snapshot.volumeId,
  'volume-size': (snapshot) => snapshot.sizeGiB,
};

const describeSnapshots = action({
  name: 'DescribeSnapshots',
  doc: 'Snapshots that the project may make volumes of: its own, public ones, and those that it was permitted.',
  roles: 'anyMember',
  errors: [
    'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidNextToken', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed',
    'InvalidUserID.Malformed',
  ],
  filters: Object.keys(filters),
  async handle(call, input) {
    const owned = ownerTest(call, input.OwnerIds);
    const restorable = restorableTest(call, input.RestorableByUserIds);
    const page = describe({
      input, items: (await loadSnapshots(call)).filter((snapshot) => owned(snapshot) && restorable(snapshot)), id: (snapshot) => snapshot.id, filters,
      ids: { values: input.SnapshotIds, form: snapshotForm, notFound: snapshotNotFound }, tags: (snapshot) => snapshot.tags,
      page: { min: 5, max: 1_000, excludesIds: true },
    });
    return { Snapshots: page.items.map((snapshot) => showSnapshot(snapshot, snapshot.tags)), NextToken: page.NextToken };
  },
});

async function loadSnapshots(call: Call): Promise<FullSnapshot[]> {
  const { projectId } = call.principal;
  const rows = await visibleSnapshots(call.db, projectId);
  const ids = rows.map(({ id }) => id);
  const tags = await tagsOf(call.db, projectId, ids);
  const permissions = groupBy(await snapshotPermissionsOf(call.db, ids), ({ snapshotId }) => snapshotId);
  return rows.map((row) => ({ ...row, tags: tags.get(row.id) ?? [], permitted: (permissions.get(row.id) ?? []).map((one) => one.projectId) }));
}

function ownerTest(call: Call, owners: readonly string[] | undefined): (snapshot: FullSnapshot) => boolean {
  if (owners === undefined || owners.length === 0) return () => true;
  const wanted = new Set(owners.map((owner) => (owner === 'self' ? call.principal.projectId : owner)));
  for (const owner of wanted) if (!/^[\w-]{1,64}$/.test(owner)) fail('InvalidUserID.Malformed', `Invalid user id: "${owner.slice(0, 64)}"`);
  return (snapshot) => wanted.has(snapshot.projectId);
}

/** `self`: permitted to me by name, or mine. `all`: public. An id: permitted to it by name, which only the owner learns. */
function restorableTest(call: Call, users: readonly string[] | undefined): (snapshot: FullSnapshot) => boolean {
  if (users === undefined || users.length === 0) return () => true;
  const { projectId } = call.principal;
  return (snapshot) => users.some((user) => {
    if (user === 'all') return snapshot.isPublic;
    const wanted = user === 'self' ? projectId : user;
    const isPermitted = snapshot.permitted.includes(wanted);
    return snapshot.projectId === projectId ? wanted === projectId || isPermitted : wanted === projectId && isPermitted;
  });
}

const remove = action({
  name: 'DeleteSnapshot',
  doc: 'Deletes a snapshot. Volumes made of it stay. Refused while an image or a volume in the making needs it.',
  roles: changers,
  errors: ['AuthFailure', 'IncorrectState', 'InvalidSnapshot.InUse', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const { id: snapshotId } = await ownedSnapshot(call, input.SnapshotId);
    const { projectId, userId } = call.principal;
    const deadline = new Date(call.clock.now() + volumeTimeoutMs);
    const deleted = await deleteSnapshot(call.db, { projectId, userId, snapshotId, requestId: call.requestId, deadline }, call.clock.date());
    if (deleted === 'absent') return failNoSnapshot(snapshotId);
    if (deleted === 'deleting') {
      call.relay.kick();
      return {};
    }
    if ('usedBy' in deleted) return call.fail('InvalidSnapshot.InUse', `The snapshot ${snapshotId} is currently in use by ${deleted.usedBy}`);
    return call.fail('IncorrectState', `The snapshot ${snapshotId} is in state '${deleted.state}'.`);
  },
});

async function ownedSnapshot(call: Call, given: string | undefined): Promise<Snapshot> {
  const id = snapshotIdOf(given);
  const snapshot = (await findVisibleSnapshot(call.db, call.principal.projectId, id)) ?? failNoSnapshot(id);
  if (snapshot.projectId !== call.principal.projectId) fail('AuthFailure', `Not authorized for snapshot:${id}`);
  return snapshot;
}

const copy = action({
  name: 'CopySnapshot',
  doc: 'A snapshot of one\'s own with the same content, which no volume host has twice. There is one region.',
  roles: changers,
  errors: [
    'IncorrectState', 'InvalidParameterValue', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'MissingParameter', 'SnapshotLimitExceeded',
    'TagLimitExceeded', 'UnsupportedOperation',
  ],
  async handle(call, input) {
    const sourceId = input.SourceSnapshotId ?? '';
    if (sourceId === '') return call.fail('MissingParameter', 'The request must contain the parameter SourceSnapshotId');
    refuseEncryption(input);
    if (input.SourceRegion !== undefined && input.SourceRegion !== '' && input.SourceRegion !== call.region) {
      return call.fail('InvalidParameterValue', `The region '${input.SourceRegion.slice(0, 60)}' does not exist.`);
    }
    const source = await completedSnapshot(call, sourceId);
    const tags = tagsFor(input.TagSpecifications, 'snapshot');
    const { projectId, userId } = call.principal;
    const copied = await copySnapshot(call.db, {
      sourceId: source.id, projectId, userId, id: newId('snap'), description: checkDescription(input.Description), tags, quota: call.snapshotsPerProjectMax,
    }, call.clock.date());
    if (copied === 'gone') return failNoSnapshot(sourceId);
    return 'refused' in copied ? failOverQuota(copied.limit) : { SnapshotId: copied.id, Tags: tags };
  },
});

const describeAttribute = action({
  name: 'DescribeSnapshotAttribute',
  doc: 'One attribute of a snapshot of the project.',
  roles: 'anyMember',
  errors: ['AuthFailure', 'InvalidParameterValue', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const snapshot = await ownedSnapshot(call, input.SnapshotId);
    const attribute: string = input.Attribute ?? '';
    if (attribute === 'productCodes') return { SnapshotId: snapshot.id, ProductCodes: [] };
    if (attribute !== 'createVolumePermission') {
      return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. Unknown attribute.`);
    }
    const users = (await snapshotPermissionsOf(call.db, [snapshot.id])).map(({ projectId }) => ({ UserId: projectId }));
    return { SnapshotId: snapshot.id, CreateVolumePermissions: snapshot.isPublic ? [{ Group: 'all' as const }, ...users] : users };
  },
});

const modifyAttribute = action({
  name: 'ModifySnapshotAttribute',
  doc: 'Lets projects, or all, make volumes of a snapshot, or takes that back.',
  roles: changers,
  errors: [
    'AuthFailure', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'MissingParameter',
  ],
  async handle(call, input) {
    const snapshot = await ownedSnapshot(call, input.SnapshotId);
    const change = sharingOf(input);
    const permit = change.permit ?? [];
    const existing = await existingProjects(call.db, permit);
    const unknown = permit.find((id) => !existing.has(id));
    if (unknown !== undefined) return call.fail('InvalidParameterValue', `Invalid value "${unknown.slice(0, 60)}" for userId.`);
    await shareSnapshot(call.db, snapshot.id, change);
    return {};
  },
});

interface GivenPermission {
  readonly UserId?: string | undefined;
  readonly Group?: string | undefined;
}

interface GivenSharing {
  readonly OperationType?: string | undefined;
  readonly UserIds?: readonly string[] | undefined;
  readonly GroupNames?: readonly string[] | undefined;
  readonly CreateVolumePermission?:
    { readonly Add?: readonly GivenPermission[] | undefined; readonly Remove?: readonly GivenPermission[] | undefined } | undefined;
}

/** Both forms: `CreateVolumePermission.Add.1.UserId` of today, and `OperationType=add&UserId.1=…` of old clients. */
function sharingOf(input: GivenSharing): SnapshotSharing {
  const flat: GivenPermission[] = [...(input.UserIds ?? []).map((UserId) => ({ UserId })), ...(input.GroupNames ?? []).map((Group) => ({ Group }))];
  const add = [...(input.CreateVolumePermission?.Add ?? []), ...(input.OperationType === 'add' ? flat : [])];
  const takeBack = [...(input.CreateVolumePermission?.Remove ?? []), ...(input.OperationType === 'remove' ? flat : [])];
  if (flat.length > 0 && input.OperationType !== 'add' && input.OperationType !== 'remove') {
    fail('InvalidParameterCombination', "The parameter OperationType must be 'add' or 'remove' with user ids or groups");
  }
  if (add.length + takeBack.length === 0) fail('MissingParameter', 'No attributes specified.');
  for (const { Group } of [...add, ...takeBack]) {
    if (Group !== undefined && Group !== 'all') fail('InvalidParameterValue', `Invalid value "${Group.slice(0, 60)}" for group.`);
  }
  const isPublic = add.some(({ Group }) => Group === 'all') ? true : takeBack.some(({ Group }) => Group === 'all') ? false : undefined;
  return { ...(isPublic === undefined ? {} : { isPublic }), permit: usersOf(add), forbid: usersOf(takeBack) };
}

const usersOf = (items: readonly GivenPermission[]): string[] => [...new Set(items.map(({ UserId }) => UserId).filter((id) => id !== undefined))];

const resetAttribute = action({
  name: 'ResetSnapshotAttribute',
  doc: 'Makes a snapshot private again.',
  roles: changers,
  errors: ['AuthFailure', 'InvalidParameterValue', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const snapshot = await ownedSnapshot(call, input.SnapshotId);
    const attribute: string = input.Attribute ?? '';
    if (attribute !== 'createVolumePermission') {
      return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid.`);
    }
    await shareSnapshot(call.db, snapshot.id, { isPublic: false, reset: true });
    return {};
  },
});

export const snapshotActions = [create, createOfInstance, describeSnapshots, remove, copy, describeAttribute, modifyAttribute, resetAttribute] as const;
