// Verifies S3's first signature scheme (`AWS key:signature`, called version 2), in the Authorization header or in the query. It covers
// the verb, Content-MD5, Content-Type, the date, the x-amz- headers and the resource with its sub-resources, and not the body.
import { createHmac } from 'node:crypto';
import { canonicalPathOnce } from './canonical-v4.ts';
import { equalSignatures } from './compare.ts';
import { parseParameters, percentDecode } from './percent-encoding.ts';
import { Refusal } from './refusal.ts';
import { headerValue, headerValues, securityTokenHeader, type SignedRequest } from './request.ts';
import { clockWindowMs, parseAmzDate, parseHttpDate } from './timestamps.ts';

/** What a request says of its own signature. */
export interface ClaimS3V2 {
  readonly version: 's3v2';
  readonly place: 'header' | 'query';
  readonly accessKeyId: string;
  readonly signature: string;
  /** The line of the date in the string to sign; empty where x-amz-date replaces it. */
  readonly dateLine: string;
  readonly instant: number;
}

/** The parameters that boto, botocore and s3cmd sign; others are no part of the resource, as at AWS. */
const subResources = new Set([
  'accelerate', 'acl', 'analytics', 'cors', 'defaultObjectAcl', 'delete', 'inventory', 'lifecycle', 'location', 'logging', 'metrics', 'notification',
  'object-lock', 'partNumber', 'policy', 'replication', 'requestPayment', 'restore', 'select', 'select-type', 'storageClass', 'tagging', 'torrent',
  'uploadId', 'uploads', 'versionId', 'versioning', 'versions', 'website',
  'response-cache-control', 'response-content-disposition', 'response-content-encoding', 'response-content-language', 'response-content-type',
  'response-expires',
]);

/** The claim in the Authorization header. Undefined: there is none of this scheme. */
export function readHeaderS3V2(request: SignedRequest): ClaimS3V2 | undefined {
  const authorization = request.headers.authorization;
  if (authorization === undefined || !/^AWS[ \t]/.test(authorization)) return undefined;
  const credential = authorization.slice(3).trim();
  const colon = credential.lastIndexOf(':');
  if (colon <= 0 || colon === credential.length - 1) throw new Refusal('badScheme', 'AWS authorization header is invalid. Expected AwsAccessKeyId:signature');
  const [amzDate, date] = [headerValue(request, 'x-amz-date'), headerValue(request, 'date')];
  const text = amzDate ?? date ?? '';
  const instant = parseHttpDate(text) ?? parseAmzDate(text);
  if (instant === undefined) throw new Refusal('noDate');
  return {
    version: 's3v2', place: 'header', accessKeyId: credential.slice(0, colon), signature: credential.slice(colon + 1),
    dateLine: amzDate === undefined ? text : '', instant,
  };
}

/** The claim in the query. Undefined: the query is not signed in this scheme. */
export function readQueryS3V2(request: SignedRequest): ClaimS3V2 | undefined {
  const given = new Map<string, string>();
  for (const { name, value } of parseParameters(request.rawQuery)) {
    if (!['AWSAccessKeyId', 'Expires', 'Signature'].includes(name)) continue;
    if (given.has(name)) throw new Refusal('badQuery', `${name} is given more than once`);
    given.set(name, value);
  }
  const [accessKeyId, expires, signature] = [given.get('AWSAccessKeyId'), given.get('Expires'), given.get('Signature')];
  if (accessKeyId === undefined && signature === undefined) return undefined;
  if (!accessKeyId || !expires || !signature) {
    throw new Refusal('badQuery', 'Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters');
  }
  if (!/^\d{1,12}$/.test(expires)) throw new Refusal('badQuery', `Invalid date (should be seconds since epoch): ${expires}`);
  return { version: 's3v2', place: 'query', accessKeyId, signature, dateLine: expires, instant: Number(expires) * 1000 };
}

/** Refuses a request from another time. */
export function checkTimeS3V2(claim: ClaimS3V2, now: number): void {
  if (claim.place === 'query') {
    if (claim.instant < now) throw new Refusal('expired');
  } else if (Math.abs(claim.instant - now) > clockWindowMs) {
    throw new Refusal('skewed');
  }
}

/** Refuses a signature that the secret did not make. Clients differ in escaping the path and the values of sub-resources: both forms are tried. */
export function verifyS3V2(request: SignedRequest, claim: ClaimS3V2, secret: string): void {
  const start = `${request.method}\n${header(request, 'content-md5')}\n${header(request, 'content-type')}\n${claim.dateLine}\n${amzHeaders(request, claim)}`;
  const bucket = request.virtualHostBucket === undefined ? '' : `/${request.virtualHostBucket}`;
  for (const path of pathsOf(request.rawPath)) {
    for (const query of new Set([subResourceText(request.rawQuery, 'decoded'), subResourceText(request.rawQuery, 'raw')])) {
      const expected = createHmac('sha1', secret).update(`${start}${bucket}${path}${query}`, 'latin1').digest('base64');
      if (equalSignatures(expected, claim.signature)) return;
    }
  }
  throw new Refusal('mismatch');
}

const header = (request: SignedRequest, name: string): string => headerValue(request, name)?.trim() ?? '';

/** A presigned request has the token of its session among its parameters, and signs it as the header that it stands for. */
function amzHeaders(request: SignedRequest, claim: ClaimS3V2): string {
  const token = claim.place === 'query' ? parseParameters(request.rawQuery).find(({ name }) => name === securityTokenHeader) : undefined;
  return [...new Map([...headerValues(request), ...(token === undefined ? [] : [[token.name, [token.value]] as const])])]
    .filter(([name]) => name.startsWith('x-amz-'))
    .toSorted(([left], [right]) => (left < right ? -1 : 1))
    .map(([name, values]) => `${name}:${values.join(',')}\n`)
    .join('');
}

/** As sent and as escaped by S3's rules; a bucket's own path also with the slash that botocore signs and does not send. */
function pathsOf(rawPath: string): ReadonlySet<string> {
  const bucketSlash = /^\/[^/]+$/.test(rawPath) ? [`${rawPath}/`] : [];
  return new Set([rawPath, canonicalPathOnce(rawPath), ...bucketSlash]);
}

/** `?acl`, `?partNumber=1&uploadId=x`: the sub-resources in the order of their names. */
function subResourceText(rawQuery: string, values: 'decoded' | 'raw'): string {
  const parts: { name: string; text: string }[] = [];
  for (const pair of rawQuery.split('&')) {
    const [rawName = '', ...rest] = pair.split('=');
    const name = percentDecode(rawName, 'space');
    if (!subResources.has(name)) continue;
    const raw = rest.join('=');
    const value = values === 'raw' ? raw : percentDecode(raw, 'space');
    parts.push({ name, text: raw === '' ? name : `${name}=${value}` });
  }
  const text = parts.toSorted((left, right) => (left.name < right.name ? -1 : Number(left.name > right.name))).map((part) => part.text).join('&');
  return text === '' ? '' : `?${text}`;
}
