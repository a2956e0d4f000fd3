// The writer of the audit log of a process: what its edges record goes to the database in batches, one at a time. Changes of the cloud's resources are
// waited for by whoever makes them; objects are many, and are written a moment later. What cannot be written is kept for a while, within
// bounds, and what is lost is counted and logged. docs/decisions/0026-audit-log.md.
import { insertAuditRecords, type AuditRecord, type AuditTrail } from '../../db/audit.ts';
import type { Db } from '../../db/db.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import { backOffMs } from '../../lib/retry.ts';
import { ActorError, type ActorContext, type ActorDefinition, type ActorSystem, type ReplyTo } from '../runtime/actor.ts';

export interface AuditWriterDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  readonly system: ActorSystem;
  /** Are changes of objects recorded? */
  readonly hasObjects: boolean;
  /** Records that wait in this process; beyond it they are lost. Default 10 000. */
  readonly waitingMax?: number;
}

/** Why a record is not in the log: no room to wait in; no database for too long; a stranger's, of too many; at the end of the process. */
export type Loss = 'full' | 'late' | 'flood' | 'ended';

export interface AuditFigures {
  readonly written: number;
  readonly waiting: number;
  readonly lost: Readonly<Record<Loss, number>>;
}

export interface AuditWriter extends AuditTrail {
  /** What waits is written, or tried to be: before the process ends. */
  flush(): Promise<void>;
  figures(): AuditFigures;
}

const waitingMaxDefault = 10_000;
/** Rows of one statement. */
const batchMax = 500;
/** Of what nobody waits for. */
const delayMs = 200;
/** A client's wait for its record, at most. */
const answerMs = 2_000;
/** A database that is away for longer loses records. */
const keptMs = 60_000;
const backOff = { firstDelayMs: 250, delayMsMax: 5_000 };
const strangersMs = 60_000;
/** Refusals of those who proved nothing, in each such time: they must not fill the log. */
const strangersMax = 300;

type Reply = ReplyTo<null>;
type Message = { readonly type: 'record'; readonly record: AuditRecord; readonly replyTo?: Reply } | { readonly type: 'write' }
  | { readonly type: 'flush'; readonly replyTo: Reply };

interface Waiting {
  readonly record: AuditRecord;
  readonly replyTo: Reply | undefined;
}

/** Starts the writer of this process as the actor `audit` of its system. */
export function startAuditWriter(deps: AuditWriterDeps): AuditWriter {
  const work = new AuditWork(deps);
  const ref = deps.system.spawn(writer, 'audit', work);
  const strangers = new StrangersLimit(deps);
  const send = async (record: AuditRecord): Promise<void> => {
    const isWaitedFor = record.kind === 'control' && record.outcome === 'done';
    try {
      if (!isWaitedFor) deps.system.tell(ref, { type: 'record', record });
      else await deps.system.ask<Message, null>(ref, (replyTo) => ({ type: 'record', record, replyTo }), { timeoutMs: answerMs });
    } catch (error) {
      if (!(error instanceof ActorError)) throw error;
      // A timeout is only the end of the client's wait.
      if (error.kind !== 'timeout') work.lose([record], error.kind === 'mailboxFull' ? 'full' : 'ended');
    }
  };
  return {
    async record(record) {
      if (record.kind === 'data' && !deps.hasObjects) return;
      if (!record.isProven && record.outcome !== 'done' && !strangers.admit()) return work.lose([record], 'flood');
      await send(record);
    },
    async flush() {
      try {
        await deps.system.ask<Message, null>(ref, (replyTo) => ({ type: 'flush', replyTo }), { timeoutMs: answerMs });
      } catch (error) {
        deps.log.warn({ error: messageOf(error) }, 'the audit log is not written to its end');
      }
    },
    figures: () => work.figures(),
  };
}

/** So many in each time; that it bites is logged once in each. */
class StrangersLimit {
  readonly #deps: Pick<AuditWriterDeps, 'clock' | 'log'>;
  #since = 0;
  #count = 0;

  constructor(deps: Pick<AuditWriterDeps, 'clock' | 'log'>) {
    this.#deps = deps;
  }

