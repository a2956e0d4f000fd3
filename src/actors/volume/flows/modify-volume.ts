// volume.modify: the volume grows, under a guest that has it too. Its room was claimed with the wish. Nothing shrinks again, so that only the
// row is undone, by whoever settles the failure.
//   resize  the volume has its new size
//   serve   what serves it serves that size: a server goes on with the one that it began with
//   guest   a guest that runs with it sees that
//   report  the rows say so
import { attachmentOf } from '../../../db/attachments.ts';
import { finishGrowing, noteVolumeReason } from '../../../db/volume-work.ts';
import { loadInstance } from '../../../db/instance-work.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import { retry } from '../../../lib/retry.ts';
import { computeProtocol } from '../../../messages/compute.ts';
import { bytesOf, type VolumeContext } from './volume-context.ts';

export const modifyVolume: Flow<VolumeContext> = {
  name: 'volume.modify',
  steps: [
    { name: 'resize', do: (context) => context.host.driver.resize(context.volume.id, bytesOf(sizeOf(context))) },
    { name: 'serve', do: async ({ settle, volume }) => void (await settle(volume.id)) },
    { name: 'guest', do: showGuest },
    { name: 'report', do: report },
  ],
};

const sizeOf = ({ input }: VolumeContext): number => Number(input['sizeGiB']);

const askMs = 30_000;
const tries = { triesMax: 3, firstDelayMs: 500, delayMsMax: 2_000 };

/** One that does not run, or does not have it yet, sees it when it starts or gets it. That it is not shown to one that has it keeps nobody up. */
async function showGuest(context: VolumeContext): Promise<void> {
  const { host, volume, requestId } = context;
  const attachment = await attachmentOf(host.db, volume.id);
  const instance = attachment === undefined || attachment.released ? undefined : await loadInstance(host.db, attachment.instanceId);
  if (instance === undefined || instance.host === null || instance.state !== 'running') return;
  const to = { role: 'compute', host: instance.host } as const;
  const body = { instanceId: instance.id, volumeId: volume.id, sizeGiB: sizeOf(context) };
  try {
    await retry(() => host.transport.ask(to, computeProtocol, 'volumeGrew', body, { timeoutMs: askMs, requestId }), { clock: host.clock, ...tries });
  } catch (error) {
    host.log.warn({ ...body, requestId, error: messageOf(error) }, 'a guest was not shown that its volume has grown');
    await noteVolumeReason(host.db, volume.id, `its guest sees the new size at its next start: ${messageOf(error)}`);
  }
}

async function report({ host, volume }: VolumeContext): Promise<void> {
  if (!(await finishGrowing(host.db, volume, host.clock.date()))) throw new Error('the volume is not being changed');
}
