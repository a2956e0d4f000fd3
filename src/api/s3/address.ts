// Which bucket and key a request means: path style (`/bucket/key`) or virtual-host style (`bucket.domain/key`). A key is text
// only, decoded once and never normalised: `../x` and `a//b` are ordinary keys.
import { isIP } from 'node:net';
import { fail } from './errors.ts';

export interface Address {
  /** Empty: the service itself. */
  readonly bucket: string;
  /** Empty: the bucket itself. */
  readonly key: string;
}

const keyBytesMax = 1024;

/** The bucket in front of one of the domains; undefined for the domain itself, an IP address or a foreign name: path style then. */
export function bucketOfHost(host: string | undefined, domains: readonly string[]): string | undefined {
  if (host === undefined || host.startsWith('[')) return undefined;
  const name = host.replace(/:\d*$/, '').replace(/\.$/, '').toLowerCase();
  if (isIP(name) !== 0 || domains.includes(name)) return undefined;
  // The longest domain first: `b.s3.localhost` is the bucket `b`, not `b.s3`.
  const domain = domains.toSorted((one, other) => other.length - one.length).find((candidate) => name.endsWith(`.${candidate}`));
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1);
}

/** Path and query as on the wire. Some clients send an absolute URL in the request line. */
export function splitUrl(url: string): { rawPath: string; rawQuery: string } {
  const relative = url.replace(/^https?:\/\/[^/?]*/i, '');
  const at = relative.indexOf('?');
  const rawPath = at < 0 ? relative : relative.slice(0, at);
  return { rawPath: rawPath === '' ? '/' : rawPath, rawQuery: at < 0 ? '' : relative.slice(at + 1) };
}

export function addressOf(rawPath: string, hostBucket: string | undefined): Address {
  const path = decode(rawPath.slice(1));
  const slash = path.indexOf('/');
  const bucket = hostBucket ?? (slash < 0 ? path : path.slice(0, slash));
  const key = hostBucket === undefined ? (slash < 0 ? '' : path.slice(slash + 1)) : path;
  if (bucket === '' && key !== '') fail('InvalidURI', 'Could not parse the specified URI.');
  checkKey(key);
  return { bucket, key };
}

export function checkKey(key: string): void {
  if (Buffer.byteLength(key) > keyBytesMax) fail('KeyTooLongError', 'Your key is too long');
  if (key.includes('\0')) fail('InvalidArgument', 'A key must not contain a NUL character.');
}

/** Query parameters: `+` is a space here, unlike in the path. The first of several counts. */
export function queryOf(rawQuery: string): ReadonlyMap<string, string> {
  const query = new Map<string, string>();
  for (const pair of rawQuery.split('&', 200)) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decode((at < 0 ? pair : pair.slice(0, at)).replaceAll('+', ' '));
    const value = at < 0 ? '' : decode(pair.slice(at + 1).replaceAll('+', ' '));
    if (value.includes('\0')) fail('InvalidArgument', `The parameter ${name.slice(0, 60)} must not contain a NUL character.`);
    if (!query.has(name)) query.set(name, value);
  }
  return query;
}

/** Percent-decodes strictly: malformed escapes and invalid UTF-8 are refused, so that no two spellings of one key can differ. */
export function decode(text: string): string {
  try {
    // Clients that send raw UTF-8 in the request line reach us as one character for each byte.
    // oxlint-disable-next-line no-control-regex
    return decodeURIComponent(text.replace(/[\u0080-\u00ff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`));
  } catch {
    return fail('InvalidURI', 'Could not parse the specified URI.');
  }
}

/** As AWS does for `encoding-type=url`, with `%20` for a space: clients decode it with either rule. */
export const encodeForListing = (text: string): string =>
  encodeURIComponent(text).replaceAll('%2F', '/').replace(/[!'()]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);

export const isBucketName = (name: string): boolean =>
  /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !/\.\.|\.-|-\.|^xn--|^sthree-|-s3alias$|--ol-s3$/.test(name) && isIP(name) === 0;
