// Volumes: made, seen, changed and deleted. Attaching has a file of its own.
import { createVolume, deleteVolume, findByVolumeToken, findVolume, loadVolumes, modificationsOf, modifyVolume, setAutoEnableIo,
  type FullVolume, type Modification, type VolumeCreated } from '../../../db/volumes.ts';
import { newId } from '../../../lib/ids.ts';
import { action, fail, type Call, type Filters, type InputOf, type OutputOf } from '../action.ts';
import { describe } from '../describe.ts';
import { checkClientToken, requestDigest } from '../launch-request.ts';
import { admitWork } from '../notify.ts';
import { iopsOf, showModification, showVolume } from '../show-volume.ts';
import { tagsFor } from '../tag-specifications.ts';
import { requireRelease } from '../upgrading.ts';
import {
  checkSize, checkType, checkZone, completedSnapshot, failNoVolume, failOverQuota, ownVolume, quotaOf, refuseEncryption, volumeForm, volumeIdOf,
  volumeNotFound, volumeTimeoutMs,
} from '../volume-request.ts';
import { attachmentActions } from './volume-attachments.ts';

const changers = ['projectmanager', 'sysadmin'] as const;
const pageLimits = { min: 5, max: 1_000, excludesIds: true } as const;

const create = action({
  name: 'CreateVolume',
  doc: 'Makes a volume, empty or of a snapshot. All types are served alike. Repeating it with the same ClientToken makes nothing again.',
  roles: changers,
  errors: [
    'IdempotentParameterMismatch', 'IncorrectState', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidSnapshot.NotFound',
    'InvalidSnapshotID.Malformed', 'InvalidZone.NotFound', 'MissingParameter', 'TagLimitExceeded', 'UnknownVolumeType', 'UnsupportedOperation',
    'VolumeLimitExceeded',
  ],
  async handle(call, input) {
    const { projectId, userId } = call.principal;
    const token = { projectId, clientToken: checkClientToken(input.ClientToken), requestDigest: requestDigest(input) };
    const earlier = await findByVolumeToken(call.db, token);
    if (earlier !== undefined) return answer(call, earlier, '');
    await requireRelease(call, 'scheduler', '0.3.0');
    admitWork(call, 'scheduler');
    const tags = tagsFor(input.TagSpecifications, 'volume');
    const now = call.clock.date();
    const deadline = new Date(now.getTime() + volumeTimeoutMs);
    const row = {
      ...token, ...(await wishedVolume(call, input)), userId, id: newId('vol'), state: 'creating' as const, stateChangedAt: now, stateDeadline: deadline,
      createdAt: now,
    };
    const created = await createVolume(call.db, { row, tags, quota: quotaOf(call), operation: { requestId: call.requestId, deadline } });
    return answer(call, created, row.id);
  },
});

async function wishedVolume(call: Call, input: InputOf<'CreateVolume'>) {
  refuseEncryption(input);
  if (input.MultiAttachEnabled === true) fail('UnsupportedOperation', 'A volume is attached to one instance.');
  if ((input.OutpostArn ?? '') !== '') fail('UnsupportedOperation', 'Outposts are not supported.');
  const snapshotId = input.SnapshotId === undefined || input.SnapshotId === '' ? null : input.SnapshotId;
  const snapshot = snapshotId === null ? undefined : await completedSnapshot(call, snapshotId);
  const sizeGiB = input.Size ?? snapshot?.sizeGiB ?? fail('MissingParameter', 'The request must contain the parameter size/snapshot');
  const type = checkType(input.VolumeType);
  if (input.Iops !== undefined && !['io1', 'io2', 'gp3'].includes(type)) {
    fail('InvalidParameterCombination', `The parameter iops is not supported for ${type} volumes.`);
  }
  return {
    zone: await checkZone(call, input.AvailabilityZone), sizeGiB: checkSize(sizeGiB, snapshot), type, snapshotId, iops: input.Iops ?? null,
    throughput: input.Throughput ?? null,
  };
}

async function answer(call: Call, created: VolumeCreated, id: string): Promise<OutputOf<'CreateVolume'>> {
  if (created.outcome === 'mismatch') return fail('IdempotentParameterMismatch',
    'Arguments on this idempotent request are inconsistent with arguments used in previous request(s).');
  if (created.outcome === 'overQuota') return failOverQuota(created.of);
  if (created.outcome === 'snapshotGone') return fail('InvalidSnapshot.NotFound', 'The snapshot of the request was deleted meanwhile');
  if (created.outcome === 'created') call.relay.kick();
  const volume = await findVolume(call.db, call.principal.projectId, created.outcome === 'created' ? id : created.volumeId);
  const { Attachments: _none, ...shown } = showVolume(volume ?? fail('InternalError', 'the volume vanished'));
  return shown;
}

