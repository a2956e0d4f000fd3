// volume.snapshot: what a volume holds at one moment, kept. It is work on the volume, so that a deletion wished after it waits for it.
//   content  the snapshot at the driver       − nothing of it
//   report   the row says completed           − pending again
// snapshot.delete: its content goes with the last row that has it. There is no undo.
import { attachmentOf } from '../../../db/attachments.ts';
import { loadInstance } from '../../../db/instance-work.ts';
import { endSnapshot, loadSnapshot, othersWithContent, publishSnapshot, withdrawSnapshot, type Snapshot } from '../../../db/snapshot-work.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import { createGate } from '../../../lib/gate.ts';
import { computeProtocol } from '../../../messages/compute.ts';
import type { SnapshotContext, VolumeContext } from './volume-context.ts';

export const snapshotVolume: Flow<VolumeContext> = {
  name: 'volume.snapshot',
  steps: [
    { name: 'content', do: takeContent, undo: dropContent },
    { name: 'report', do: report, undo: unreport },
  ],
};

async function snapshotOf({ host, input }: VolumeContext): Promise<Snapshot> {
  const snapshot = await loadSnapshot(host.db, String(input['snapshotId']));
  if (snapshot === undefined || snapshot.state === 'deleted') throw new Error('the snapshot was given up');
  return snapshot;
}

async function takeContent(context: VolumeContext): Promise<void> {
  const { contentId } = await snapshotOf(context);
  await context.host.driver.ensureSnapshot({ id: contentId, volumeId: context.volume.id }, (path) => copyByGuest(context, path));
}

/** As long as a copy of a whole disk may take. */
const copyMs = 3_600_000;
/** They hold the compute host's hands while they last. */
const copies = createGate(4);

async function copyByGuest({ host, volume, requestId }: VolumeContext, path: string): Promise<boolean> {
  const attachment = await attachmentOf(host.db, volume.id);
  const instance = attachment === undefined || attachment.released ? undefined : await loadInstance(host.db, attachment.instanceId);
  if (instance === undefined || instance.host !== host.name) throw new DriverError('busy', `${volume.id} is being attached or taken off`);
  const body = { instanceId: instance.id, volumeId: volume.id, path };
  // In no order with what else the instance is told: that does not wait for it.
  const options = { timeoutMs: copyMs, requestId, orderKey: volume.id };
  return (await copies.pass(() => host.transport.ask({ role: 'compute', host: host.name }, computeProtocol, 'copyVolume', body, options))).copied;
}

async function dropContent({ host, input }: VolumeContext): Promise<void> {
  const snapshot = await loadSnapshot(host.db, String(input['snapshotId']));
  if (snapshot !== undefined) await host.driver.ensureSnapshotAbsent(snapshot.contentId);
}

async function report(context: VolumeContext): Promise<void> {
  const { host, input } = context;
  if (!(await publishSnapshot(host.db, String(input['snapshotId']), host.clock.date()))) throw new Error('the snapshot was given up');
}

function unreport({ host, input }: VolumeContext): Promise<void> {
  return withdrawSnapshot(host.db, String(input['snapshotId']));
}

export const deleteSnapshot: Flow<SnapshotContext> = {
  name: 'snapshot.delete',
  steps: [
    { name: 'content', do: removeContent },
    { name: 'report', do: ({ host, snapshot }) => endSnapshot(host.db, snapshot.id) },
  ],
};

async function removeContent({ host, snapshot }: SnapshotContext): Promise<void> {
  if (!(await othersWithContent(host.db, snapshot))) await host.driver.ensureSnapshotAbsent(snapshot.contentId);
}
