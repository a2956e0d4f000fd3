// Verifies AWS Signature Version 4, in the Authorization header or in the query (presigned). Pure: the secret and the time are given.
// Region and service are whatever the client's scope says: boto 2 derives them from the host name, `127.0.0.1` signs for region `0`.
import {
  algorithmV4, canonicalHeaderValue, canonicalPathOnce, canonicalPathTwice, canonicalRequestText, stringToSign,
} from './canonical-v4.ts';
import { equalSignatures } from './compare.ts';
import { canonicalParameters, parseParameters, type Parameter } from './percent-encoding.ts';
import { Refusal } from './refusal.ts';
import { headerValue, headerValues, type SignedRequest } from './request.ts';
import { hmacSha256, type Scope, type SigningKeys } from './signing-keys.ts';
import { clockWindowMs, formatAmzDate, isAmzDate, parseAmzDate, parseHttpDate } from './timestamps.ts';

/** What a request says of its own signature. */
export interface ClaimV4 {
  readonly version: 4;
  readonly place: 'header' | 'query';
  /** With its `:project`, if any. */
  readonly accessKeyId: string;
  readonly scope: Scope;
  readonly signedHeaders: readonly string[];
  readonly signature: string;
  /** `20261122T140754Z`, part of the string to sign. */
  readonly timestamp: string;
  readonly instant: number;
  /** Presigned only; without it the clock window counts, as for a header. */
  readonly lifeMs: number | undefined;
}

const signedHeadersMax = 100;
const presignedLifeSecondsMax = 7 * 24 * 3600;

/** The claim in the Authorization header. Undefined: there is none of this version. */
export function readHeaderV4(request: SignedRequest): ClaimV4 | undefined {
  const authorization = request.headers.authorization;
  if (authorization === undefined || !authorization.startsWith(algorithmV4)) return undefined;
  const fields = authorizationFields(authorization);
  const dated = headerDate(request);
  const claim = {
    version: 4 as const,
    place: 'header' as const,
    ...readCredential(fields.get('Credential') ?? '', 'badHeader'),
    signedHeaders: readSignedHeaders(fields.get('SignedHeaders') ?? '', 'badHeader'),
    signature: readSignature(fields.get('Signature') ?? '', 'badHeader'),
    ...dated,
    lifeMs: undefined,
  };
  checkScopeDate(claim);
  return claim;
}

/** The claim in the query. Undefined: the query is not signed in this version. */
export function readQueryV4(request: SignedRequest): ClaimV4 | undefined {
  const parameters = new Map<string, string>();
  for (const { name, value } of parseParameters(request.rawQuery)) {
    if (!name.startsWith('X-Amz-')) continue;
    if (parameters.has(name)) throw new Refusal('badQuery', `${name} is given more than once`);
    parameters.set(name, value);
  }
  if (!parameters.has('X-Amz-Algorithm') && !parameters.has('X-Amz-Signature')) return undefined;
  const field = (name: string): string => {
    const value = parameters.get(name);
    if (value === undefined) throw new Refusal('badQuery', missingQueryParameters);
    return value;
  };
  if (field('X-Amz-Algorithm') !== algorithmV4) throw new Refusal('badQuery', `X-Amz-Algorithm only supports "${algorithmV4}"`);
  const timestamp = field('X-Amz-Date');
  const instant = parseAmzDate(timestamp);
  if (instant === undefined) throw new Refusal('badQuery', 'X-Amz-Date must be in the ISO8601 Long Format "yyyyMMdd\'T\'HHmmss\'Z\'"');
  const claim = {
    version: 4 as const,
    place: 'query' as const,
    ...readCredential(field('X-Amz-Credential'), 'badQuery'),
    signedHeaders: readSignedHeaders(field('X-Amz-SignedHeaders'), 'badQuery'),
    signature: readSignature(field('X-Amz-Signature'), 'badQuery'),
    timestamp,
    instant,
    lifeMs: readLifeMs(parameters.get('X-Amz-Expires')),
  };
  checkScopeDate(claim);
  return claim;
}

/** Refuses a request from another time. */
export function checkTimeV4(claim: ClaimV4, now: number): void {
  if (claim.lifeMs === undefined) {
    if (Math.abs(claim.instant - now) > clockWindowMs) {
      throw new Refusal('skewed', `Request time ${isoText(claim.instant)} is more than 15 minutes from ${isoText(now)}.`);
    }
  } else if (claim.instant > now + clockWindowMs) {
    throw new Refusal('notYet');
  } else if (claim.instant + claim.lifeMs < now) {
    throw new Refusal('expired');
  }
}

export interface VerificationV4 {
  readonly request: SignedRequest;
  readonly claim: ClaimV4;
  /** What stands for the body in the canonical request: a SHA-256, `UNSIGNED-PAYLOAD`, or the name of a streaming form. */
  readonly payloadHash: string;
  /** How the service encodes paths. */
  readonly paths: 'once' | 'twice';
  /** Of the key, without the project. */
  readonly accessKeyId: string;
  readonly secret: string;
  readonly signingKeys: SigningKeys;
}

/** Refuses a signature that the secret did not make. Returns the signing key, from which chunk signatures follow. */
export function verifyV4(verification: VerificationV4): Buffer {
  const { request, claim, accessKeyId, secret, signingKeys } = verification;
  const key = signingKeys.find(accessKeyId, secret, claim.scope);
  const headers = canonicalHeaders(request, claim);
  const query = canonicalParameters(signedParameters(request, claim));
  for (const path of pathsOf(request.rawPath, verification.paths)) {
    const canonical = canonicalRequestText({ method: request.method, path, query, headers, payloadHash: verification.payloadHash });
    const expected = hmacSha256(key, stringToSign(claim.timestamp, claim.scope, canonical)).toString('hex');
    if (equalSignatures(expected, claim.signature)) {
      signingKeys.keep(accessKeyId, secret, claim.scope, key);
      return key;
    }
  }
  throw new Refusal('mismatch');
}

