// What a volume is attached to, and what follows from it: to whom it is served. Rows are held in one order everywhere: instances, then volumes,
// then their hosts.
import { and, asc, eq, inArray, isNull, ne, sql } from 'drizzle-orm';
import { newId } from '../lib/ids.ts';
import type { WireConnection } from '../messages/volume.ts';
import { inTransaction, type Db, type Queryable, type Tx } from './db.ts';
import { finishOperation, insertOperation, unfinishedOperations } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { volumeAttachments, volumes } from './schema/volumes.ts';
import { createMs, endVolumeIn, lockVolume, type Volume } from './volume-work.ts';

export type Attachment = typeof volumeAttachments.$inferSelect;

export const newAttachment = (of: Pick<Attachment, 'volumeId' | 'instanceId' | 'device' | 'target'>, now: Date): Attachment => ({
  ...of, id: newId('vat'), state: 'attaching', released: false, connection: null, deleteOnTermination: false, attachedAt: now,
});

/** `vdb` … `vdz`: the root disk is `vda`. */
export function freeTarget(there: readonly Pick<Attachment, 'target'>[]): string | undefined {
  const used = new Set(there.map(({ target }) => target));
  return [...'bcdefghijklmnopqrstuvwxyz'].map((letter) => `vd${letter}`).find((target) => !used.has(target));
}

export async function attachmentOf(db: Queryable, volumeId: string): Promise<Attachment | undefined> {
  const [row] = await db.select().from(volumeAttachments).where(eq(volumeAttachments.volumeId, volumeId));
  return row;
}

export interface AttachedVolume {
  readonly attachment: Attachment;
  readonly volume: Volume;
}

/** What an instance has or is to have, in the order of the guest's devices. */
export async function volumesOfInstance(db: Queryable, instanceId: string): Promise<AttachedVolume[]> {
  return db.select({ attachment: volumeAttachments, volume: volumes }).from(volumeAttachments)
    .innerJoin(volumes, eq(volumes.id, volumeAttachments.volumeId))
    .where(and(eq(volumeAttachments.instanceId, instanceId), eq(volumeAttachments.released, false)))
    .orderBy(asc(volumeAttachments.target));
}

/** The attachment is there. False: it was released meanwhile. */
export async function confirmAttachment(db: Queryable, attachmentId: string): Promise<boolean> {
  const rows = await db.update(volumeAttachments).set({ state: 'attached' })
    .where(and(eq(volumeAttachments.id, attachmentId), eq(volumeAttachments.released, false))).returning({ id: volumeAttachments.id });
  return rows.length > 0;
}

/** The guest runs with all that it was to have. */
export async function confirmAttachments(db: Queryable, instanceId: string): Promise<void> {
  await db.update(volumeAttachments).set({ state: 'attached' })
    .where(and(eq(volumeAttachments.instanceId, instanceId), eq(volumeAttachments.state, 'attaching'), eq(volumeAttachments.released, false)));
}

/** It is as it was before that was tried. */
export async function revertAttachment(db: Queryable, attachmentId: string, state: 'attaching' | 'attached'): Promise<void> {
  await db.update(volumeAttachments).set({ state }).where(and(eq(volumeAttachments.id, attachmentId), eq(volumeAttachments.released, false)));
}

export interface Release {
  readonly requestId: string;
  /** It goes with the instance that it belonged to. */
  readonly deletes: boolean;
  /** Why it did not come to be attached. */
  readonly reason?: string;
}

/** A volume host may be away for long: nothing else than its return can take its exports back. */
const releaseMs = 30 * 24 * 3_600_000;

/**
 * No guest has it any more, and nothing may be exported for it from here on: its host is told to see to that, and only then is the volume free.
 * Repeating it changes nothing.
 */
export function releaseAttachment(db: Queryable, attachment: Pick<Attachment, 'id' | 'volumeId'>, release: Release, now: Date): Promise<void> {
  return inTransaction(db, async (tx) => {
    const row = await lockVolume(tx, attachment.volumeId);
    if (row === undefined) return;
    const changed = await tx.update(volumeAttachments).set({ released: true, state: 'detaching' })
      .where(and(eq(volumeAttachments.id, attachment.id), eq(volumeAttachments.released, false))).returning({ id: volumeAttachments.id });
    if (changed.length === 0) return;
    const { requestId, ...rest } = release;
    await insertOperation(tx, {
      ...wishFor(row), kind: 'volume.release', requestId, input: { attachmentId: attachment.id, ...rest }, deadline: new Date(now.getTime() + releaseMs),
    }, now);
  });
}

