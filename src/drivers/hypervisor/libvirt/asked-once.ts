// Guests under Xen answer the first wish to power off or to restart, and as a rule (Linux: drivers/xen/manage.c) none that follows it. For that
// answer, libxl (libxl_domain.c, libxl__domain_pvcontrol) waits a minute, through which libvirt keeps the domain locked and tells nothing of it.
import type { DomainHandle } from './xdr.ts';

interface Asked {
  readonly id: number;
  readonly answer: Promise<void>;
}

export class AskedOnce {
  /** By name: the running domain that was asked last. */
  readonly #asked = new Map<string, Asked>();

  /** Asks unless this very run of the guest has answered, or is about to; who did not answer can be asked again. Throws what the wish throws. */
  ask({ name, id }: DomainHandle, wish: () => Promise<void>): Promise<void> {
    const earlier = this.#asked.get(name);
    if (earlier?.id === id) return earlier.answer;
    const asked = { id, answer: wish() };
    this.#asked.set(name, asked);
    asked.answer.catch(() => this.#asked.get(name) === asked && this.#asked.delete(name));
    return asked.answer;
  }

  forget(name: string): void {
    this.#asked.delete(name);
  }
}