/**
 * What S3 asks for beyond a right signature: a life for what is presigned, and that headers which change what it does are signed; those that only
 * describe the signature or the client need not be.
 */
export function checkCoverageS3V4(request: SignedRequest, claim: ClaimV4): void {
  if (claim.place === 'query' && claim.lifeMs === undefined) throw new Refusal('badQuery', missingQueryParameters);
  const free = new Set(['x-amz-user-agent', ...(claim.place === 'header' ? ['x-amz-date', 'x-amz-content-sha256'] : [])]);
  const unsigned = Object.keys(request.headers)
    .filter((name) => name.startsWith('x-amz-') && !free.has(name) && !claim.signedHeaders.includes(name));
  if (unsigned.length > 0) throw new Refusal('unsignedHeaders', `There were headers present in the request which were not signed: ${unsigned.join(', ')}`);
}

const missingQueryParameters = 'Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, '
  + 'X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.';

const isoText = (instant: number): string => new Date(instant).toISOString();

type Malformed = 'badHeader' | 'badQuery';

function authorizationFields(authorization: string): ReadonlyMap<string, string> {
  const rest = authorization.slice(algorithmV4.length);
  if (!/^[ \t]/.test(rest)) throw new Refusal('badScheme', 'Unsupported Authorization Type');
  const fields = new Map<string, string>();
  for (const part of rest.split(',')) {
    const equals = part.indexOf('=');
    const name = part.slice(0, Math.max(equals, 0)).trim();
    if (equals === -1 || fields.has(name)) throw new Refusal('badHeader', 'The authorization header must consist of distinct name=value fields.');
    fields.set(name, part.slice(equals + 1).trim());
  }
  for (const name of ['Credential', 'SignedHeaders', 'Signature']) {
    if (!fields.has(name)) throw new Refusal('badHeader', `Authorization header requires '${name}' parameter.`);
  }
  return fields;
}

function readCredential(text: string, malformed: Malformed): { accessKeyId: string; scope: Scope } {
  const parts = text.split('/');
  const terminator = parts.pop();
  const service = parts.pop() ?? '';
  const region = parts.pop() ?? '';
  const date = parts.pop() ?? '';
  const accessKeyId = parts.join('/');
  if (terminator !== 'aws4_request' || !/^\d{8}$/.test(date) || accessKeyId === '') {
    throw new Refusal(malformed, 'the Credential is malformed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request"');
  }
  return { accessKeyId, scope: { date, region, service } };
}

function readSignedHeaders(text: string, malformed: Malformed): readonly string[] {
  const names = text.split(';');
  const distinct = new Set(names).size === names.length;
  if (names.length > signedHeadersMax || !distinct || !names.every((name) => /^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(name))) {
    throw new Refusal(malformed, 'SignedHeaders must be distinct lower-case header names, separated by semicolons.');
  }
  if (!names.includes('host')) throw new Refusal('unsignedHeaders', "'Host' must be a 'SignedHeader' in the AWS Authorization.");
  return names;
}

function readSignature(text: string, malformed: Malformed): string {
  if (/^[0-9a-f]{64}$/.test(text)) return text;
  if (text === '') throw new Refusal(malformed, 'The Signature is empty.');
  throw new Refusal('mismatch');
}

function readLifeMs(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,10}$/.test(text)) throw new Refusal('badQuery', 'X-Amz-Expires should be a number');
  const seconds = Number(text);
  if (seconds > presignedLifeSecondsMax) throw new Refusal('badQuery', 'X-Amz-Expires must be less than a week (in seconds) that is 604800');
  return seconds * 1000;
}

/** `x-amz-date`, else Date, in either form; the string to sign has it in AWS's. */
function headerDate(request: SignedRequest): { timestamp: string; instant: number } {
  const text = headerValue(request, 'x-amz-date') ?? headerValue(request, 'date');
  if (text === undefined) throw new Refusal('noDate', "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.");
  const instant = parseAmzDate(text) ?? parseHttpDate(text);
  if (instant === undefined) throw new Refusal('noDate', 'Date must be in ISO-8601 basic format.');
  return { timestamp: isAmzDate(text) ? text : formatAmzDate(instant), instant };
}

function checkScopeDate(claim: ClaimV4): void {
  if (claim.timestamp.startsWith(claim.scope.date)) return;
  throw new Refusal(claim.place === 'header' ? 'badHeader' : 'badQuery', 'Date in Credential scope does not match the date of the request.');
}

/** A listed header that did not arrive counts as empty: some servers and proxies drop `Expect`. */
function canonicalHeaders(request: SignedRequest, claim: ClaimV4): (readonly [string, string])[] {
  const values = headerValues(request);
  return claim.signedHeaders.map((name) => [name, canonicalHeaderValue(values.get(name) ?? [])]);
}

function signedParameters(request: SignedRequest, claim: ClaimV4): Parameter[] {
  const parameters = parseParameters(request.rawQuery);
  return claim.place === 'header' ? parameters : parameters.filter(({ name }) => name !== 'X-Amz-Signature');
}

/** The canonical path, and the few others that clients sign in its place. All of them mean the same resource. */
function pathsOf(rawPath: string, encoding: 'once' | 'twice'): ReadonlySet<string> {
  if (encoding === 'once') return new Set([canonicalPathOnce(rawPath), rawPath]);
  const path = canonicalPathTwice(rawPath);
  return new Set([path, rawPath, path.endsWith('/') ? path.slice(0, -1) || '/' : `${path}/`]);
}
