// Random values of any modelled shape, from a seed: what the conformance specs send through AWS's own SDK and through ours.
import type { Shape, Structure } from '../../src/api/ec2/model.ts';

export type Random = () => number;

/** Mulberry32: small, and the same everywhere. */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const pieces = [
  'a', 'Z', '0', ' ', '+', '&', '<', '>', '"', "'", '%', '=', '.', '-', '_', '~', '/', '\\',
  'ü', '漢', '😀', '\t', '\n', '\r', ';', '#', '{', ']]>', '&amp;',
];

const pick = <T>(random: Random, from: readonly T[]): T => {
  const value = from[Math.floor(random() * from.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
};

const depthMax = 6;

/** Every member has a value, and every list one to three; deeper than six levels, lists and structures are left out. */
export function randomStructure(structure: Structure, random: Random, depth = 0): Record<string, unknown> {
  const entries = structure.members.map((member) => [member.name, randomValue(member.shape, random, depth + 1)] as const);
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

function randomValue(shape: Shape, random: Random, depth: number): unknown {
  if (typeof shape === 'string') return randomScalar(shape, random);
  if (depth > depthMax) return undefined;
  if (shape.kind === 'structure') return withContent(randomStructure(shape, random, depth));
  const values = Array.from(
    { length: 1 + Math.floor(random() * 3) }, () => randomValue(shape.element, random, depth + 1),
  ).filter((value) => value !== undefined);
  return values.length === 0 ? undefined : values;
}

/** A structure without members cannot be told from an absent one on the wire. */
const withContent = (value: Record<string, unknown>) => (Object.keys(value).length === 0 ? undefined : value);

function randomScalar(shape: Extract<Shape, string>, random: Random): unknown {
  switch (shape) {
    case 'string':
      return `x${Array.from({ length: Math.floor(random() * 12) }, () => pick(random, pieces)).join('')}x`;
    case 'integer':
      return Math.floor((random() - 0.5) * 2 ** 40);
    case 'decimal':
      return Math.floor(random() * 1e6) / 64;
    case 'boolean':
      return random() < 0.5;
    case 'timestamp':
      return new Date(Math.floor(random() * 4e9) * 1000);
    case 'blob':
      return new Uint8Array(Array.from({ length: 1 + Math.floor(random() * 20) }, () => Math.floor(random() * 256)));
  }
}
