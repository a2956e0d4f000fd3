// volume.create: from a placed row to a volume that can be attached.
//   content  zeros, or what a snapshot holds      − nothing of it
//   report   the row says available               − creating again
import { publishVolume, settleVolume } from '../../../db/volume-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import { bytesOf, type VolumeContext } from './volume-context.ts';

export const createVolume: Flow<VolumeContext> = {
  name: 'volume.create',
  steps: [
    { name: 'content', do: makeContent, undo: ({ host, volume }) => host.driver.ensureVolumeAbsent(volume.id) },
    { name: 'report', do: report, undo: unreport },
  ],
};

async function makeContent({ host, volume }: VolumeContext): Promise<void> {
  const from = volume.contentId === null ? undefined : { snapshotId: volume.contentId };
  await host.driver.ensureVolume({ id: volume.id, sizeBytes: bytesOf(volume.sizeGiB), ...(from === undefined ? {} : { from }) });
}

async function report({ host, volume }: VolumeContext): Promise<void> {
  if (!(await publishVolume(host.db, volume, host.clock.date()))) throw new Error('the volume is no longer this host\'s, or was given up');
}

async function unreport({ host, volume }: VolumeContext): Promise<void> {
  await settleVolume(host.db, volume, ['available', 'in-use'], { state: 'creating', reason: null }, host.clock.date());
}
