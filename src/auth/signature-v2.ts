// Verifies AWS Signature Version 2 of the EC2 query API: an HMAC over verb, host, path and all parameters, of the query and the form.
// Clients differ in the host (boto 2 leaves out the port) and in the path's last slash, so each form they use is tried.
import { createHmac } from 'node:crypto';
import { equalSignatures } from './compare.ts';
import { canonicalParameters, parseParameters, type Parameter } from './percent-encoding.ts';
import { Refusal } from './refusal.ts';
import type { SignedRequest } from './request.ts';
import { clockWindowMs, parseIsoDate } from './timestamps.ts';

/** What a request says of its own signature. */
export interface ClaimV2 {
  readonly version: 2;
  readonly accessKeyId: string;
  readonly signature: string;
  readonly digest: 'sha1' | 'sha256';
  readonly time: { readonly kind: 'Timestamp' | 'Expires'; readonly text: string; readonly instant: number };
  readonly parameters: readonly Parameter[];
}

const digests: Readonly<Record<string, 'sha1' | 'sha256'>> = { HmacSHA1: 'sha1', HmacSHA256: 'sha256' };

const own = new Set(['AWSAccessKeyId', 'Signature', 'SignatureMethod', 'SignatureVersion', 'Timestamp', 'Expires']);

/** Undefined: no parameter of this version is given. Old versions, which sign next to nothing, are refused. */
export function readV2(request: SignedRequest): ClaimV2 | undefined {
  const parameters = [...parseParameters(request.rawQuery), ...parseParameters(request.body?.toString('latin1') ?? '')];
  const given = new Map<string, string>();
  for (const { name, value } of parameters) {
    if (!own.has(name)) continue;
    if (given.has(name)) throw new Refusal('ambiguous', `The parameter ${name} is given more than once.`);
    given.set(name, value);
  }
  if (!given.has('AWSAccessKeyId') && !given.has('Signature')) return undefined;
  const field = (name: string): string => {
    const value = given.get(name);
    if (value === undefined || value === '') throw new Refusal('missingParameter', name);
    return value;
  };
  const accessKeyId = field('AWSAccessKeyId');
  const signature = field('Signature');
  const version = field('SignatureVersion');
  if (version !== '2') throw new Refusal('badValue', `Value (${version}) for parameter SignatureVersion is invalid. Use signature version 2 or 4.`);
  const method = field('SignatureMethod');
  const digest = Object.hasOwn(digests, method) ? digests[method] : undefined;
  if (digest === undefined) throw new Refusal('badValue', `Value (${method}) for parameter SignatureMethod is invalid. Use HmacSHA256 or HmacSHA1.`);
  return { version: 2, accessKeyId, signature, digest, time: readTime(given), parameters: parameters.filter(({ name }) => name !== 'Signature') };
}

/** Refuses a request from another time. */
export function checkTimeV2(claim: ClaimV2, now: number): void {
  const { kind, text, instant } = claim.time;
  if (kind === 'Expires' ? instant < now : Math.abs(instant - now) > clockWindowMs) {
    throw new Refusal('expired', `Request has expired. ${kind} date is ${text}.`);
  }
}

/** Refuses a signature that the secret did not make. */
export function verifyV2(request: SignedRequest, claim: ClaimV2, secret: string): void {
  const query = canonicalParameters(claim.parameters);
  for (const host of hostsOf(request)) {
    for (const path of pathsOf(request.rawPath)) {
      const text = `${request.method}\n${host}\n${path}\n${query}`;
      const expected = createHmac(claim.digest, secret).update(text, 'latin1').digest('base64');
      if (equalSignatures(expected, claim.signature)) return;
    }
  }
  throw new Refusal('mismatch');
}

function readTime(given: ReadonlyMap<string, string>): ClaimV2['time'] {
  const [timestamp, expires] = [given.get('Timestamp'), given.get('Expires')];
  if (timestamp !== undefined && expires !== undefined) {
    throw new Refusal('ambiguous', 'The parameter Timestamp cannot be used with the parameter Expires');
  }
  const kind = expires === undefined ? 'Timestamp' : 'Expires';
  const text = timestamp ?? expires;
  if (text === undefined || text === '') throw new Refusal('missingParameter', 'Timestamp or Expires');
  const instant = parseIsoDate(text);
  if (instant === undefined) throw new Refusal('badValue', `Value (${text}) for parameter ${kind} is invalid. Must be in ISO8601 format`);
  return { kind, text, instant };
}

function hostsOf(request: SignedRequest): ReadonlySet<string> {
  const host = (request.headers.host ?? '').toLowerCase();
  return new Set([host, host.replace(/:\d+$/, '')]);
}

function pathsOf(rawPath: string): ReadonlySet<string> {
  const path = rawPath === '' ? '/' : rawPath;
  return new Set([path, path.endsWith('/') ? path.slice(0, -1) || '/' : `${path}/`]);
}
