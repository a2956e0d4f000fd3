// Signs a request of our own with Signature Version 4: how novact's components speak to the objectstore, as any client would.
import { canonicalHeaderValue, canonicalPathOnce, canonicalPathTwice, canonicalRequestText, algorithmV4, emptySha256, stringToSign } from './canonical-v4.ts';
import { canonicalParameters, parseParameters } from './percent-encoding.ts';
import { deriveSigningKey, hmacSha256, scopeText } from './signing-keys.ts';
import { formatAmzDate } from './timestamps.ts';

export interface RequestToSign {
  readonly method: string;
  readonly url: URL;
  /** Signed as well; names in any case. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  /** `s3` signs the path encoded once and sends the payload's digest. */
  readonly service: string;
  /** Of the body, or `UNSIGNED-PAYLOAD`. Default: of no body. */
  readonly payloadSha256?: string;
  readonly date: Date;
}

/** The headers to send, lower-case: those given, `host`, `x-amz-date`, `x-amz-content-sha256` for S3, and `authorization`. */
export function signV4(request: RequestToSign): Record<string, string> {
  const { url, service, payloadSha256: payloadHash = emptySha256 } = request;
  const timestamp = formatAmzDate(request.date.getTime());
  const scope = { date: timestamp.slice(0, 8), region: request.region, service };
  const headers: Record<string, string> = {
    ...Object.fromEntries(Object.entries(request.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value])),
    host: url.host,
    'x-amz-date': timestamp,
    ...(service === 's3' ? { 'x-amz-content-sha256': payloadHash } : {}),
  };
  const names = Object.keys(headers).toSorted();
  const canonical = canonicalRequestText({
    method: request.method,
    path: service === 's3' ? canonicalPathOnce(url.pathname) : canonicalPathTwice(url.pathname),
    query: canonicalParameters(parseParameters(url.search.slice(1))),
    headers: names.map((name) => [name, canonicalHeaderValue([headers[name] ?? ''])]),
    payloadHash,
  });
  const key = deriveSigningKey(request.secretAccessKey, scope);
  const signature = hmacSha256(key, stringToSign(timestamp, scope, canonical)).toString('hex');
  const credential = `${request.accessKeyId}/${scopeText(scope)}`;
  return { ...headers, authorization: `${algorithmV4} Credential=${credential}, SignedHeaders=${names.join(';')}, Signature=${signature}` };
}
