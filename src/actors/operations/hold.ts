// Keeps an operation of a shared owner while it is worked on, however long a step takes: renewed at intervals, so that no other process of
// the owner takes it, and given up for lost as soon as one did.
import type { Db } from '../../db/db.ts';
import { renewHold, type HeldOperation } from '../../db/operations.ts';
import { holdMs } from '../../db/owners.ts';
import type { Clock, Timer } from '../../lib/clock.ts';

export interface Hold {
  /** Aborted when the operation is another's. */
  readonly lost: AbortSignal;
  release(): void;
}

export function keepHold(db: Db, clock: Clock, held: HeldOperation): Hold {
  const lost = new AbortController();
  let timer: Timer | undefined;
  let isReleased = false;
  const renew = async (): Promise<void> => {
    const isHeld = await renewHold(db, held, clock.date()).catch(() => true); // The database is away: the next save will tell.
    if (isReleased) return;
    if (isHeld) arm();
    else lost.abort();
  };
  const arm = (): void => {
    timer = clock.after(holdMs / 3, () => void renew(), { unref: true });
  };
  arm();
  return {
    lost: lost.signal,
    release() {
      isReleased = true;
      timer?.cancel();
    },
  };
}
