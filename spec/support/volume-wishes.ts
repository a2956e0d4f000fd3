// What clients wish of volumes, written as the API writes it, in a simulated cloud.
import { eq } from 'drizzle-orm';
import { attachVolume, detachVolume, type AttachRefusal } from '../../src/db/attach-volume.ts';
import type { Attachment } from '../../src/db/attachments.ts';
import { createVolume, deleteVolume, modifyVolume } from '../../src/db/volumes.ts';
import { createSnapshot } from '../../src/db/snapshots.ts';
import { snapshots, volumeAttachments, volumes } from '../../src/db/schema/all.ts';
import { newId } from '../../src/lib/ids.ts';
import type { SimCloud } from './sim-cloud.ts';
import { waitFor } from './patience.ts';

const quota = { volumes: 1_000, gigabytes: 100_000 };
const deadline = () => new Date(Date.now() + 60_000);
const by = (cloud: SimCloud) => ({ projectId: cloud.projectId, userId: 'u', requestId: 'wish', deadline: deadline() });

export async function wishVolume(cloud: SimCloud, changes: Partial<typeof volumes.$inferInsert> = {}): Promise<string> {
  const id = newId('vol');
  const now = new Date();
  const row = {
    id, projectId: cloud.projectId, userId: 'u', sizeGiB: 1, type: 'gp2', zone: 'nova', state: 'creating' as const, stateChangedAt: now,
    stateDeadline: deadline(), createdAt: now, ...changes,
  };
  const created = await createVolume(cloud.database.db, { row, tags: [], quota, operation: { requestId: 'wish', deadline: deadline() } });
  if (created.outcome !== 'created') throw new Error(created.outcome);
  cloud.relay.kick();
  return id;
}

export async function wishAttach(
  cloud: SimCloud, volumeId: string, at: { instanceId: string; device: string },
): Promise<Attachment | AttachRefusal> {
  const result = await attachVolume(cloud.database.db, { ...by(cloud), volumeId, ...at }, new Date());
  cloud.relay.kick();
  return result;
}

export async function wishDetach(cloud: SimCloud, volumeId: string, force = false): Promise<void> {
  const result = await detachVolume(cloud.database.db, { ...by(cloud), volumeId, instanceId: undefined, device: undefined, force }, new Date());
  if ('refused' in result) throw new Error(result.refused);
  cloud.relay.kick();
}

export async function wishDelete(cloud: SimCloud, volumeId: string): Promise<void> {
  const result = await deleteVolume(cloud.database.db, { ...by(cloud), volumeId }, new Date());
  if (result !== 'deleting') throw new Error(JSON.stringify(result));
  cloud.relay.kick();
}

export async function wishGrowth(cloud: SimCloud, volumeId: string, sizeGiB: number): Promise<void> {
  const result = await modifyVolume(cloud.database.db, { ...by(cloud), volumeId, sizeGiB, type: undefined, quota }, new Date());
  if ('refused' in result) throw new Error(result.refused);
  cloud.relay.kick();
}

export async function wishSnapshot(cloud: SimCloud, volumeId: string): Promise<string> {
  const id = newId('snap');
  const result = await createSnapshot(cloud.database.db, { ...by(cloud), volumeId, id, description: '', tags: [], quota: 1_000 }, new Date());
  if ('refused' in result) throw new Error(result.refused);
  cloud.relay.kick();
  return id;
}

export async function volumeOf(cloud: SimCloud, id: string): Promise<typeof volumes.$inferSelect | undefined> {
  const [row] = await cloud.database.db.select().from(volumes).where(eq(volumes.id, id));
  return row;
}

export async function attachmentFor(cloud: SimCloud, volumeId: string): Promise<Attachment | undefined> {
  const [row] = await cloud.database.db.select().from(volumeAttachments).where(eq(volumeAttachments.volumeId, volumeId));
  return row;
}

export async function untilVolume(cloud: SimCloud, id: string, state: string): Promise<void> {
  await waitFor(`${id} is ${state}`, { timeoutMs: 20_000 }, async () => {
    const row = await volumeOf(cloud, id);
    if (row?.state === state) return true;
    throw new Error(`it is ${row?.state}: ${row?.stateReason}`);
  });
}

export async function untilAttached(cloud: SimCloud, id: string): Promise<void> {
  await waitFor(`${id} is attached`, { timeoutMs: 20_000 }, async () => ((await attachmentFor(cloud, id))?.state === 'attached' ? true : undefined));
}

export async function untilSnapshot(cloud: SimCloud, id: string, state: string): Promise<void> {
  await waitFor(`${id} is ${state}`, { timeoutMs: 20_000 }, async () => {
    const [row] = await cloud.database.db.select().from(snapshots).where(eq(snapshots.id, id));
    return row?.state === state ? true : undefined;
  });
}
