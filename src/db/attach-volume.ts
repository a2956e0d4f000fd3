// How a volume comes to an instance and leaves it, as clients wish it: rows of both are held, so that of any number of wishes one is granted.
import { and, asc, eq, inArray, notExists, sql } from 'drizzle-orm';
import { attachmentOf, freeTarget, newAttachment, type Attachment } from './attachments.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { lockInstances, type InstanceRow } from './instances.ts';
import { insertOperation } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { volumeAttachments, volumes } from './schema/volumes.ts';
import { findVolumeHost } from './volume-hosts.ts';
import type { Volume } from './volume-work.ts';
import { attachmentsOf, lockOwned, type VolumeWish } from './volumes.ts';

export interface AttachWish extends VolumeWish {
  readonly instanceId: string;
  readonly device: string;
}

export type AttachRefusal =
  | { readonly refused: 'noInstance' | 'noVolume' | 'inUse' | 'deviceUsed' | 'full' }
  | { readonly refused: 'instanceState'; readonly instance: InstanceRow }
  | { readonly refused: 'volumeState'; readonly state: Volume['state'] }
  | { readonly refused: 'zone'; readonly volume: Volume; readonly instance: InstanceRow }
  | { readonly refused: 'elsewhere'; readonly host: string }
  | { readonly refused: 'noDisks'; readonly hypervisor: string };

/** Takes the volume for the instance: of any number that wish it at once, one has it. */
export function attachVolume(db: Db, wish: AttachWish, now: Date): Promise<Attachment | AttachRefusal> {
  return db.transaction(async (tx): Promise<Attachment | AttachRefusal> => {
    const [instance] = await lockInstances(tx, wish.projectId, [wish.instanceId]);
    if (instance === undefined || instance.state === 'terminated') return { refused: 'noInstance' };
    const volume = await lockOwned(tx, wish);
    if (volume === undefined) return { refused: 'noVolume' };
    const refusal = await refusalToAttach(tx, instance, volume);
    if (refusal !== undefined) return refusal;
    const there = await attachmentsOf(tx, [instance.id]);
    const isRoot = wish.device === instance.rootDeviceName;
    if (there.some(({ device }) => device === wish.device) || (isRoot && !instance.bootsFromVolume)) return { refused: 'deviceUsed' };
    const target = isRoot ? 'vda' : freeTarget(there);
    if (target === undefined) return { refused: 'full' };
    const attachment = newAttachment({ volumeId: volume.id, instanceId: instance.id, device: wish.device, target }, now);
    await tx.insert(volumeAttachments).values(attachment);
    await tx.update(volumes).set({ state: 'in-use', stateReason: null, stateChangedAt: now }).where(eq(volumes.id, volume.id));
    const { projectId, userId, requestId, deadline } = wish;
    await insertOperation(tx, {
      projectId, userId, requestId, deadline, kind: 'instance.attachVolume', resourceId: instance.id, owner: `compute@${instance.host}`,
      input: { volumeId: volume.id, attachmentId: attachment.id },
    }, now);
    return attachment;
  });
}

async function refusalToAttach(tx: Tx, instance: InstanceRow, volume: Volume): Promise<AttachRefusal | undefined> {
  if ((instance.state !== 'running' && instance.state !== 'stopped') || instance.host === null || instance.hostLost) {
    return { refused: 'instanceState', instance };
  }
  if (volume.state === 'in-use') return { refused: 'inUse' };
  if (volume.state !== 'available') return { refused: 'volumeState', state: volume.state };
  if (volume.zone !== instance.zone) return { refused: 'zone', volume, instance };
  const keeper = volume.host === null ? undefined : await findVolumeHost(tx, volume.host);
  if (keeper !== undefined && !keeper.isRemote && keeper.name !== instance.host) return { refused: 'elsewhere', host: keeper.name };
  const [host] = await tx.select({ hypervisor: hosts.hypervisor }).from(hosts).where(eq(hosts.name, instance.host));
  return host?.hypervisor === 'lxc' ? { refused: 'noDisks', hypervisor: 'lxc' } : undefined;
}

export interface DetachWish extends VolumeWish {
  /** What the client says it is attached to, if it says. */
  readonly instanceId: string | undefined;
  readonly device: string | undefined;
  readonly force: boolean;
}

export type DetachRefusal =
  | { readonly refused: 'noVolume' | 'notAttached' | 'otherwise' }
  | { readonly refused: 'state'; readonly state: string }
  | { readonly refused: 'rootDevice' };

/** Wishes that its guest gives it back. Repeated while that goes on, by force, it is wished again. */
export async function detachVolume(db: Db, wish: DetachWish, now: Date): Promise<Attachment | DetachRefusal> {
  const seen = await attachmentOf(db, wish.volumeId);
  return db.transaction(async (tx): Promise<Attachment | DetachRefusal> => {
    const [instance] = await lockInstances(tx, wish.projectId, [seen?.instanceId ?? '']);
    const volume = await lockOwned(tx, wish);
    if (volume === undefined) return { refused: 'noVolume' };
    const attachment = await attachmentOf(tx, volume.id);
    if (attachment === undefined || instance === undefined || attachment.id !== seen?.id) return { refused: 'notAttached' };
    if ((wish.instanceId ?? instance.id) !== instance.id || (wish.device ?? attachment.device) !== attachment.device) return { refused: 'otherwise' };
    if (attachment.released) return attachment;
    if (attachment.state === 'attaching' || (attachment.state === 'detaching' && !wish.force)) return { refused: 'state', state: attachment.state };
    if (attachment.target === 'vda' && instance.state !== 'stopped') return { refused: 'rootDevice' };
    await tx.update(volumeAttachments).set({ state: 'detaching' }).where(eq(volumeAttachments.id, attachment.id));
    const { projectId, userId, requestId, deadline } = wish;
    await insertOperation(tx, {
      projectId, userId, requestId, deadline, kind: 'instance.detachVolume', resourceId: instance.id, owner: `compute@${instance.host ?? ''}`,
      input: { volumeId: volume.id, attachmentId: attachment.id, force: wish.force },
    }, now);
    return { ...attachment, state: 'detaching' };
  });
}

export interface AttachmentChange {
  readonly projectId: string;
  readonly instanceId: string;
  readonly device: string;
  readonly deleteOnTermination: boolean;
}

/** False: nothing is attached there. */
export async function changeAttachment(db: Queryable, { instanceId, device, deleteOnTermination }: AttachmentChange): Promise<boolean> {
  const rows = await db.update(volumeAttachments).set({ deleteOnTermination })
    .where(and(eq(volumeAttachments.instanceId, instanceId), eq(volumeAttachments.device, device))).returning({ id: volumeAttachments.id });
  return rows.length > 0;
}

/** Which of these instances of the project have no volume to boot from any more, though they need one. */
export async function rootless(db: Queryable, projectId: string, instanceIds: readonly string[]): Promise<{ id: string; rootDeviceName: string }[]> {
  const root = db.select({ one: sql`1` }).from(volumeAttachments)
    .where(and(eq(volumeAttachments.instanceId, instances.id), eq(volumeAttachments.target, 'vda'), eq(volumeAttachments.released, false)));
  return db.select({ id: instances.id, rootDeviceName: instances.rootDeviceName }).from(instances)
    .where(and(eq(instances.projectId, projectId), inArray(instances.id, [...instanceIds]), eq(instances.bootsFromVolume, true), notExists(root)))
    .orderBy(asc(instances.id));
}
