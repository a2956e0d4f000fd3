// Chance from a seed, also for code that asks node:crypto or Math.random: in a simulation every id, every jitter and every fault follows
// from one number.
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { seeded, type Random } from './random-values.ts';

export class Chance {
  readonly next: Random;
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
    this.next = seeded(seed);
  }

  /** A stream of its own: what one part draws does not shift what the others draw. */
  fork(label: string): Chance {
    let mixed = this.#seed ^ 0x9e3779b9;
    for (const character of label) mixed = Math.imul(mixed ^ character.charCodeAt(0), 0x01000193);
    return new Chance(mixed);
  }

  /** An integer from `from` to `to`, both included. */
  between(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from + 1));
  }

  hits(probability: number): boolean {
    return this.next() < probability;
  }

  /** Undefined: there is nothing to pick from. */
  pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.next() * items.length)];
  }

  bytes(count: number): Buffer {
    return Buffer.from(Array.from({ length: count }, () => Math.floor(this.next() * 256)));
  }
}

/** Until the returned function is called, the whole process draws from the seed. */
export function seedProcess(chance: Chance): () => void {
  const real = {
    randomBytes: crypto.randomBytes, randomUUID: crypto.randomUUID, randomInt: crypto.randomInt, fill: crypto.randomFillSync, random: Math.random,
  };
  const uuid = (): string => {
    const hex = chance.bytes(16).toString('hex');
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
  };
  // Whoever fills a pool of its own does so at any time: what others draw must not be shifted by it.
  const pools = chance.fork('pools');
  Object.assign(crypto, {
    randomBytes: (count: number) => chance.bytes(count),
    randomUUID: uuid,
    randomFillSync: (buffer: Buffer) => {
      pools.bytes(buffer.length).copy(buffer);
      return buffer;
    },
    randomInt: (from: number, to?: number) => (to === undefined ? chance.between(0, from - 1) : chance.between(from, to - 1)),
  });
  Math.random = chance.next;
  syncBuiltinESMExports();
  return () => {
    const { random, fill, ...functions } = real;
    Object.assign(crypto, functions, { randomFillSync: fill });
    Math.random = random;
    syncBuiltinESMExports();
  };
}
