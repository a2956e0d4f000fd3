// Notices hosts that fall silent and hosts that return, by what the directory has heard, and writes it to the database. The watcher counts only
// the time in which it was itself in touch with the directory: after an outage, or when Redis was emptied, everybody has the time to renew.
import { downHostsWithWork, hostHealth, hostReturned, loseHost } from '../../db/host-life.ts';
import type { Db } from '../../db/db.ts';
import type { Clock } from '../../lib/clock.ts';
import { messageOf } from '../../lib/errors.ts';
import type { Log } from '../../lib/log.ts';
import type { Directory, LastSeen } from '../../transport/directory.ts';
import type { Relay } from '../../transport/transport.ts';
import type { ActorDefinition } from '../runtime/actor.ts';

export interface HostWatch {
  readonly db: Db;
  readonly directory: Directory;
  readonly relay: Relay;
  readonly clock: Clock;
  readonly log: Log;
  /** Silence after which a host counts as down. */
  readonly serviceDownMs: number;
}

type WatchMessage = { readonly type: 'look' };

interface State {
  /** Since when this watcher has been in touch with the directory without a gap. */
  inTouchSince: number | undefined;
  lookedAt: number;
  /** By this watcher's clock. Of hosts that the directory has forgotten, too. */
  readonly heardAt: Map<string, number>;
}

const looksPerServiceDown = 10;
const lookMsMin = 100;
const lookMsMax = 2_000;

export const hostWatcher: ActorDefinition<State & HostWatch, WatchMessage, HostWatch> = {
  kind: 'host-watcher',
  init(context, watch) {
    context.after(0, { type: 'look' });
    context.every(Math.min(lookMsMax, Math.max(lookMsMin, watch.serviceDownMs / looksPerServiceDown)), { type: 'look' });
    return { ...watch, inTouchSince: undefined, lookedAt: watch.clock.now(), heardAt: new Map() };
  },
  handle: (state) => look(state),
  // The database may be away for a while: the next look comes anyway.
  onError: () => 'resume',
};

async function look(state: State & HostWatch): Promise<void> {
  const { clock, directory, db, serviceDownMs } = state;
  const seen = await ask(state, directory);
  const now = clock.now();
  // This process was stopped for a while, or its clock was set: what it believes of the time before is worth nothing.
  if (now < state.lookedAt || now - state.lookedAt > Math.max(serviceDownMs / 2, lookMsMax * 2)) state.inTouchSince = undefined;
  state.lookedAt = now;
  if (seen === undefined) {
    state.inTouchSince = undefined;
    return;
  }
  state.inTouchSince ??= now;
  for (const { host, agoMs } of seen) state.heardAt.set(host, now - agoMs);
  const silentMs = (host: string) => now - Math.max(state.heardAt.get(host) ?? 0, state.inTouchSince ?? now);
  const heard = new Set(seen.filter(({ agoMs }) => agoMs < serviceDownMs).map(({ host }) => host));
  for (const { name, downSince } of await hostHealth(db)) {
    if (downSince !== null && heard.has(name)) await welcome(state, name);
    else if (downSince === null && !heard.has(name) && silentMs(name) >= serviceDownMs) {
      await lose(state, name, new Date(Math.max(state.heardAt.get(name) ?? state.inTouchSince, 0)));
    }
  }
  for (const name of await downHostsWithWork(db, clock.date())) await lose(state, name, null);
}

async function ask({ log }: HostWatch, directory: Directory): Promise<readonly LastSeen[] | undefined> {
  try {
    return await directory.lastSeen('compute');
  } catch (error) {
    log.warn({ error: messageOf(error) }, 'the directory does not answer: no host is judged');
    return undefined;
  }
}

async function welcome({ db, clock, log }: HostWatch, host: string): Promise<void> {
  if (await hostReturned(db, host, clock.date())) log.info({ host }, 'host is heard again');
}

/** What was wished of a host that is down already is looked at again with `since` null. */
async function lose({ db, clock, log, relay }: HostWatch, host: string, since: Date | null): Promise<void> {
  const lost = await loseHost(db, { host, since }, clock.date());
  if (lost === undefined) return;
  if (lost.handedBack > 0) relay.kick();
  log.warn({ host, since, ...lost }, 'host is not heard of: its instances are shown as they are known to be');
}
