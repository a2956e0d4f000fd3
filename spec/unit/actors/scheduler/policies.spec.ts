import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { policies } from '../../../../src/actors/scheduler/policies/index.ts';
import type { HostView } from '../../../../src/actors/scheduler/policies/policy.ts';

const hosts = fc.uniqueArray(
  fc.record({
    name: fc.string({ minLength: 1 }),
    cores: fc.nat(64), memoryMiB: fc.nat(9999), diskGiB: fc.nat(999),
    claimedCores: fc.nat(64), claimedMemoryMiB: fc.nat(9999), claimedDiskGiB: fc.nat(999),
  }),
  { selector: (each) => each.name },
);

describe.each(Object.entries(policies))('the %s policy', (_name, policy) => {
  it('orders just the hosts it was given, each once, and changes none', () => {
    fc.assert(fc.property(hosts, (given) => {
      const before = structuredClone(given);
      const ordered = policy.order(given, Math.random);
      expect(ordered.map((each) => each.name).toSorted()).toEqual(given.map((each) => each.name).toSorted());
      expect(given).toEqual(before);
    }));
  });
});

const host = (name: string, claimedCores: number): HostView =>
  ({ name, cores: 8, memoryMiB: 1, diskGiB: 1, claimedCores, claimedMemoryMiB: 0, claimedDiskGiB: 0 });

describe('simple', () => {
  it('puts the host with the fewest promised cores first', () => {
    expect(policies.simple.order([host('a', 3), host('b', 1), host('c', 2)], Math.random).map(({ name }) => name)).toEqual(['b', 'c', 'a']);
  });
});

describe('chance', () => {
  it('gives every host about as many first places', () => {
    const firsts = new Map<string, number>();
    let seed = 1;
    const random = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    for (let draw = 0; draw < 3_000; draw += 1) {
      const first = policies.chance.order([host('a', 9), host('b', 0), host('c', 4)], random)[0]?.name ?? '';
      firsts.set(first, (firsts.get(first) ?? 0) + 1);
    }
    for (const name of ['a', 'b', 'c']) expect(firsts.get(name)).toBeGreaterThan(850);
  });
});
