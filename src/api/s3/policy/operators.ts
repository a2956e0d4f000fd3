// The condition operators of policies: how one value of a request is compared with one value of a policy. Pure.
import { BlockList, isIP } from 'node:net';
import { parseIsoDate } from '../../../auth/timestamps.ts';
import { matchesWildcard } from './wildcards.ts';

export interface Operator {
  readonly name: string;
  /** The request's value must match none. */
  readonly isNegated: boolean;
  /** A key that the request does not have is a match. */
  readonly ifExists: boolean;
  /** How the values of a key that has several count. */
  readonly quantifier: 'any' | 'all' | undefined;
  /** A value that a policy may hold. */
  readonly accepts: (wanted: string) => boolean;
  readonly compare: (found: string, wanted: string) => boolean;
}

type Comparison = Pick<Operator, 'accepts' | 'compare'>;

const anything = (): boolean => true;
const isNumber = (text: string): boolean => /^-?\d+(\.\d+)?$/.test(text);
const instantOf = (text: string): number | undefined =>
  (/^\d{1,12}$/.test(text) ? Number(text) * 1000 : parseIsoDate(/T/.test(text) ? text : `${text}T00:00:00Z`));

const numeric = (holds: (difference: number) => boolean): Comparison => ({
  accepts: isNumber, compare: (found, wanted) => isNumber(found) && holds(Number(found) - Number(wanted)),
});
const dated = (holds: (difference: number) => boolean): Comparison => ({
  accepts: (wanted) => instantOf(wanted) !== undefined,
  compare: (found, wanted) => holds((instantOf(found) ?? Number.NaN) - (instantOf(wanted) ?? Number.NaN)),
});
const exact: Comparison = { accepts: anything, compare: (found, wanted) => found === wanted };
const anyCase: Comparison = { accepts: anything, compare: (found, wanted) => found.toLowerCase() === wanted.toLowerCase() };
const like: Comparison = { accepts: anything, compare: (found, wanted) => matchesWildcard(wanted, found) };
const inNetwork: Comparison = { accepts: (wanted) => networkOf(wanted) !== undefined, compare: isInNetwork };
const isBoolean = (text: string): boolean => /^(true|false)$/i.test(text);

const comparisons: Readonly<Record<string, Comparison>> = {
  StringEquals: exact, StringEqualsIgnoreCase: anyCase, StringLike: like, ArnEquals: like, ArnLike: like, IpAddress: inNetwork,
  Bool: { accepts: isBoolean, compare: anyCase.compare },
  NumericEquals: numeric((difference) => difference === 0),
  NumericLessThan: numeric((difference) => difference < 0),
  NumericLessThanEquals: numeric((difference) => difference <= 0),
  NumericGreaterThan: numeric((difference) => difference > 0),
  NumericGreaterThanEquals: numeric((difference) => difference >= 0),
  DateEquals: dated((difference) => difference === 0),
  DateLessThan: dated((difference) => difference < 0),
  DateLessThanEquals: dated((difference) => difference <= 0),
  DateGreaterThan: dated((difference) => difference > 0),
  DateGreaterThanEquals: dated((difference) => difference >= 0),
};

/** Each with the operator that it denies. */
const negations: Readonly<Record<string, string>> = {
  StringNotEquals: 'StringEquals', StringNotEqualsIgnoreCase: 'StringEqualsIgnoreCase', StringNotLike: 'StringLike', ArnNotEquals: 'ArnEquals',
  ArnNotLike: 'ArnLike', NotIpAddress: 'IpAddress', NumericNotEquals: 'NumericEquals', DateNotEquals: 'DateEquals',
};

export const operatorNames: readonly string[] = [...Object.keys(comparisons), ...Object.keys(negations), 'Null'].toSorted();

/** `Null` asks whether a key is there at all. */
export const isNullTest = (operator: Operator): boolean => operator.name === 'Null';

/** `ForAnyValue:StringLikeIfExists` in its parts. Undefined: there is no such operator. */
export function parseOperator(text: string): Operator | undefined {
  const [, quantified, name = '', ifExists] = /^(ForAnyValue:|ForAllValues:)?([A-Za-z]+?)(IfExists)?$/.exec(text) ?? [];
  const quantifier = quantified === undefined ? undefined : quantified === 'ForAnyValue:' ? 'any' : 'all';
  if (name === 'Null' && ifExists !== undefined) return undefined;
  if (name === 'Null') return { name, isNegated: false, ifExists: false, quantifier, accepts: isBoolean, compare: exact.compare };
  const positive = Object.hasOwn(negations, name) ? negations[name] : undefined;
  const key = positive ?? name;
  const comparison = Object.hasOwn(comparisons, key) ? comparisons[key] : undefined;
  return comparison === undefined ? undefined : { name, isNegated: positive !== undefined, ifExists: ifExists !== undefined, quantifier, ...comparison };
}

interface Network {
  readonly address: string;
  readonly bits: number;
  readonly family: 'ipv4' | 'ipv6';
}

function networkOf(text: string): Network | undefined {
  const [address = '', prefix, ...more] = text.split('/');
  const version = isIP(address);
  const bitsMax = version === 4 ? 32 : 128;
  if (version === 0 || more.length > 0 || (prefix !== undefined && !(/^\d{1,3}$/.test(prefix) && Number(prefix) <= bitsMax))) return undefined;
  return { address, bits: prefix === undefined ? bitsMax : Number(prefix), family: version === 4 ? 'ipv4' : 'ipv6' };
}

function isInNetwork(found: string, wanted: string): boolean {
  const network = networkOf(wanted);
  const address = found.replace(/^::ffff:(?=\d+\.)/i, '');
  const version = isIP(address);
  if (network === undefined || version === 0 || (version === 4 ? 'ipv4' : 'ipv6') !== network.family) return false;
  const block = new BlockList();
  block.addSubnet(network.address, network.bits, network.family);
  return block.check(address, network.family);
}
