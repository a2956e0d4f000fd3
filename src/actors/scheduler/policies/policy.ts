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

/** The hosts in the order in which to try them; only those given. `random` returns 0 ≤ x < 1. */
export type Policy = (hosts: readonly HostView[], random: () => number) => readonly HostView[];
