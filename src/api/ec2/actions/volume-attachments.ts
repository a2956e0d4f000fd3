// A volume comes to an instance, and is taken off it. The row is taken at once, by one of any number of requests; the guest follows.
import { attachVolume, detachVolume, type AttachRefusal, type DetachRefusal } from '../../../db/attach-volume.ts';
import { action, fail, type Call } from '../action.ts';
import { checkForm, doesNotExist } from '../describe.ts';
import { instanceForm } from '../instance-filters.ts';
import { admitWork } from '../notify.ts';
import { showAttachment } from '../show-volume.ts';
import { requireRelease } from '../upgrading.ts';
import { checkDevice, failNoVolume, volumeIdOf } from '../volume-request.ts';

const roles = ['projectmanager', 'sysadmin'] as const;
const timeoutMs = 5 * 60_000;

function wishOf(call: Call, volumeId: string) {
  const { projectId, userId } = call.principal;
  return { projectId, userId, volumeId, requestId: call.requestId, deadline: new Date(call.clock.now() + timeoutMs) };
}

const attach = action({
  name: 'AttachVolume',
  doc: 'Attaches a volume to an instance that runs or is stopped. The guest sees it under the next free name of its own (`vdb` …), and by its serial number.',
  roles,
  errors: [
    'AttachmentLimitExceeded', 'IncorrectState', 'InvalidInstanceID.Malformed', 'InvalidInstanceID.NotFound', 'InvalidParameterValue', 'InvalidVolume.NotFound',
    'InvalidVolume.ZoneMismatch', 'InvalidVolumeID.Malformed', 'MissingParameter', 'UnsupportedOperation', 'VolumeInUse',
  ],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    const instanceId = input.InstanceId ?? '';
    if (instanceId === '') return call.fail('MissingParameter', 'The request must contain the parameter InstanceId');
    checkForm(instanceId, instanceForm);
    const device = checkDevice(input.Device);
    await requireRelease(call, 'compute', '0.3.0');
    admitWork(call, 'scheduler');
    const attached = await attachVolume(call.db, { ...wishOf(call, volumeId), instanceId, device }, call.clock.date());
    if ('refused' in attached) return failToAttach(attached, { volumeId, instanceId, device });
    call.relay.kick();
    return showAttachment(attached);
  },
});

function failToAttach(refusal: AttachRefusal, { volumeId, instanceId, device }: { volumeId: string; instanceId: string; device: string }): never {
  switch (refusal.refused) {
    case 'noInstance': return fail('InvalidInstanceID.NotFound', doesNotExist('instance ID')([instanceId]));
    case 'noVolume': return failNoVolume(volumeId);
    case 'inUse': return fail('VolumeInUse', `${volumeId} is already attached to an instance`);
    case 'deviceUsed': return fail('InvalidParameterValue', `Invalid value '${device}' for unixDevice. Attachment point ${device} is already in use`);
    case 'full': return fail('AttachmentLimitExceeded', `The instance ${instanceId} has as many volumes as it can have.`);
    case 'instanceState': return fail('IncorrectState', `Instance '${instanceId}' is not 'running' or 'stopped'.`);
    case 'volumeState': return fail('IncorrectState', `${volumeId} is not 'available': it is ${refusal.state}.`);
    case 'zone': return fail('InvalidVolume.ZoneMismatch', `The volume '${volumeId}' is not in the same availability zone as instance '${instanceId}'`);
    case 'elsewhere': return fail('UnsupportedOperation',
      `The volume '${volumeId}' can be used by instances of the host ${refusal.host} only, and '${instanceId}' is not there.`);
    case 'noDisks': return fail('UnsupportedOperation', `Instances of the hypervisor ${refusal.hypervisor} have no disks.`);
  }
}

const detach = action({
  name: 'DetachVolume',
  doc: 'Takes a volume off its instance: the guest is asked to let go of it. Force does not wait for the guest, which then gets errors from it.',
  roles,
  errors: [
    'IncorrectState', 'InvalidAttachment.NotFound', 'InvalidInstanceID.Malformed', 'InvalidVolume.NotFound', 'InvalidVolumeID.Malformed', 'MissingParameter',
    'OperationNotPermitted',
  ],
  async handle(call, input) {
    const volumeId = volumeIdOf(input.VolumeId);
    const instanceId = input.InstanceId === '' ? undefined : input.InstanceId;
    if (instanceId !== undefined) checkForm(instanceId, instanceForm);
    const device = input.Device === undefined || input.Device === '' ? undefined : input.Device;
    const wish = { ...wishOf(call, volumeId), instanceId, device, force: input.Force === true };
    const detached = await detachVolume(call.db, wish, call.clock.date());
    if ('refused' in detached) return failToDetach(detached, { volumeId, instanceId });
    call.relay.kick();
    return showAttachment(detached);
  },
});

function failToDetach(refusal: DetachRefusal, { volumeId, instanceId }: { volumeId: string; instanceId: string | undefined }): never {
  switch (refusal.refused) {
    case 'noVolume': return failNoVolume(volumeId);
    case 'notAttached': return fail('IncorrectState', `Volume '${volumeId}' is in the 'available' state.`);
    case 'otherwise': return fail('InvalidAttachment.NotFound', `The volume '${volumeId}' is not attached to instance '${instanceId ?? ''}' as that device.`);
    case 'state': return fail('IncorrectState', `The attachment of volume '${volumeId}' is in the '${refusal.state}' state.`);
    case 'rootDevice': return fail('OperationNotPermitted', `Unable to detach root volume '${volumeId}' of an instance that is not stopped.`);
  }
}

export const attachmentActions = [attach, detach] as const;
