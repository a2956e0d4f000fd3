// Removes what of the audit log is too old or too much, a little at a time. Each scheduler does it; what one has removed, the others do not find.
import { rotateAuditRecords } from '../../db/audit.ts';
import type { Db } from '../../db/db.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { ActorDefinition } from '../runtime/actor.ts';

export interface AuditRotation {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly days: number;
  /** Of the cloud's resources. */
  readonly rowsMax: number;
  /** Of objects, and of strangers. */
  readonly objectRowsMax: number;
  readonly intervalMs: number;
}

const dayMs = 86_400_000;
/** Statements that are over before anybody waits for them, and of ten minutes as many rows as come with 800 puts a second. */
const [batch, batchesMax] = [2_000, 250];

export async function rotateAudit({ db, clock, log, days, rowsMax, objectRowsMax }: Omit<AuditRotation, 'intervalMs'>): Promise<void> {
  const removed = await rotateAuditRecords(db, {
    olderThan: new Date(clock.now() - days * dayMs), rowsMax: { control: rowsMax, data: objectRowsMax }, batch, batchesMax,
  });
  if (removed > 0) log.debug({ removed }, 'records of the audit log were removed: too old, or too many');
}

export const auditRotator: ActorDefinition<AuditRotation, { readonly type: 'rotate' }, AuditRotation> = {
  kind: 'sweeper',
  init(context, rotation) {
    context.every(rotation.intervalMs, { type: 'rotate' });
    return rotation;
  },
  handle: (rotation) => rotateAudit(rotation),
  onError: () => 'resume',
};
