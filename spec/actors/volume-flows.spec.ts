// Every flow of volumes against the generic proof: each step made to fail, killed at, and repeated, in a world of fakes over the real database.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe } from 'vitest';
import { attachVolume } from '../../src/actors/compute/flows/attach-volume.ts';
import { detachVolume } from '../../src/actors/compute/flows/detach-volume.ts';
import type { InstanceContext } from '../../src/actors/compute/flows/instance-context.ts';
import { runInstance } from '../../src/actors/compute/flows/run-instance.ts';
import { settleExports } from '../../src/actors/volume/exports.ts';
import { createVolume } from '../../src/actors/volume/flows/create-volume.ts';
import { deleteVolume } from '../../src/actors/volume/flows/delete-volume.ts';
import { modifyVolume } from '../../src/actors/volume/flows/modify-volume.ts';
import { releaseVolume } from '../../src/actors/volume/flows/release-volume.ts';
import { deleteSnapshot, snapshotVolume } from '../../src/actors/volume/flows/snapshots.ts';
import type { SnapshotContext, VolumeContext } from '../../src/actors/volume/flows/volume-context.ts';
import { releaseAttachment } from '../../src/db/attachments.ts';
import { claimOfRow, loadInstance } from '../../src/db/instance-work.ts';
import { unfinishedOperations } from '../../src/db/operations.ts';
import { placeInstances } from '../../src/db/placement.ts';
import { operations, snapshots, volumes } from '../../src/db/schema/all.ts';
import { loadSnapshot } from '../../src/db/snapshot-work.ts';
import { placeVolume } from '../../src/db/volume-hosts.ts';
import { loadVolume } from '../../src/db/volume-work.ts';
import { runFlow } from '../../src/lib/flow.ts';
import { checkFlow, memoryJournal, type World } from '../support/flow-check.ts';
import { createSimCloud, startVolumes, type SimCloud } from '../support/sim-cloud.ts';
import { attachmentFor, wishAttach, wishDetach, wishGrowth, wishSnapshot, wishVolume } from '../support/volume-wishes.ts';

let cloud: SimCloud;
beforeAll(async () => {
  // Its own sweeper would do the wishes of the volumes that the flows here are tried on: it comes too late.
  const limits = { reconcileIntervalMs: 3_600_000, sweepIntervalMs: 3_600_000 };
  cloud = await createSimCloud({ start: false, cores: 1_000, memoryMiB: 2 ** 30, volumesGiB: 100_000, volumeLimits: limits });
  // It serves what compute asks for; what it is told to do lies in the outbox, which nobody empties.
  await startVolumes(hostOf().volume);
});
afterAll(() => cloud.close());

const never = new AbortController().signal;

function hostOf() {
  const [host] = cloud.hosts;
  if (host === undefined) throw new Error('the spec has no host');
  return host;
}

/** What is known of a volume at its host, in the database and in the guest, without what is new every time. */
async function snapshotOf(volumeId: string, instanceId?: string): Promise<unknown> {
  const { db } = cloud.database;
  const { volumes: world, compute } = hostOf();
  const row = await loadVolume(db, volumeId);
  const attachment = await attachmentFor(cloud, volumeId);
  const kept = await db.select().from(snapshots).where(eq(snapshots.volumeId, volumeId)).orderBy(snapshots.id);
  const wishes = await db.select().from(operations).where(eq(operations.resourceId, volumeId)).orderBy(operations.createdAt, operations.kind);
  const disks = instanceId === undefined ? [] : await compute.hypervisor.disks(instanceId);
  return {
    state: row?.state, sizeGiB: row?.sizeGiB, attachment: attachment?.state, released: attachment?.released,
    stored: world.volumes.get(volumeId)?.sizeBytes,
    served: attachment?.released === true ? [] : [...world.exports.values()].flatMap(({ spec, sizeBytes }) => (spec.volumeId === volumeId ? [sizeBytes] : [])),
    snapshots: kept.map(({ state, contentId }) => [state, world.snapshots.has(contentId)]), wishes: wishes.map(({ kind }) => kind),
    disks: disks.map(({ target, isPlugged, isDefined }) => [target, isPlugged, isDefined]),
  };
}

/** A volume that was placed on the one host. */
async function placed(): Promise<VolumeContext> {
  const { db } = cloud.database;
  const id = await wishVolume(cloud);
  const [operation] = await unfinishedOperations(db, id);
  await placeVolume(db, { volumeId: id, operationId: operation?.id ?? '', host: hostOf().name }, new Date());
  return contextOf(id);
}

async function contextOf(id: string, input: Record<string, unknown> = {}): Promise<VolumeContext> {
  const host = hostOf().volume;
  const volume = await loadVolume(cloud.database.db, id);
  if (volume === undefined) throw new Error('the volume vanished');
  return { host, volume, requestId: 'spec', input, settle: (volumeId) => settleExports(host, volumeId) };
}

