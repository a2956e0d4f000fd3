// The policy of a form upload: a document that whoever signed it hands to others, which says what they may put, and until when.
import { parseIsoDate } from '../../auth/timestamps.ts';
import { fail } from './errors.ts';

export interface SizeRange {
  readonly min: number;
  readonly max: number;
}

const invalid = (message: string): never => fail('InvalidPolicyDocument', `Invalid Policy: ${message}`);
const refused = (message: string): never => fail('AccessDenied', `Invalid according to Policy: ${message}`);

/** Of these a policy need say nothing, nor of checksums, which only hold a file to what it is. */
const free: ReadonlySet<string> = new Set(['policy', 'signature', 'x-amz-signature', 'awsaccesskeyid', 'file']);

/** Throws what AWS says of a policy that is malformed, expired or not met. Returns the size that the file may have. */
export function checkFormPolicy(encoded: string, fields: ReadonlyMap<string, string>, now: number): SizeRange {
  const policy = parse(encoded);
  const expiration = policy['expiration'];
  const until = typeof expiration === 'string' ? parseIsoDate(expiration) : undefined;
  if (until === undefined) return invalid(expiration === undefined ? 'Policy missing expiration.' : 'Invalid \'expiration\' value.');
  const conditions: unknown = policy['conditions'];
  if (!Array.isArray(conditions)) return invalid('Policy missing conditions.');
  const named = new Set<string>();
  let range: SizeRange = { min: 0, max: Number.MAX_SAFE_INTEGER };
  const failures: string[] = [];
  for (const condition of conditions as readonly unknown[]) {
    const size = sizeRange(condition);
    if (size !== undefined) {
      range = { min: Math.max(range.min, size.min), max: Math.min(range.max, size.max) };
      continue;
    }
    for (const { match, field, value } of matches(condition)) {
      named.add(field);
      const given = fields.get(field) ?? '';
      if (match === 'eq' ? given !== value : !given.startsWith(value)) failures.push(`Policy Condition failed: ["${match}", "$${field}", "${value}"]`);
    }
  }
  if (until <= now) refused('Policy expired.');
  const [failure] = failures;
  if (failure !== undefined) refused(failure);
  const needsLeave = (name: string) => !free.has(name) && !['x-ignore-', 'x-amz-checksum-'].some((prefix) => name.startsWith(prefix)) && name !== 'bucket';
  const extra = [...fields.keys()].filter((name) => !named.has(name) && needsLeave(name));
  if (extra.length > 0) refused(`Extra input fields: ${extra.join(', ').slice(0, 200)}`);
  return range;
}

function parse(encoded: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(encoded, 'base64').toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : invalid('Invalid JSON.');
  } catch {
    return invalid('Invalid JSON.');
  }
}

function sizeRange(condition: unknown): SizeRange | undefined {
  if (!Array.isArray(condition) || condition[0] !== 'content-length-range') return undefined;
  const [, min, max] = (condition as readonly unknown[]).map(Number);
  if (condition.length !== 3 || min === undefined || max === undefined || !Number.isInteger(min) || !Number.isInteger(max) || min < 0 || max < min) {
    return invalid('Invalid \'content-length-range\' condition.');
  }
  return { min, max };
}

interface Match {
  readonly match: 'eq' | 'starts-with';
  readonly field: string;
  readonly value: string;
}

function matches(condition: unknown): Match[] {
  if (typeof condition !== 'object' || condition === null) return invalid('Invalid condition.');
  if (!Array.isArray(condition)) {
    const entries = Object.entries(condition);
    if (entries.length !== 1) invalid('Only one field name may be specified in a condition.');
    return entries.map(([field, value]) => (
      { match: 'eq', field: field.toLowerCase(), value: typeof value === 'string' ? value : invalid('Invalid condition.') }));
  }
  const [operator, name, value] = condition as readonly unknown[];
  const match = String(operator).toLowerCase();
  if (condition.length !== 3 || typeof name !== 'string' || !name.startsWith('$') || typeof value !== 'string') return invalid('Invalid condition.');
  if (match !== 'eq' && match !== 'starts-with') return invalid(`Invalid condition: unknown operation '${match.slice(0, 50)}'.`);
  return [{ match, field: name.slice(1).toLowerCase(), value }];
}