  admit(): boolean {
    const now = this.#deps.clock.now();
    if (now - this.#since >= strangersMs) [this.#since, this.#count] = [now, 0];
    this.#count += 1;
    if (this.#count === strangersMax + 1) this.#deps.log.warn({ strangersMax }, 'so many strangers are refused that the audit log does not have all of them');
    return this.#count <= strangersMax;
  }
}

const writer: ActorDefinition<AuditWork, Message, AuditWork> = {
  kind: 'audit',
  mailboxMax: waitingMaxDefault,
  init: (_context, work) => work,
  async handle(work, message, context) {
    if (message.type === 'record') work.add(message, context);
    else await work.write();
    if (message.type === 'flush') message.replyTo.answer(null);
    work.askAgain(context);
  },
  onError: () => 'resume',
  onStop: (work) => work.end(),
};

class AuditWork {
  readonly #deps: AuditWriterDeps;
  readonly #lost: Record<Loss, number> = { full: 0, late: 0, flood: 0, ended: 0 };
  #waiting: Waiting[] = [];
  #written = 0;
  #failures = 0;
  /** The write that is to come, and whether somebody waits for it. */
  #asked: { readonly isUrgent: boolean; cancel(): void } | undefined;

  constructor(deps: AuditWriterDeps) {
    this.#deps = deps;
  }

  figures(): AuditFigures {
    return { written: this.#written, waiting: this.#waiting.length, lost: { ...this.#lost } };
  }

  add({ record, replyTo }: { readonly record: AuditRecord; readonly replyTo?: Reply }, context: ActorContext<Message>): void {
    if (this.#waiting.length >= (this.#deps.waitingMax ?? waitingMaxDefault)) {
      this.lose([record], 'full');
      replyTo?.answer(null);
      return;
    }
    this.#waiting.push({ record, replyTo });
    const isTried = this.#failures === 0 || this.#waiting.length === 1;
    const isUrgent = isTried && (replyTo !== undefined || this.#waiting.length >= batchMax);
    if (!isUrgent || this.#asked?.isUrgent === true) return;
    this.#asked?.cancel();
    this.#asked = undefined;
    this.#ask(context, 0, true);
  }

  /** As long as there is something to write, a write is to come. */
  askAgain(context: ActorContext<Message>): void {
    if (this.#waiting.length === 0 || this.#asked !== undefined) return;
    if (this.#failures > 0) this.#ask(context, backOffMs(this.#failures, backOff), false);
    else this.#ask(context, this.#waiting.length >= batchMax ? 0 : delayMs, this.#waiting.length >= batchMax);
  }

  #ask(context: ActorContext<Message>, afterMs: number, isUrgent: boolean): void {
    const timer = context.after(afterMs, { type: 'write' });
    this.#asked = { isUrgent, cancel: () => timer.cancel() };
  }

  /** The oldest of what waits. */
  async write(): Promise<void> {
    this.#asked?.cancel();
    this.#asked = undefined;
    const batch = this.#waiting.slice(0, batchMax);
    if (batch.length === 0) return;
    const { db, log } = this.#deps;
    try {
      await insertAuditRecords(db, batch.map(({ record }) => record));
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === 1) log.warn({ error: causeOf(error), waiting: this.#waiting.length }, 'the audit log cannot be written; it is tried again');
      this.#dropLate();
      return;
    }
    if (this.#failures > 0) log.info({ failures: this.#failures }, 'the audit log is written again');
    this.#failures = 0;
    this.#written += batch.length;
    this.#waiting = this.#waiting.slice(batch.length);
    for (const { replyTo } of batch) replyTo?.answer(null);
  }

  #dropLate(): void {
    const before = this.#deps.clock.now() - keptMs;
    const late = this.#waiting.filter(({ record }) => record.at.getTime() < before);
    if (late.length === 0) return;
    this.#waiting = this.#waiting.filter(({ record }) => record.at.getTime() >= before);
    for (const { replyTo } of late) replyTo?.answer(null);
    this.lose(late.map(({ record }) => record), 'late');
  }

  /** Of the cloud's own resources each is in the log of the process then; of objects, how many. */
  lose(records: readonly AuditRecord[], why: Loss): void {
    this.#lost[why] += records.length;
    if (why === 'flood') return; // Said once in each minute.
    for (const record of records) if (record.kind === 'control') this.#deps.log.error({ why, record }, 'not in the audit log');
    const objects = records.filter(({ kind }) => kind === 'data').length;
    if (objects > 0) this.#deps.log.error({ why, objects }, 'changes of objects, or refusals of strangers, are not in the audit log');
  }

  end(): void {
    this.lose(this.#waiting.splice(0).map(({ record }) => record), 'ended');
  }
}

/** A failed query's message has its parameters. */
const causeOf = (error: unknown): string => messageOf(error instanceof Error && 'query' in error ? (error.cause ?? 'a query failed') : error);
