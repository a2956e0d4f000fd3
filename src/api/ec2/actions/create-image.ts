// Images of instances.
import { volumesOfInstance } from '../../../db/attachments.ts';
import { insertInstanceImage, type InstanceImageOutcome } from '../../../db/instance-images.ts';
import { loadImage } from '../../../db/image-work.ts';
import type { ImageRow } from '../../../db/images.ts';
import { findInstance, type InstanceRow } from '../../../db/instances.ts';
import { action, fail, type Call } from '../action.ts';
import { checkForm, doesNotExist } from '../describe.ts';
import { checkDescription, checkName, emptyRow } from '../image-request.ts';
import { instanceDevices } from '../instance-devices.ts';
import { instanceForm } from '../instance-filters.ts';
import { admitWork } from '../notify.ts';
import { tagsFor } from '../tag-specifications.ts';
import { requireRelease } from '../upgrading.ts';
import { failNoVolume, volumeTimeoutMs } from '../volume-request.ts';

export const createImageAction = action({
  name: 'CreateImage',
  doc: 'An image of what the disks of an instance hold: of its root disk, or a snapshot of the volume it boots from, and snapshots of its other volumes. A '
    + 'guest that runs is ended for it and started again, unless `NoReboot` says that it goes on; then the image has what a power cut would have left.',
  roles: ['projectmanager', 'sysadmin'],
  errors: [
    'IncorrectInstanceState', 'IncorrectState', 'InvalidAMIName.Duplicate', 'InvalidAMIName.Malformed', 'InvalidBlockDeviceMapping',
    'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterValue', 'InvalidSnapshot.NotFound', 'InvalidSnapshotID.Malformed',
    'InvalidVolume.NotFound', 'MissingParameter', 'ResourceLimitExceeded', 'SnapshotLimitExceeded', 'TagLimitExceeded', 'UnknownVolumeType',
    'UnsupportedOperation',
  ],
  async handle(call, input) {
    const { InstanceId: id = '', Name: given = '' } = input;
    if (id === '') return call.fail('MissingParameter', 'The request must contain the parameter InstanceId');
    if (given === '') return call.fail('MissingParameter', 'The request must contain the parameter Name');
    checkForm(id, instanceForm);
    const name = checkName(given);
    const description = checkDescription(input.Description);
    if (input.SnapshotLocation === 'local') return call.fail('UnsupportedOperation', 'Snapshots are kept by the hosts of their volumes.');
    const tags = { image: tagsFor(input.TagSpecifications, 'image', ['snapshot']), snapshot: tagsFor(input.TagSpecifications, 'snapshot', ['image']) };
    const instance = await imagedInstance(call, id);
    const attached = await volumesOfInstance(call.db, id);
    const { devices, snapshots } = await instanceDevices(call, input.BlockDeviceMappings, { instance, attached });
    await Promise.all((['compute', 'objectstore'] as const).map((role) => requireRelease(call, role, '0.3.0')));
    const owner = `compute@${instance.host}`;
    admitWork(call, owner);
    const { projectId, userId } = call.principal;
    const row: ImageRow = { ...await rowOf(call, instance), devices, name, description, location: `${projectId}/${name}` };
    const wish = { projectId, userId, requestId: call.requestId, deadline: new Date(call.clock.now() + volumeTimeoutMs) };
    const made = await insertInstanceImage(call.db, {
      row, tags: tags.image, quota: call.imagesPerProjectMax,
      snapshots: snapshots.map((snapshot) => ({
        ...wish, ...snapshot, description: `Created by CreateImage(${id}) for ${row.id}`, tags: tags.snapshot, quota: call.snapshotsPerProjectMax,
      })),
      operation: {
        ...wish, kind: 'instance.createImage', resourceId: id, owner,
        input: { imageId: row.id, snapshotIds: snapshots.map((snapshot) => snapshot.id), reboots: input.NoReboot !== true },
      },
    }, call.clock.date());
    if (made.outcome !== 'inserted') return refuse(row, made);
    call.relay.kick();
    return { ImageId: row.id };
  },
});

/** One whose disks hold what its guest has left there, or is writing. */
async function imagedInstance(call: Call, id: string): Promise<InstanceRow> {
  const instance = await findInstance(call.db, call.principal.projectId, id);
  if (instance === undefined) return fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([id]));
  if ((instance.state === 'running' || instance.state === 'stopped') && instance.host !== null) return instance;
  return fail('IncorrectInstanceState', `The instance '${id}' is not in a state from which an image can be created. It must be running or stopped.`);
}

/** It boots as its instance does. */
async function rowOf(call: Call, instance: InstanceRow): Promise<Omit<ImageRow, 'name' | 'description' | 'location'>> {
  const { architecture, rootDeviceName, kernelId, ramdiskId } = instance;
  const source = await loadImage(call.db, instance.imageId);
  return { ...emptyRow(call, 'machine'), architecture, rootDeviceName, kernelId, ramdiskId, virtualizationType: source?.virtualizationType ?? 'hvm' };
}

function refuse(row: ImageRow, made: Exclude<InstanceImageOutcome, { outcome: 'inserted' }>): never {
  if (made.outcome === 'duplicate') return fail('InvalidAMIName.Duplicate', `AMI name ${row.name} is already in use by AMI ${made.usedBy}`);
  if (made.outcome === 'overQuota') return fail('ResourceLimitExceeded', `You have reached the maximum number of images (${made.limit}).`);
  const { refusal, volumeId } = made;
  switch (refusal.refused) {
    case 'noVolume': return failNoVolume(volumeId);
    case 'overQuota': return fail('SnapshotLimitExceeded', `You have reached your maximum of ${refusal.limit} snapshots.`);
    case 'state': return fail('IncorrectState',
      `The volume '${volumeId}' is in state '${refusal.state}': snapshots are made of available and attached volumes.`);
  }
}
