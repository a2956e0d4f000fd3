// A request as signatures see it: the bytes of the wire, before anything was decoded, merged or made pretty.
// Text is in the form of node:http, one character for each byte.
import type { IncomingHttpHeaders } from 'node:http';

export interface SignedRequest {
  readonly method: string;
  /** As on the wire, undecoded, without the query: `/bucket/a%20b`. */
  readonly rawPath: string;
  /** Without the question mark; empty when there is none. */
  readonly rawQuery: string;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turn, as node:http has them: `headers` drops repetitions, which may be signed. */
  readonly rawHeaders: readonly string[];
  /** EC2: the whole form body. */
  readonly body?: Buffer;
  /** Instead of `body`, where the signature version needs no more than its digest, in hexadecimal. */
  readonly bodySha256?: string;
  /** S3: the bucket that the Host header names, when the request is addressed in virtual-host style. */
  readonly virtualHostBucket?: string;
}

/** Of a session; presigned requests of S3's first scheme have it as a parameter of this name. */
export const securityTokenHeader = 'x-amz-security-token';

/** All values of each header by its lower-case name, in the order of the wire, each trimmed. */
export function headerValues(request: SignedRequest): ReadonlyMap<string, readonly string[]> {
  const values = new Map<string, string[]>();
  for (let index = 0; index + 1 < request.rawHeaders.length; index += 2) {
    const name = (request.rawHeaders[index] ?? '').toLowerCase();
    const value = (request.rawHeaders[index + 1] ?? '').trim();
    const list = values.get(name);
    if (list === undefined) values.set(name, [value]);
    else list.push(value);
  }
  return values;
}

/** The value of a header that has a meaning of its own: the first, as the services read it. */
export function headerValue(request: SignedRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}