async function available(): Promise<string> {
  const context = await placed();
  await runFlow(createVolume, context, memoryJournal());
  return context.volume.id;
}

const world = (context: VolumeContext): World<VolumeContext> => (
  { context, snapshot: () => snapshotOf(context.volume.id), close: async () => undefined }
);

async function deleting(): Promise<VolumeContext> {
  const id = await available();
  await cloud.database.db.update(volumes).set({ state: 'deleting' }).where(eq(volumes.id, id));
  return contextOf(id);
}

async function growing(): Promise<VolumeContext> {
  const id = await available();
  await wishGrowth(cloud, id, 2);
  return contextOf(id, { sizeGiB: 2 });
}

async function snapshotted(): Promise<VolumeContext> {
  const id = await available();
  return contextOf(id, { snapshotId: await wishSnapshot(cloud, id) });
}

async function snapshotGoing(): Promise<World<SnapshotContext>> {
  const context = await snapshotted();
  await runFlow(snapshotVolume, context, memoryJournal());
  const snapshot = await loadSnapshot(cloud.database.db, String(context.input['snapshotId']));
  if (snapshot === undefined) throw new Error('the snapshot vanished');
  return { context: { host: context.host, snapshot }, snapshot: () => snapshotOf(context.volume.id), close: async () => undefined };
}

async function running(): Promise<InstanceContext> {
  const { db } = cloud.database;
  const { compute } = hostOf();
  const [id = ''] = await cloud.launch(1);
  const [row, [operation]] = [await loadInstance(db, id), await unfinishedOperations(db, id)];
  if (row === undefined || operation === undefined) throw new Error('the spec has no instance');
  await placeInstances(db, [{ instanceId: id, operationId: operation.id, host: compute.name, claim: await claimOfRow(db, row) }],
    { cores: 1, memory: 1, disk: 1 }, new Date());
  const instance = (await loadInstance(db, id)) ?? row;
  const context = { host: compute, instance, operationId: operation.id, requestId: 'spec', input: {}, fetchImage: async (image: string) => `/images/${image}`,
    signal: never, hurry: never };
  await runFlow(runInstance, context, memoryJournal());
  return { ...context, instance: (await loadInstance(db, id)) ?? row };
}

async function attaching(): Promise<InstanceContext> {
  const context = await running();
  const volumeId = await available();
  const attachment = await wishAttach(cloud, volumeId, { instanceId: context.instance.id, device: '/dev/sdf' });
  if ('refused' in attachment) throw new Error(attachment.refused);
  return { ...context, input: { volumeId, attachmentId: attachment.id } };
}

async function detaching(): Promise<InstanceContext> {
  const context = await attaching();
  await runFlow(attachVolume, context, memoryJournal());
  await wishDetach(cloud, String(context.input['volumeId']));
  return context;
}

async function releasing(): Promise<VolumeContext> {
  const { input, instance } = await detaching();
  const [volumeId, attachmentId] = [String(input['volumeId']), String(input['attachmentId'])];
  await hostOf().compute.hypervisor.ensureStopped(instance.id);
  await releaseAttachment(cloud.database.db, { id: attachmentId, volumeId }, { requestId: 'spec', deletes: false }, new Date());
  return contextOf(volumeId, { attachmentId });
}

/** The state that a wish left is the flow's beginning: what is undone is seen against it, apart from an export that nobody uses. */
const guestWorld = (context: InstanceContext): World<InstanceContext> => {
  const volumeId = String(context.input['volumeId']);
  const look = async () => ({ ...((await snapshotOf(volumeId, context.instance.id)) as Record<string, unknown>), served: undefined });
  return { context, snapshot: look, close: async () => undefined };
};

describe('M3: volume.create', () => checkFlow(createVolume, async () => world(await placed())));
describe('M3: volume.delete', () => checkFlow(deleteVolume, async () => world(await deleting()), { undoable: false }));
describe('M3: volume.modify', () => checkFlow(modifyVolume, async () => world(await growing()), { undoable: false }));
describe('M3: volume.snapshot', () => checkFlow(snapshotVolume, async () => world(await snapshotted())));
describe('M3: volume.release', () => checkFlow(releaseVolume, async () => world(await releasing()), { undoable: false }));
describe('M3: snapshot.delete', () => checkFlow(deleteSnapshot, snapshotGoing, { undoable: false }));
describe('M3: instance.attachVolume', () => checkFlow(attachVolume, async () => guestWorld(await attaching())));
describe('M3: instance.detachVolume', () => checkFlow(detachVolume, async () => guestWorld(await detaching()), { undoable: false }));
