// Requests signed by others' code (aws4, @smithy/signature-v4) and by the few lines here for the schemes that no package signs any more.
import { createHash, createHmac } from 'node:crypto';
import { SignatureV4, type SignatureV4Init } from '@smithy/signature-v4';
// @ts-expect-error: the package has no types.
import aws4 from 'aws4';
import { percentEncode } from '../../src/auth/percent-encoding.ts';
import type { SignedRequest } from '../../src/auth/request.ts';
import { fixtureNow, requestOf, type AuthFixture, type RequestParts } from './auth-fixture.ts';

type Key = Pick<AuthFixture, 'accessKeyId' | 'secretAccessKey'>;

export const host = '127.0.0.1:8773';
const encode = (text: string): string => percentEncode(Buffer.from(text).toString('latin1'));

export const amzDate = '20261122T140754Z';

/** A hash, or an HMAC when there is a secret, in the form that the SDK's signer wants. */
class Sha256 {
  #hash;
  constructor(secret?: string | ArrayBuffer | Uint8Array) {
    this.#hash = secret === undefined ? createHash('sha256') : createHmac('sha256', typeof secret === 'string' ? secret : Buffer.from(secret as Uint8Array));
  }
  update(data: string | ArrayBuffer | Uint8Array): void {
    this.#hash.update(typeof data === 'string' ? data : Buffer.from(data as Uint8Array));
  }
  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }
  reset(): void {}
}

const smithy = (key: Key, service: string) => new SignatureV4({
  credentials: key, region: 'nova', service, sha256: Sha256 as unknown as NonNullable<SignatureV4Init['sha256']>,
  uriEscapePath: service !== 's3', applyChecksum: service === 's3',
});

function smithyRequest(parts: RequestParts) {
  const [path = '/', query = ''] = parts.target.split('?');
  return {
    method: parts.method ?? 'GET', protocol: 'http:', hostname: '127.0.0.1', port: 8773, path, body: parts.body,
    query: Object.fromEntries(new URLSearchParams(query)), headers: { host, ...parts.headers },
  };
}

/** In the Authorization header, by the SDK for JavaScript. */
export async function signBySmithy(key: Key, service: string, parts: RequestParts): Promise<SignedRequest> {
  const signed = await smithy(key, service).sign(smithyRequest(parts), { signingDate: new Date(fixtureNow) });
  return requestOf({ ...parts, headers: signed.headers });
}

/** In the query, by the SDK for JavaScript. */
export async function presignBySmithy(key: Key, service: string, parts: RequestParts, expiresIn: number): Promise<SignedRequest> {
  const headers = service === 's3' ? { 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD', ...parts.headers } : parts.headers;
  const signed = await smithy(key, service).presign(smithyRequest({ ...parts, headers: headers ?? {} }), { signingDate: new Date(fixtureNow), expiresIn });
  const query = Object.entries(signed.query ?? {}).map(([name, value]) => `${encode(name)}=${encode(String(value))}`);
  return requestOf({ ...parts, target: `${parts.target.split('?')[0]}?${query.join('&')}`, headers: signed.headers });
}

/** In the Authorization header, or in the query, by aws4. */
export function signByAws4(key: Key, service: string, parts: RequestParts, place: 'header' | 'query' = 'header'): SignedRequest {
  const options = {
    service, region: 'nova', method: parts.method ?? 'GET', path: parts.target, signQuery: place === 'query',
    ...(parts.body === undefined ? {} : { body: parts.body }),
    headers: { Host: host, ...(place === 'header' ? { 'X-Amz-Date': amzDate } : {}), ...parts.headers } as Record<string, string>,
  };
  if (place === 'query') options.path += `${options.path.includes('?') ? '&' : '?'}X-Amz-Date=${amzDate}`;
  const signed = aws4.sign(options, key) as unknown as { path: string; headers: Record<string, string | number> };
  const headers = Object.fromEntries(Object.entries(signed.headers).map(([name, value]) => [name, String(value)]));
  return requestOf({ ...parts, target: signed.path, headers });
}

/** EC2's version 2, in the query of a GET or in the form of a POST. */
export function signV2(key: Key, parameters: Readonly<Record<string, string>>, options: {
  method?: 'GET' | 'POST'; digest?: 'sha1' | 'sha256'; path?: string; signedPath?: string; signedHost?: string; time?: Record<string, string>;
} = {}): SignedRequest {
  const { method = 'POST', digest = 'sha256', path = '/' } = options;
  const all = {
    ...parameters, AWSAccessKeyId: key.accessKeyId, SignatureVersion: '2', SignatureMethod: digest === 'sha1' ? 'HmacSHA1' : 'HmacSHA256',
    ...(options.time ?? { Timestamp: '2026-11-22T14:07:54Z' }),
  };
  const query = Object.entries(all).toSorted(([left], [right]) => (left < right ? -1 : 1)).map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&');
  const text = `${method}\n${options.signedHost ?? host}\n${options.signedPath ?? path}\n${query}`;
  const signature = encodeURIComponent(createHmac(digest, key.secretAccessKey).update(text).digest('base64'));
  const form = `${query}&Signature=${signature}`;
  return method === 'GET' ? requestOf({ target: `${path}?${form}`, headers: { Host: host } })
    : requestOf({ method, target: path, headers: { Host: host, 'Content-Type': 'application/x-www-form-urlencoded' }, body: form });
}

/** S3's first scheme, in the header: `lines` is the string to sign up to the resource. */
export function signS3V2(key: Key, parts: RequestParts, lines: string, resource: string): SignedRequest {
  const signature = createHmac('sha1', key.secretAccessKey).update(`${lines}${resource}`).digest('base64');
  return requestOf({ ...parts, headers: { Host: host, ...parts.headers, Authorization: `AWS ${key.accessKeyId}:${signature}` } });
}
