// CORS: the rules of a bucket, and the headers that let a browser's script of another origin see an answer.
import { findBucketSetting } from '../../db/buckets.ts';
import type { S3Call } from './call.ts';
import { fail } from './errors.ts';
import { matchesWildcard } from './policy/wildcards.ts';
import { element, malformed, type Xml, type XmlElement } from './xml.ts';

export interface CorsRule {
  readonly id?: string;
  readonly origins: readonly string[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  readonly exposed: readonly string[];
  readonly maxAgeSeconds?: number;
}

const rulesMax = 100;
const idLengthMax = 255;
const methodsKnown = ['GET', 'PUT', 'POST', 'DELETE', 'HEAD'];

export function parseCors(configuration: XmlElement): CorsRule[] {
  const rules = configuration.all('CORSRule').map(parseRule);
  if (rules.length === 0) malformed();
  if (rules.length > rulesMax) fail('InvalidRequest', `The number of CORS rules should not exceed allowed limit of ${rulesMax} rules.`);
  return rules;
}

function parseRule(rule: XmlElement): CorsRule {
  const texts = (name: string): string[] => rule.all(name).map((child) => child.text.trim());
  const [origins, methods, headers, exposed] = [texts('AllowedOrigin'), texts('AllowedMethod'), texts('AllowedHeader'), texts('ExposeHeader')];
  if (origins.length === 0 || methods.length === 0) malformed();
  const unknown = methods.find((method) => !methodsKnown.includes(method));
  if (unknown !== undefined) fail('InvalidRequest', `Found unsupported HTTP method in CORS config. Unsupported method is ${unknown.slice(0, 100)}`);
  for (const [name, list] of [['AllowedOrigin', origins], ['AllowedHeader', headers]] as const) {
    const wide = list.find((text) => text.split('*').length > 2);
    if (wide !== undefined) fail('InvalidRequest', `${name} "${wide.slice(0, 100)}" can not have more than one wildcard.`);
  }
  if (exposed.some((text) => text.includes('*'))) {
    fail('InvalidRequest', 'ExposeHeader contains a wildcard. We currently do not support wildcard for ExposeHeader.');
  }
  // A value becomes a header of answers.
  if ([...origins, ...headers, ...exposed].some((text) => !/^[\x21-\x7e]*$/.test(text))) malformed();
  const [id, maxAge] = [rule.textOf('ID')?.trim(), rule.textOf('MaxAgeSeconds')?.trim()];
  if (id !== undefined && id.length > idLengthMax) fail('InvalidArgument', 'ID length should not exceed allowed limit of 255');
  if (maxAge !== undefined && !/^\d{1,9}$/.test(maxAge)) malformed();
  return { origins, methods, headers, exposed, ...(id === undefined ? {} : { id }), ...(maxAge === undefined ? {} : { maxAgeSeconds: Number(maxAge) }) };
}

export const corsXml = (rules: readonly CorsRule[]): Xml[] => rules.map((rule) => element('CORSRule', [
  rule.id === undefined ? undefined : element('ID', rule.id),
  ...rule.headers.map((text) => element('AllowedHeader', text)), ...rule.methods.map((text) => element('AllowedMethod', text)),
  ...rule.origins.map((text) => element('AllowedOrigin', text)), ...rule.exposed.map((text) => element('ExposeHeader', text)),
  rule.maxAgeSeconds === undefined ? undefined : element('MaxAgeSeconds', rule.maxAgeSeconds),
]));

export async function corsRules(call: Pick<S3Call, 'db' | 'bucket'>): Promise<readonly CorsRule[] | undefined> {
  return (await findBucketSetting(call.db, call.bucket, 'cors')) as readonly CorsRule[] | undefined;
}

export interface CrossOrigin {
  readonly origin: string;
  readonly method: string;
  /** In lower case; those that a preflight asks for. */
  readonly headers: readonly string[];
}

/** The headers of the answer; undefined: no rule allows it. */
export function crossOriginHeaders(rules: readonly CorsRule[], asked: CrossOrigin): Record<string, string> | undefined {
  const rule = rules.find((one) => one.methods.includes(asked.method) && one.origins.some((pattern) => matchesWildcard(literal(pattern), asked.origin))
    && asked.headers.every((name) => one.headers.some((pattern) => matchesWildcard(literal(pattern.toLowerCase()), name))));
  if (rule === undefined) return undefined;
  const isAny = rule.origins.includes('*');
  return {
    'access-control-allow-origin': isAny ? '*' : asked.origin,
    ...(isAny ? {} : { 'access-control-allow-credentials': 'true' }),
    'access-control-allow-methods': rule.methods.join(', '),
    ...(asked.headers.length === 0 ? {} : { 'access-control-allow-headers': asked.headers.join(', ') }),
    ...(rule.exposed.length === 0 ? {} : { 'access-control-expose-headers': rule.exposed.join(', ') }),
    ...(rule.maxAgeSeconds === undefined ? {} : { 'access-control-max-age': String(rule.maxAgeSeconds) }),
    vary: 'Origin, Access-Control-Request-Headers, Access-Control-Request-Method',
  };
}

/** Here only `*` is a wildcard. No origin or header name has a question mark. */
const literal = (pattern: string): string => (pattern.includes('?') ? '\0' : pattern);
