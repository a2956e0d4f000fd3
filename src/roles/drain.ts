// The gentle end of a process: first its servers take no new request and finish those in hand, then its mailboxes take no new message and
// finish likewise. What is not done by the deadline stays in the mailbox or the database, for others or for the next start.
import { messageOf } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';

/** `server`: answers requests with the help of mailboxes, so it ends before they do. */
export type DrainStage = 'server' | 'mailbox';

export interface Drain {
  add(stage: DrainStage, stop: (deadlineMs: number) => Promise<void>): void;
  /** Never rejects: an end goes on. */
  run(): Promise<void>;
}

/** Together with the actors' 20 s below the 60 s that `down` and the units wait. */
const deadlineMs: Readonly<Record<DrainStage, number>> = { server: 10_000, mailbox: 15_000 };

export function createDrain(log: Log): Drain {
  const stops: Record<DrainStage, ((deadlineMs: number) => Promise<void>)[]> = { server: [], mailbox: [] };
  return {
    add: (stage, stop) => void stops[stage].push(stop),
    async run() {
      for (const stage of ['server', 'mailbox'] as const) {
        const outcomes = await Promise.allSettled(stops[stage].splice(0).map((stop) => stop(deadlineMs[stage])));
        for (const outcome of outcomes) if (outcome.status === 'rejected') log.warn({ error: messageOf(outcome.reason) }, `draining ${stage}`);
      }
    },
  };
}
