// The canonical request of SigV4 and the string to sign, used in both directions: to check what others signed and to sign ourselves.
import { createHash } from 'node:crypto';
import { percentDecode, percentEncodePath } from './percent-encoding.ts';
import { scopeText, type Scope } from './signing-keys.ts';

export const algorithmV4 = 'AWS4-HMAC-SHA256';
export const emptySha256 = createHash('sha256').digest('hex');

export interface CanonicalRequest {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Name and canonical value, in the order that the signature lists them. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly payloadHash: string;
}

export function canonicalRequestText(request: CanonicalRequest): string {
  const headerLines = request.headers.map(([name, value]) => `${name}:${value}\n`).join('');
  const names = request.headers.map(([name]) => name).join(';');
  return `${request.method}\n${request.path}\n${request.query}\n${headerLines}\n${names}\n${request.payloadHash}`;
}

export function stringToSign(timestamp: string, scope: Scope, canonicalRequest: string): string {
  const digest = createHash('sha256').update(canonicalRequest, 'latin1').digest('hex');
  return `${algorithmV4}\n${timestamp}\n${scopeText(scope)}\n${digest}`;
}

/** Several values of one header are joined by commas, runs of blanks become one. */
export function canonicalHeaderValue(values: readonly string[]): string {
  return values.map((value) => value.trim().replaceAll(/[ \t]+/g, ' ')).join(',');
}

/** S3 signs the path encoded once, whatever the client escaped on the wire. */
export function canonicalPathOnce(rawPath: string): string {
  return percentEncodePath(percentDecode(rawPath === '' ? '/' : rawPath));
}

/** Everybody else signs the once-encoded path encoded again, with empty and dotted segments resolved. */
export function canonicalPathTwice(rawPath: string): string {
  const segments: string[] = [];
  for (const segment of rawPath.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const trailing = segments.length > 0 && rawPath.endsWith('/') ? '/' : '';
  return percentEncodePath(`/${segments.join('/')}${trailing}`);
}