/** Nothing is exported for it: the volume is free, or goes with the instance that it belonged to. `reason`: why it did not come to be. */
export function endAttachment(
  db: Db, attachment: Pick<Attachment, 'id' | 'volumeId'>,
  ending: { readonly reason?: string; readonly deletes?: { requestId: string; deadline: Date } }, now: Date,
): Promise<void> {
  return db.transaction(async (tx) => {
    const row = await lockVolume(tx, attachment.volumeId);
    const gone = await tx.delete(volumeAttachments).where(eq(volumeAttachments.id, attachment.id)).returning({ id: volumeAttachments.id });
    if (row === undefined || gone.length === 0 || row.state === 'deleted') return;
    if (ending.deletes !== undefined) {
      await tx.update(volumes).set({ state: 'deleting', stateChangedAt: now, stateDeadline: ending.deletes.deadline }).where(eq(volumes.id, row.id));
      await insertOperation(tx, { ...wishFor(row), kind: 'volume.delete', ...ending.deletes }, now);
    } else if (row.state === 'in-use') {
      await tx.update(volumes).set({ state: 'available', stateChangedAt: now, stateReason: ending.reason ?? null }).where(eq(volumes.id, row.id));
    }
  });
}

const wishFor = (row: Volume) => ({ resourceId: row.id, projectId: row.projectId, userId: row.userId, owner: `volume@${row.host ?? ''}` });

/**
 * The instance has ended: what it had is taken off it by the volume hosts, and goes with it where that was wished. In the transaction that ends
 * the instance. What was never made ends here.
 */
export async function releaseVolumesOf(tx: Tx, ended: { instanceId: string; requestId: string }, now: Date): Promise<void> {
  const attached = await tx.select({ id: volumes.id }).from(volumeAttachments).innerJoin(volumes, eq(volumes.id, volumeAttachments.volumeId))
    .where(eq(volumeAttachments.instanceId, ended.instanceId)).orderBy(asc(volumes.id));
  for (const { id } of attached) {
    const row = await lockVolume(tx, id);
    const attachment = await attachmentOf(tx, id);
    if (row === undefined || attachment?.instanceId !== ended.instanceId) continue;
    if (row.host === null) await endNeverMade(tx, row, now);
    else await releaseAttachment(tx, attachment, { requestId: ended.requestId, deletes: attachment.deleteOnTermination }, now);
  }
}

/** The instance tries another host: what could be made by nobody near the last one may be near that. In the transaction that leaves the host. */
export async function tryVolumesAgain(tx: Tx, instanceId: string, now: Date): Promise<void> {
  const attached = tx.select({ id: volumeAttachments.volumeId }).from(volumeAttachments).where(eq(volumeAttachments.instanceId, instanceId));
  await tx.update(volumes).set({ state: 'creating', stateReason: null, stateChangedAt: now, stateDeadline: new Date(now.getTime() + createMs) })
    .where(and(inArray(volumes.id, attached), eq(volumes.state, 'error'), isNull(volumes.host), sql`jsonb_array_length(${volumes.failedHosts}) = 0`));
}

async function endNeverMade(tx: Tx, row: Volume, now: Date): Promise<void> {
  for (const operation of await unfinishedOperations(tx, row.id)) {
    await finishOperation(tx, operation.id, { state: 'failed', error: 'the instance has ended' }, now);
  }
  await endVolumeIn(tx, row.id, now);
}

// Exports

export interface ExportWish {
  readonly attachmentId: string;
  /** Hosts of the instance: two while it moves. */
  readonly initiators: readonly { readonly host: string; readonly address: string | null }[];
}

/** To whom a volume is to be served; undefined: to nobody. */
export async function wantedExport(db: Queryable, volume: { id: string; host: string }): Promise<ExportWish | undefined> {
  const [wish] = await wantedExports(db, volume.host, volume.id);
  return wish;
}

/** What a volume host is to serve. */
export async function wantedExports(db: Queryable, host: string, volumeId?: string): Promise<(ExportWish & { readonly volumeId: string })[]> {
  const rows = await db.select({ volumeId: volumes.id, attachmentId: volumeAttachments.id, host: hosts.name, address: hosts.address }).from(volumeAttachments)
    .innerJoin(volumes, eq(volumes.id, volumeAttachments.volumeId))
    .innerJoin(instances, eq(instances.id, volumeAttachments.instanceId))
    .innerJoin(hosts, sql`${hosts.name} in (${instances.host}, ${instances.migratingTo})`)
    .where(and(
      eq(volumes.host, host), volumeId === undefined ? undefined : eq(volumes.id, volumeId), eq(volumeAttachments.released, false),
      inArray(volumes.state, ['available', 'in-use']), ne(instances.state, 'terminated'),
    )).orderBy(asc(volumes.id), asc(hosts.name));
  const wishes = new Map<string, ExportWish & { volumeId: string }>();
  for (const row of rows) {
    const known = wishes.get(row.attachmentId)?.initiators ?? [];
    wishes.set(row.attachmentId, { volumeId: row.volumeId, attachmentId: row.attachmentId, initiators: [...known, { host: row.host, address: row.address }] });
  }
  return [...wishes.values()];
}

/** How the guest's host reaches it: kept for when it is to let go. */
export async function noteConnection(db: Queryable, attachmentId: string, connection: WireConnection): Promise<void> {
  await db.update(volumeAttachments).set({ connection }).where(eq(volumeAttachments.id, attachmentId));
}

