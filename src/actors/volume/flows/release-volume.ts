// volume.release: no guest has the volume any more. Nobody can connect to it from here on, and only then is it free, or goes with its
// instance. There is no undo.
import { endAttachment } from '../../../db/attachments.ts';
import type { Flow } from '../../../lib/flow.ts';
import type { VolumeContext } from './volume-context.ts';

export const releaseVolume: Flow<VolumeContext> = {
  name: 'volume.release',
  steps: [
    { name: 'exports', do: async ({ settle, volume }) => void (await settle(volume.id)) },
    { name: 'report', do: report },
  ],
};

const deleteMs = 10 * 60_000;

async function report({ host, volume, input, requestId }: VolumeContext): Promise<void> {
  const now = host.clock.date();
  await endAttachment(host.db, { id: String(input['attachmentId']), volumeId: volume.id }, {
    ...(typeof input['reason'] === 'string' ? { reason: input['reason'] } : {}),
    ...(input['deletes'] === true ? { deletes: { requestId, deadline: new Date(now.getTime() + deleteMs) } } : {}),
  }, now);
  host.relay.kick();
}
