// A process that stood still for a while (paused, swapped out, cut off from the directory) may have missed what concerns it, and others may have
// acted for it meanwhile. When it is back it looks at once, not only when its next round is due.
import type { Clock } from '../../lib/clock.ts';
import type { ActorDefinition, ActorSystem } from '../runtime/actor.ts';

export interface WakingWatch {
  readonly clock: Clock;
  /** Does the directory still count this process among the living? */
  readonly isHeld: () => boolean;
  /** Told each time it wakes. Must not throw. */
  readonly onWoken: () => void;
  /** Default: a second. */
  readonly intervalMs?: number;
}

/** A tick that comes so much later than it should tells of a process that did not run. */
const gapMsMax = 5_000;
const intervalMsDefault = 1_000;

interface State {
  lookedAt: number;
  wasHeld: boolean;
}

export function watchWaking(system: ActorSystem, name: string, watch: WakingWatch): void {
  system.spawn(defineWatch(watch), name, undefined);
}

function defineWatch({ clock, isHeld, onWoken, intervalMs = intervalMsDefault }: WakingWatch): ActorDefinition<State, 'look'> {
  return {
    kind: 'waking',
    init(context) {
      context.every(intervalMs, 'look');
      return { lookedAt: clock.now(), wasHeld: isHeld() };
    },
    handle(state, _message, context) {
      const gapMs = clock.now() - state.lookedAt - intervalMs;
      const isHeldNow = isHeld();
      const isBack = isHeldNow && !state.wasHeld;
      state.lookedAt = clock.now();
      state.wasHeld = isHeldNow;
      if (!isBack && gapMs < gapMsMax) return;
      context.log.info({ gapMs: Math.max(0, gapMs), isBack }, 'back after a silence: everything is looked at now');
      onWoken();
    },
    onError: () => 'resume',
  };
}
