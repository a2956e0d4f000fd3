// The least used host first: by promised cores, then by promised memory, then by name, so that the order is always the same.
import type { Policy } from './policy.ts';

export const simple: Policy = {
  reads: 'load',
  order: (hosts) =>
    hosts.toSorted((a, b) => a.claimedCores - b.claimedCores || a.claimedMemoryMiB - b.claimedMemoryMiB || a.name.localeCompare(b.name)),
};
