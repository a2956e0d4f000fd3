// volume.delete: nothing of the volume remains on this host, and its room is free. There is no undo: it goes on until it is done, or the volume
// is in error, from where it can be deleted again.
import { endVolume } from '../../../db/volume-work.ts';
import type { Flow } from '../../../lib/flow.ts';
import type { VolumeContext } from './volume-context.ts';

export const deleteVolume: Flow<VolumeContext> = {
  name: 'volume.delete',
  steps: [
    { name: 'exports', do: async ({ settle, volume }) => void (await settle(volume.id)) },
    { name: 'content', do: ({ host, volume }) => host.driver.ensureVolumeAbsent(volume.id) },
    { name: 'report', do: ({ host, volume }) => endVolume(host.db, volume.id, host.clock.date()) },
  ],
};
