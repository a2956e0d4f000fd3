// How a guest's restart shows in Xen's events. Xen makes a new domain of a guest that restarts, and libvirt tells of the new one's start
// before it tells of the old one's end, and in between, for as long as the making takes, calls the guest shut off.
import { lifecycleChanges } from './procedures.ts';
import type { RpcEvent } from './rpc.ts';

export class RestartWatch {
  /** By name: the number of the domain that was last started. */
  readonly #started = new Map<string, number>();

  /** Did a guest restart by itself? For each event, in order. */
  isRestart({ kind, domain, change }: RpcEvent): boolean {
    if (kind !== 'lifecycle') return false;
    if (change === lifecycleChanges.started) this.#started.set(domain.name, domain.id);
    if (change === lifecycleChanges.undefined) this.#started.delete(domain.name);
    const started = this.#started.get(domain.name);
    return change === lifecycleChanges.stopped && started !== undefined && domain.id >= 0 && domain.id < started;
  }
}
