// A policy orders hosts; it is pure and touches nothing. Room itself is claimed in the database, so that a stale view costs a try, not a mistake.

export interface HostView {
  readonly name: string;
  readonly cores: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
  readonly claimedCores: number;
  readonly claimedMemoryMiB: number;
  readonly claimedDiskGiB: number;
}

export interface Policy {
  /** Which hosts of many are read at all: the least loaded, or some drawn by lot. */
  readonly reads: 'load' | 'lot';
  /** The hosts in the order in which to try them; only those given. `random` returns 0 ≤ x < 1. */
  readonly order: <Host extends HostView>(hosts: readonly Host[], random: () => number) => readonly Host[];
}