const remove = action({
  name: 'DeleteVolume',
  doc: 'Deletes a volume that is attached to nothing, one in error too. Its bytes can be read by nobody afterwards; its snapshots stay.',
  roles: changers,
  errors: ['IncorrectState', 'InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'MissingParameter', 'VolumeInUse'],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    const now = call.clock.date();
    const deadline = new Date(now.getTime() + volumeTimeoutMs);
    const { projectId, userId } = call.principal;
    const deleted = await deleteVolume(call.db, { projectId, userId, volumeId, requestId: call.requestId, deadline }, now);
    if (deleted === 'absent') return failNoVolume(volumeId);
    if (deleted === 'deleting') {
      call.relay.kick();
      return {};
    }
    if (deleted.attachment !== undefined) return call.fail('VolumeInUse', `Volume ${volumeId} is currently attached to ${deleted.attachment.instanceId}`);
    return call.fail('IncorrectState', `The volume '${volumeId}' is not 'available': it is ${deleted.state}.`);
  },
});

const filters: Filters<FullVolume> = {
  'attachment.attach-time': ({ attachment }) => attachment?.attachedAt,
  'attachment.delete-on-termination': ({ attachment }) => attachment?.deleteOnTermination,
  'attachment.device': ({ attachment }) => attachment?.device,
  'attachment.instance-id': ({ attachment }) => attachment?.instanceId,
  'attachment.status': ({ attachment }) => attachment?.state,
  'availability-zone': (volume) => volume.zone,
  'create-time': (volume) => volume.createdAt,
  encrypted: () => false,
  'fast-restored': () => false,
  'multi-attach-enabled': () => false,
  size: (volume) => volume.sizeGiB,
  'snapshot-id': (volume) => volume.snapshotId,
  status: (volume) => volume.state,
  'volume-id': (volume) => volume.id,
  'volume-type': (volume) => volume.type,
};

const wanted = (values: readonly string[] | undefined) => ({ values, form: volumeForm, notFound: volumeNotFound });

const describeVolumes = action({
  name: 'DescribeVolumes',
  doc: 'The volumes of the project, and what they are attached to.',
  roles: 'anyMember',
  errors: ['InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidNextToken'],
  filters: Object.keys(filters),
  async handle(call, input) {
    const page = describe({
      input, items: await loadVolumes(call.db, call.principal.projectId), id: (volume) => volume.id, ids: wanted(input.VolumeIds), filters,
      tags: (volume) => volume.tags, page: pageLimits,
    });
    return { Volumes: page.items.map(showVolume), NextToken: page.NextToken };
  },
});

const healthOf = (volume: FullVolume): 'ok' | 'impaired' | 'insufficient-data' =>
  (volume.state === 'error' ? 'impaired' : volume.state === 'creating' ? 'insufficient-data' : 'ok');

const statusFilters: Filters<FullVolume> = {
  'action.code': () => undefined,
  'action.description': () => undefined,
  'action.event-id': () => undefined,
  'availability-zone': (volume) => volume.zone,
  'event.description': () => undefined,
  'event.event-id': () => undefined,
  'event.event-type': () => undefined,
  'event.not-after': () => undefined,
  'event.not-before': () => undefined,
  'volume-status.details-name': () => ['io-enabled', 'io-performance'],
  'volume-status.details-status': () => ['passed', 'not-applicable'],
  'volume-status.status': healthOf,
};

const describeStatus = action({
  name: 'DescribeVolumeStatus',
  doc: 'Whether volumes are well. One in error is impaired; `novact explain` says why.',
  roles: 'anyMember',
  errors: ['InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidNextToken'],
  filters: Object.keys(statusFilters),
  async handle(call, input) {
    const page = describe({
      input, items: await loadVolumes(call.db, call.principal.projectId), id: (volume) => volume.id, ids: wanted(input.VolumeIds), filters: statusFilters,
      page: pageLimits,
    });
    const VolumeStatuses = page.items.map((volume) => ({
      VolumeId: volume.id,
      AvailabilityZone: volume.zone,
      VolumeStatus: {
        Status: healthOf(volume),
        Details: [
          { Name: 'io-enabled' as const, Status: volume.state === 'error' ? 'failed' : 'passed' },
          { Name: 'io-performance' as const, Status: 'not-applicable' },
        ],
      },
      Actions: [],
      Events: [],
    }));
    return { VolumeStatuses, NextToken: page.NextToken };
  },
});

