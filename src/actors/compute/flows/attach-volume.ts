// instance.attachVolume: a volume that was taken for the instance comes to its guest.
//   plug    its host serves it to this one; the definition has it, and the guest, if it runs     − in neither
//   report  the row says attached                                                                − attaching again
// What fails is released: its host takes it back, and only then is it free for another.
import { confirmAttachment, releaseAttachment, revertAttachment, volumesOfInstance, type AttachedVolume } from '../../../db/attachments.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import { volumeSerial } from '../../../lib/ids.ts';
import { connectVolume, disconnectVolume } from '../volumes.ts';
import type { InstanceContext } from './instance-context.ts';

export const attachVolume: Flow<InstanceContext> = {
  name: 'instance.attachVolume',
  steps: [
    { name: 'plug', do: plug, undo: unplug },
    { name: 'report', do: report, undo: unreport },
  ],
};

/** The attachment that the operation is about; undefined when it was released meanwhile. */
export async function attachmentIn({ host, instance, input }: InstanceContext): Promise<AttachedVolume | undefined> {
  return (await volumesOfInstance(host.db, instance.id)).find(({ attachment }) => attachment.id === input['attachmentId']);
}

async function plug(context: InstanceContext): Promise<void> {
  const { host, instance } = context;
  const attached = await attachmentIn(context);
  if (attached === undefined) throw new Error('the volume was taken off the instance meanwhile');
  const disk = await connectVolume(context, attached);
  try {
    await host.hypervisor.attachDisk(instance.id, disk);
  } catch (error) {
    // A stopped instance whose domain is not defined here gets it with its definition.
    if (!isAbsent(error)) throw error;
  }
}

const isAbsent = (error: unknown): boolean => error instanceof DriverError && error.kind === 'notFound';

async function unplug(context: InstanceContext): Promise<void> {
  const { host, instance, input } = context;
  const attached = await attachmentIn(context);
  await host.hypervisor.detachDisk(instance.id, volumeSerial(String(input['volumeId'])), { force: true });
  await disconnectVolume(host, attached?.attachment.connection ?? null);
}

async function report({ host, input }: InstanceContext): Promise<void> {
  if (!(await confirmAttachment(host.db, String(input['attachmentId'])))) throw new Error('the volume was taken off the instance meanwhile');
}

async function unreport({ host, input }: InstanceContext): Promise<void> {
  await revertAttachment(host.db, String(input['attachmentId']), 'attaching');
}

/** It did not come to be: the volume goes back. */
export async function afterFailedAttach({ host, input, requestId }: Pick<InstanceContext, 'host' | 'input' | 'requestId'>, error: string): Promise<void> {
  const attachment = { id: String(input['attachmentId']), volumeId: String(input['volumeId']) };
  await releaseAttachment(host.db, attachment, { requestId, deletes: false, reason: `it could not be attached: ${error}` }, host.clock.date());
  host.relay.kick();
}
