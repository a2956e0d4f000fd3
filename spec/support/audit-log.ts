// The audit log of a spec: the product's writer over an actor system of its own, and what it has written, in the order of writing.
import { asc, gt } from 'drizzle-orm';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { startAuditWriter, type AuditWriter } from '../../src/actors/audit/writer.ts';
import type { AuditRow, AuditTrail } from '../../src/db/audit.ts';
import type { Db } from '../../src/db/db.ts';
import { auditRecords } from '../../src/db/schema/audit.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { newId } from '../../src/lib/ids.ts';
import { silentLog, type Log } from '../../src/lib/log.ts';

export interface AuditLog {
  /** For the worlds of a spec, which have a database each. */
  readonly trailOf: (db: Db) => AuditTrail;
  /** What was written since the last look, in all of them. */
  news(): Promise<AuditRow[]>;
  close(): Promise<void>;
}

interface Kept {
  readonly db: Db;
  readonly writer: AuditWriter;
  readonly stop: () => Promise<void>;
  seen: number;
}

export function createAuditLog({ log = silentLog }: { log?: Log } = {}): AuditLog {
  const kept: Kept[] = [];
  return {
    trailOf(db) {
      const system = createActorSystem({ name: newId('op'), clock: systemClock, log, onFatal: (error) => { throw error; } });
      const writer = startAuditWriter({ db, clock: systemClock, log, system, hasObjects: true });
      kept.push({ db, writer, seen: 0, stop: () => system.stop(5_000) });
      return writer;
    },
    async news() {
      const found: AuditRow[] = [];
      for (const one of kept) {
        await one.writer.flush();
        const rows = await one.db.select().from(auditRecords).where(gt(auditRecords.id, one.seen)).orderBy(asc(auditRecords.id));
        one.seen = rows.at(-1)?.id ?? one.seen;
        found.push(...rows);
      }
      return found;
    },
    async close() {
      for (const { stop } of kept) await stop();
    },
  };
}