const describeAttribute = action({
  name: 'DescribeVolumeAttribute',
  doc: 'One attribute of a volume.',
  roles: 'anyMember',
  errors: ['InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'InvalidParameterValue', 'MissingParameter'],
  async handle(call, input) {
    const volume = await ownVolume(call, input.VolumeId);
    const attribute: string = input.Attribute ?? '';
    if (attribute === 'autoEnableIO') return { VolumeId: volume.id, AutoEnableIO: { Value: volume.autoEnableIo } };
    if (attribute === 'productCodes') return { VolumeId: volume.id, ProductCodes: [] };
    return call.fail('InvalidParameterValue', `Value (${attribute.slice(0, 60)}) for parameter attribute is invalid. Unknown attribute.`);
  },
});

const modifyAttribute = action({
  name: 'ModifyVolumeAttribute',
  doc: 'Changes autoEnableIO, which means nothing here: input and output of a volume are never disabled.',
  roles: changers,
  errors: ['InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'MissingParameter'],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    const value = input.AutoEnableIO?.Value;
    if (value === undefined) return call.fail('MissingParameter', 'No attributes specified.');
    if (!(await setAutoEnableIo(call.db, { projectId: call.principal.projectId, volumeId, value }))) return failNoVolume(volumeId);
    return {};
  },
});

const modify = action({
  name: 'ModifyVolume',
  doc: 'Makes a volume larger, under a running guest too, or of another type.',
  roles: changers,
  errors: [
    'IncorrectModificationState', 'IncorrectState', 'InsufficientVolumeCapacity', 'InvalidParameterValue', 'InvalidVolume.NotFound',
    'InvalidVolumeID.Malformed', 'MissingParameter', 'UnknownVolumeType', 'UnsupportedOperation', 'VolumeLimitExceeded',
  ],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    if (input.MultiAttachEnabled === true) return call.fail('UnsupportedOperation', 'A volume is attached to one instance.');
    const now = call.clock.date();
    const changed = await modifyVolume(call.db, {
      volumeId, requestId: call.requestId, projectId: call.principal.projectId, userId: call.principal.userId, quota: quotaOf(call),
      sizeGiB: input.Size === undefined ? undefined : checkSize(input.Size, undefined),
      type: input.VolumeType === undefined ? undefined : checkType(input.VolumeType), deadline: new Date(now.getTime() + volumeTimeoutMs),
    }, now);
    if (!('refused' in changed)) {
      call.relay.kick();
      return { VolumeModification: showModification(changed) };
    }
    switch (changed.refused) {
      case 'noVolume': return failNoVolume(volumeId);
      case 'state': return call.fail('IncorrectState', `Cannot modify volume ${volumeId}: it is in state '${changed.state}'.`);
      case 'inProgress': return call.fail('IncorrectModificationState', `Volume ${volumeId} is currently being modified.`);
      case 'smaller': return call.fail('InvalidParameterValue', `New size cannot be smaller than existing size (${changed.sizeGiB} GiB)`);
      case 'full': return call.fail('InsufficientVolumeCapacity', 'There is not enough capacity to fulfill your EBS volume request.');
      case 'overQuota': return failOverQuota(changed.of);
    }
  },
});

const modificationFilters: Filters<Modification> = {
  'modification-state': (change) => change.state,
  'original-iops': (change) => iopsOf({ type: change.originalType, iops: null, sizeGiB: change.originalSizeGiB }),
  'original-size': (change) => change.originalSizeGiB,
  'original-volume-type': (change) => change.originalType,
  'start-time': (change) => change.startedAt,
  'target-iops': (change) => iopsOf({ type: change.targetType, iops: null, sizeGiB: change.targetSizeGiB }),
  'target-size': (change) => change.targetSizeGiB,
  'target-volume-type': (change) => change.targetType,
  'volume-id': (change) => change.volumeId,
};

const describeModifications = action({
  name: 'DescribeVolumesModifications',
  doc: 'The last change of each volume of the project.',
  roles: 'anyMember',
  errors: ['InvalidVolumeModification.NotFound', 'InvalidVolumeID.Malformed', 'InvalidParameterCombination', 'InvalidParameterValue', 'InvalidNextToken'],
  filters: Object.keys(modificationFilters),
  async handle(call, input) {
    const volumes = await loadVolumes(call.db, call.principal.projectId);
    const page = describe({
      input, items: await modificationsOf(call.db, volumes.map(({ id }) => id)), id: (change) => change.volumeId, filters: modificationFilters,
      ids: {
        values: input.VolumeIds, form: volumeForm,
        notFound: {
          code: 'InvalidVolumeModification.NotFound', message: (missing) => `Modification for volume '${missing.join(', ').slice(0, 255)}' does not exist.`,
        },
      },
      page: { min: 1, max: 500, excludesIds: true },
    });
    return { VolumesModifications: page.items.map(showModification), NextToken: page.NextToken };
  },
});

export const volumeActions = [
  create, remove, describeVolumes, describeStatus, describeAttribute, modifyAttribute, modify, describeModifications, ...attachmentActions,
] as const;
