// Owners look for their unfinished operations at start and at intervals, without input: messages only make it fast, this makes it true.
import type { Db } from '../../db/db.ts';
import { resourcesWithWork } from '../../db/operations.ts';
import type { ActorDefinition } from '../runtime/actor.ts';

export type SweepMessage = { readonly type: 'sweep' };

export interface WorkSweeper {
  readonly db: Db;
  readonly owner: string;
  readonly intervalMs: number;
  /** Wakes the resource's actor. Doing so for one that is at work already changes nothing. */
  readonly wake: (resourceId: string) => void;
}

export function defineWorkSweeper(sweeper: WorkSweeper): ActorDefinition<null, SweepMessage> {
  return {
    kind: 'sweeper',
    init(context) {
      context.after(0, { type: 'sweep' });
      context.every(sweeper.intervalMs, { type: 'sweep' });
      return null;
    },
    async handle() {
      for (const resourceId of await resourcesWithWork(sweeper.db, sweeper.owner)) sweeper.wake(resourceId);
    },
    // The database may be away for a while: the next round comes anyway.
    onError: () => 'resume',
  };
}
