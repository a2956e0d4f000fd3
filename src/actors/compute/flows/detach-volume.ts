// instance.detachVolume: a guest gives a volume back. It is asked until it lets go; by force it is not waited for. There is no undo: a guest
// that has let go has let go.
//   unplug   neither guest nor definition has it; this host has nothing of it
//   release  nothing is to be served for it: its host is told, and frees it
import { releaseAttachment, revertAttachment } from '../../../db/attachments.ts';
import { noteVolumeReason } from '../../../db/volume-work.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import { volumeSerial } from '../../../lib/ids.ts';
import { disconnectVolume } from '../volumes.ts';
import { attachmentIn } from './attach-volume.ts';
import type { InstanceContext } from './instance-context.ts';

export const detachVolume: Flow<InstanceContext> = {
  name: 'instance.detachVolume',
  steps: [{ name: 'unplug', do: unplug }, { name: 'release', do: release }],
};

const patienceMs = 60_000;
const askAgainMs = 2_000;

async function unplug(context: InstanceContext): Promise<void> {
  const { host, instance, input } = context;
  const attached = await attachmentIn(context);
  await detachDisk(context, { serial: volumeSerial(String(input['volumeId'])), force: input['force'] === true });
  await disconnectVolume(host, attached?.attachment.connection ?? null);
  host.log.info({ instance: instance.id, volume: input['volumeId'] }, 'volume taken off the guest');
}

/** A guest that is booting, or that writes, does not let go at once. */
async function detachDisk({ host, instance, signal, hurry }: InstanceContext, disk: { serial: string; force: boolean }): Promise<void> {
  const end = host.clock.now() + patienceMs;
  for (;;) {
    try {
      return await host.hypervisor.detachDisk(instance.id, disk.serial, { force: disk.force });
    } catch (error) {
      const isBusy = error instanceof DriverError && error.kind === 'busy';
      if (!isBusy || hurry.aborted || host.clock.now() >= end) throw error;
    }
    signal.throwIfAborted();
    await host.clock.sleep(askAgainMs, signal);
  }
}

async function release({ host, input, requestId }: InstanceContext): Promise<void> {
  const attachment = { id: String(input['attachmentId']), volumeId: String(input['volumeId']) };
  await releaseAttachment(host.db, attachment, { requestId, deletes: false }, host.clock.date());
  host.relay.kick();
}

/** The guest has it still: shown as it is, with the reason for `novact explain`. */
export async function afterFailedDetach({ host, input }: Pick<InstanceContext, 'host' | 'input'>, error: string): Promise<void> {
  await revertAttachment(host.db, String(input['attachmentId']), 'attached');
  await noteVolumeReason(host.db, String(input['volumeId']), `it could not be detached: ${error}`);
}
