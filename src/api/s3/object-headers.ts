// The headers that describe an object: taken from a put, kept, and given back.
import type { ContentHeaders } from '../../db/schema/objects.ts';
import type { StoredObject } from '../../db/objects.ts';
import { header, type S3Call } from './call.ts';
import { encryptionHeader } from './encryption.ts';
import { fail } from './errors.ts';

const kept = ['content-type', 'cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires'] as const;
const metadataPrefix = 'x-amz-meta-';
const metadataBytesMax = 2048;

/** What would change the meaning of a put and is not built: refused, never dropped in silence. */
const unbuilt = [
  'x-amz-website-redirect-location', 'x-amz-object-lock-mode', 'x-amz-object-lock-retain-until-date', 'x-amz-object-lock-legal-hold',
  'x-amz-write-offset-bytes',
];

export function refuseUnbuiltHeaders(call: S3Call): void {
  const found = unbuilt.find((name) => call.headers[name] !== undefined);
  if (found !== undefined) fail('NotImplemented', `A header you provided implies functionality that is not implemented: ${found}`);
  const storageClass = call.headers['x-amz-storage-class'];
  if (storageClass !== undefined && storageClass !== 'STANDARD') fail('InvalidStorageClass', 'The storage class you specified is not valid');
}

/** `aws-chunked` is the framing of the request, not a property of the content. */
export function contentHeaders(call: S3Call): ContentHeaders {
  const found: ContentHeaders = {};
  for (const name of kept) {
    const value = header(call, name);
    const text = name === 'content-encoding' ? withoutFraming(value) : value;
    if (text !== undefined && text !== '') found[name] = text;
  }
  return { 'content-type': 'binary/octet-stream', ...found };
}

const withoutFraming = (value: string | undefined): string | undefined =>
  value?.split(',').map((coding) => coding.trim()).filter((coding) => coding !== 'aws-chunked').join(', ');

export function userMetadata(call: S3Call): Record<string, string> {
  const found: [string, string][] = [];
  let size = 0;
  for (const name of Object.keys(call.headers)) {
    if (!name.startsWith(metadataPrefix) || name.length === metadataPrefix.length) continue;
    const short = name.slice(metadataPrefix.length);
    const value = header(call, name) ?? '';
    // Node gives one character for each byte.
    size += short.length + value.length;
    found.push([short, value]);
  }
  if (size > metadataBytesMax) fail('MetadataTooLarge', 'Your metadata headers exceed the maximum allowed metadata size');
  return Object.fromEntries(found);
}

/** One of parts' checksums has their number at its end. */
export const checksumTypeOf = (checksums: Readonly<Record<string, string>>): 'COMPOSITE' | 'FULL_OBJECT' =>
  (Object.values(checksums).some((value) => value.includes('-')) ? 'COMPOSITE' : 'FULL_OBJECT');

/** With the kind of checksum that they are. */
export function checksumHeaders(checksums: Readonly<Record<string, string>>, type = checksumTypeOf(checksums)): Record<string, string> {
  const found = Object.entries(checksums);
  if (found.length === 0) return {};
  return { ...Object.fromEntries(found.map(([name, value]) => [`x-amz-checksum-${name}`, value])), 'x-amz-checksum-type': type };
}

/** Everything but the length, the range and the checksums. */
export function headersOf(object: StoredObject): Record<string, string> {
  const headers: Record<string, string> = { ...object.headers, ...encryptionHeader(object) };
  for (const [name, value] of Object.entries(object.metadata)) headers[metadataPrefix + name] = value;
  headers['etag'] = `"${object.etag}"`;
  headers['last-modified'] = object.modifiedAt.toUTCString();
  headers['accept-ranges'] = 'bytes';
  return headers;
}

const overridable = ['content-type', 'content-language', 'expires', 'cache-control', 'content-disposition', 'content-encoding'];

/** `response-content-type=…` and its like, which only a signed request may use. */
export function responseOverrides(call: S3Call): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of overridable) {
    const value = call.query.get(`response-${name}`);
    if (value === undefined) continue;
    if (call.principal === undefined) fail('InvalidRequest', 'Request specific response headers cannot be used for anonymous GET requests.');
    // oxlint-disable-next-line no-control-regex
    if (/[\u0000-\u0008\u000a-\u001f\u007f]/.test(value)) fail('InvalidArgument', `response-${name} has a character that no header may have.`);
    found[name] = Buffer.from(value, 'utf8').toString('latin1');
  }
  return found;
}
