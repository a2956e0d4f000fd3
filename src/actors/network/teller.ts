// Tells other hosts that members of groups came or went: at once when it was quiet, otherwise together with what else happens in the window,
// so that hundreds of launches in one group are a few messages to each host.
import type { Clock } from '../../lib/clock.ts';

export interface TellerOptions {
  readonly clock: Clock;
  readonly tell: (host: string, groupIds: readonly string[]) => void;
  /** Default 300. */
  readonly windowMs?: number;
}

export function createTeller({ clock, tell, windowMs = 300 }: TellerOptions): (hosts: readonly string[], groupIds: readonly string[]) => void {
  let waiting = new Map<string, Set<string>>();
  let quiet = true;
  const flush = (): void => {
    quiet = waiting.size === 0;
    if (quiet) return;
    const told = waiting;
    waiting = new Map();
    for (const [host, groups] of told) tell(host, [...groups]);
    clock.after(windowMs, flush, { unref: true });
  };
  return (hosts, groupIds) => {
    for (const host of hosts) waiting.set(host, new Set([...(waiting.get(host) ?? []), ...groupIds]));
    if (quiet) flush();
  };
}
