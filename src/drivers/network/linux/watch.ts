// Looks at every DHCP server at intervals. One that died is started again at once, for a guest that boots now waits for it; then its death is
// told, once, so that what else may have gone with it is ensured.
import type { Clock, Timer } from '../../../lib/clock.ts';
import type { Log } from '../../../lib/log.ts';
import type { NetworkDriver } from '../driver.ts';
import { serverLives } from './dnsmasq.ts';
import type { Watched } from './plumber.ts';

type Listener = Parameters<NetworkDriver['subscribe']>[0];

export interface WatchSettings {
  readonly clock: Clock;
  readonly log: Log;
  readonly everyMs: number;
  /** After: it runs again, or nobody wants it any more. */
  readonly revive: (server: Watched) => Promise<void>;
}

export function createWatch({ clock, log, everyMs, revive }: WatchSettings) {
  const watched = new Map<string, Watched>();
  const listeners = new Set<Listener>();
  let timer: Timer | undefined;
  let closed = false;

  async function look(key: string, server: Watched): Promise<void> {
    const { network, pid, files } = server;
    if ((await serverLives(pid, files)) || watched.get(key) !== server) return;
    watched.delete(key);
    log.warn({ networkId: network.id, pid }, 'the DHCP server of a network died');
    await revive(server).catch((err: unknown) => log.error({ networkId: network.id, err }, 'the DHCP server of a network could not be started again'));
    for (const listener of listeners) listener({ type: 'dhcpDied', networkId: network.id });
  }
  function schedule(): void {
    if (closed || timer !== undefined || watched.size === 0) return;
    timer = clock.after(everyMs, () => {
      Promise.all([...watched].map(([key, server]) => look(key, server))).finally(() => {
        timer = undefined;
        schedule();
      });
    }, { unref: true });
  }
  return {
    add(server: Watched): void {
      watched.set(server.files.pid, server);
      schedule();
    },
    pause(key: string): Watched | undefined {
      const server = watched.get(key);
      watched.delete(key);
      return server;
    },
    subscribe(listener: Listener): () => void {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close(): void {
      closed = true;
      timer?.cancel();
      watched.clear();
      listeners.clear();
    },
  };
}
