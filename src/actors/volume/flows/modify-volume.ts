// volume.modify: the volume grows, under a guest that has it too. Its room was claimed with the wish. Nothing shrinks again, so that only the
// row is undone, by whoever settles the failure.
//   resize  the volume has its new size
//   report  the rows say so
//   guest   a guest that runs with it sees that
import { attachmentOf } from '../../../db/attachments.ts';
import { finishGrowing } from '../../../db/volume-work.ts';
import { loadInstance } from '../../../db/instance-work.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import { computeProtocol } from '../../../messages/compute.ts';
import { bytesOf, type VolumeContext } from './volume-context.ts';

export const modifyVolume: Flow<VolumeContext> = {
  name: 'volume.modify',
  steps: [
    { name: 'resize', do: ({ host, volume, input }) => host.driver.resize(volume.id, bytesOf(Number(input['sizeGiB']))) },
    { name: 'report', do: report },
    { name: 'guest', do: tellGuest },
  ],
};

async function report({ host, volume }: VolumeContext): Promise<void> {
  if (!(await finishGrowing(host.db, volume, host.clock.date()))) throw new Error('the volume is not being changed');
}

const askMs = 30_000;

/** One that does not run sees it when it starts; one whose host does not hear, too. */
async function tellGuest({ host, volume, requestId }: VolumeContext): Promise<void> {
  const attachment = await attachmentOf(host.db, volume.id);
  const instance = attachment?.state === 'attached' ? await loadInstance(host.db, attachment.instanceId) : undefined;
  if (instance === undefined || instance.host === null || instance.state !== 'running') return;
  const body = { instanceId: instance.id, volumeId: volume.id };
  try {
    await host.transport.ask({ role: 'compute', host: instance.host }, computeProtocol, 'volumeGrew', body, { timeoutMs: askMs, requestId });
  } catch (error) {
    host.log.warn({ ...body, requestId, error: messageOf(error) }, 'a guest was not shown that its volume has grown');
  }
}
