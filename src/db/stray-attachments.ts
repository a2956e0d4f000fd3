// Attachments on their way that nobody brings there any more: the host of their instance is down, or the wish has ended without them. A volume is
// not kept by a host that is lost: it is taken back by its own, which serves it to that one no longer, and is free then.
import { and, eq, inArray, isNotNull, ne, notExists, or, sql } from 'drizzle-orm';
import { newRequestId } from '../lib/ids.ts';
import { releaseAttachment, revertAttachment, type Attachment } from './attachments.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { finishOperation, unfinished, unfinishedOperations, type Operation } from './operations.ts';
import { hosts } from './schema/hosts.ts';
import { instances } from './schema/instances.ts';
import { operations } from './schema/operations.ts';
import { volumeAttachments } from './schema/volumes.ts';
import { noteVolumeReason } from './volume-work.ts';

export interface StrayAttachment extends Attachment {
  readonly host: string | null;
  /** Of that host; null while it is heard. */
  readonly downSince: Date | null;
}

/** All of them, or the one with that id if it is one. */
export async function strayAttachments(db: Queryable, id?: string): Promise<StrayAttachment[]> {
  const works = db.select({ one: sql`1` }).from(operations)
    .where(and(eq(operations.resourceId, instances.id), inArray(operations.state, [...unfinished])));
  const rows = await db.select({ attachment: volumeAttachments, host: instances.host, downSince: hosts.downSince }).from(volumeAttachments)
    .innerJoin(instances, eq(instances.id, volumeAttachments.instanceId))
    .leftJoin(hosts, eq(hosts.name, instances.host))
    .where(and(
      id === undefined ? undefined : eq(volumeAttachments.id, id), ne(volumeAttachments.state, 'attached'), eq(volumeAttachments.released, false),
      inArray(instances.state, ['running', 'stopped']), or(isNotNull(hosts.downSince), notExists(works)),
    ));
  return rows.map(({ attachment, ...of }) => ({ ...attachment, ...of }));
}

/** Ends what was wished of it: it is released, or, where a living host did not detach it, attached as before. False: it is none any more. */
export function settleStray(db: Db, seen: StrayAttachment, now: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    await tx.select({ id: instances.id }).from(instances).where(eq(instances.id, seen.instanceId)).for('update');
    const [stray] = await strayAttachments(tx, seen.id);
    if (stray === undefined) return false;
    const why = stray.downSince === null ? 'the wish has ended' : `host ${stray.host} has not been heard of since ${stray.downSince.toISOString()}`;
    for (const work of await unfinishedOperations(tx, stray.instanceId)) {
      if (attachmentOfWork(work) === stray.id) await finishOperation(tx, work.id, { state: 'failed', error: why }, now);
    }
    if (stray.state === 'detaching' && stray.downSince === null) {
      await revertAttachment(tx, stray.id, 'attached');
      await noteVolumeReason(tx, stray.volumeId, `it could not be detached: ${why}`);
    } else {
      await releaseAbandoned(tx, stray, why, now);
    }
    return true;
  });
}

/** Of an operation that attaches or detaches. */
export function attachmentOfWork({ kind, input }: Pick<Operation, 'kind' | 'input'>): string | undefined {
  const isOne = kind === 'instance.attachVolume' || kind === 'instance.detachVolume';
  return isOne && typeof input['attachmentId'] === 'string' ? input['attachmentId'] : undefined;
}

/** Nobody attaches or detaches it any more: its own host takes it back. */
export function releaseAbandoned(tx: Tx, attachment: Pick<Attachment, 'id' | 'volumeId' | 'state'>, why: string, now: Date): Promise<void> {
  const reason = attachment.state === 'attaching' ? `it could not be attached: ${why}` : `its instance did not give it back: ${why}`;
  return releaseAttachment(tx, attachment, { requestId: newRequestId(), deletes: false, reason }, now);
}
