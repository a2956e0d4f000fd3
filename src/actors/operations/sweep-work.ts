// Owners look for their unfinished operations at start and at intervals, without input: messages only make it fast, this makes it true. And
// they look whether they still are the owner: a process that was stopped for a while may have a successor.
import type { Db } from '../../db/db.ts';
import { resourcesWithWork } from '../../db/operations.ts';
import { newerStart } from '../../db/owners.ts';
import type { ActorDefinition } from '../runtime/actor.ts';
import type { Owner } from './perform-operation.ts';

/** The outbox does not lose messages; what the belt is for is a Redis that was emptied after they were sent, and that is mended within a minute. */
export const sweepIntervalMs = { owned: 30_000, shared: 10_000 } as const;

export type SweepMessage = { readonly type: 'sweep' };

export interface WorkSweeper {
  readonly db: Db;
  readonly owner: Owner;
  readonly intervalMs: number;
  /** Wakes the resource's actor. Doing so for one that is at work already changes nothing. */
  readonly wake: (resourceId: string) => void;
}

/** This process is not the owner any more. It ends: what it would still do, another does. */
export class Superseded extends Error {
  override readonly name = 'Superseded';
}

export function defineWorkSweeper({ db, owner, intervalMs, wake }: WorkSweeper): ActorDefinition<null, SweepMessage> {
  return {
    kind: 'sweeper',
    init(context) {
      context.after(0, { type: 'sweep' });
      context.every(intervalMs, { type: 'sweep' });
      return null;
    },
    async handle() {
      const newer = await newerStart(db, owner);
      if (newer !== undefined) {
        const since = newer.startedAt.toISOString();
        throw new Superseded(`${owner.name}: start ${newer.epoch} has taken over (since ${since}); this is start ${owner.epoch}, and it ends`);
      }
      for (const resourceId of await resourcesWithWork(db, owner.name)) wake(resourceId);
    },
    // The database may be away for a while: the next round comes anyway.
    onError: (error) => unlessSuperseded(error, 'resume'),
  };
}

/** For the policies of a sweeper and of all actors above it: they go down with it, and the process with them. */
export const unlessSuperseded = <Decision>(error: unknown, otherwise: Decision): Decision | 'escalate' =>
  (error instanceof Superseded ? 'escalate' : otherwise);
