// Listings of a bucket: version 1 (marker) and version 2 (tokens).
import type { ListedObject, ObjectPage } from '../../../db/list-objects.ts';
import { listObjects } from '../../../db/list-objects.ts';
import { afterPrefix } from '../../../db/key-order.ts';
import { requireBucket } from '../access.ts';
import { encodeForListing } from '../address.ts';
import { xmlTime, type Operation, type S3Call } from '../call.ts';
import { fail } from '../errors.ts';
import { document, element, type Xml } from '../xml.ts';

const keysShownMax = 1000;

/** What all forms of listing share. */
export interface ListQuery {
  readonly prefix: string;
  readonly delimiter: string;
  readonly limit: number;
  /** Keys and prefixes as they appear in the answer. */
  readonly show: (text: string) => string;
  readonly encoding: Xml | undefined;
}

export function listQuery(call: S3Call, limitName: string): ListQuery {
  const encoding = call.query.get('encoding-type');
  if (encoding !== undefined && encoding !== 'url') fail('InvalidArgument', 'Invalid Encoding Method specified in Request');
  const delimiter = call.query.get('delimiter') ?? '';
  const prefix = call.query.get('prefix') ?? '';
  if ([delimiter, prefix].some((text) => text.includes('\0'))) fail('InvalidArgument', 'A prefix or delimiter must not contain a NUL character.');
  if (delimiter !== '' && afterPrefix(delimiter) === undefined) fail('InvalidArgument', 'That delimiter is not supported.');
  return {
    prefix, delimiter, limit: limitOf(call, limitName),
    show: encoding === 'url' ? encodeForListing : (text) => text,
    encoding: encoding === undefined ? undefined : element('EncodingType', encoding),
  };
}

function limitOf(call: S3Call, name: string): number {
  const text = call.query.get(name);
  if (text === undefined || text === '') return keysShownMax;
  if (!/^\d{1,10}$/.test(text) || Number(text) > 2 ** 31 - 1) fail('InvalidArgument', `Provided ${name} not an integer or within integer range`);
  return Math.min(Number(text), keysShownMax);
}

export const markerOf = (call: S3Call, name: string): string => {
  const marker = call.query.get(name) ?? '';
  return marker.includes('\0') ? fail('InvalidArgument', `${name} must not contain a NUL character.`) : marker;
};

export const listObjectsV1: Operation = async (call) => {
  await requireBucket(call, 's3:ListBucket');
  const query = listQuery(call, 'max-keys');
  const marker = markerOf(call, 'marker');
  const page = await listObjects(call.db, { bucket: call.bucket, marker, ...query });
  return {
    body: document('ListBucketResult', [
      element('Name', call.bucket),
      element('Prefix', query.show(query.prefix)),
      element('Marker', query.show(marker)),
      element('MaxKeys', query.limit),
      query.delimiter === '' ? undefined : element('Delimiter', query.show(query.delimiter)),
      query.encoding,
      element('IsTruncated', page.next !== undefined),
      // Without a delimiter clients take the last key, as AWS documents.
      page.next === undefined || query.delimiter === '' ? undefined : element('NextMarker', query.show(page.next)),
      ...contents(page, query, true),
    ]),
  };
};

export const listObjectsV2: Operation = async (call) => {
  await requireBucket(call, 's3:ListBucket');
  const query = listQuery(call, 'max-keys');
  const token = call.query.get('continuation-token');
  const startAfter = markerOf(call, 'start-after');
  const marker = token === undefined ? startAfter : markerOfToken(token);
  const page = await listObjects(call.db, { bucket: call.bucket, marker, ...query });
  return {
    body: document('ListBucketResult', [
      element('Name', call.bucket),
      element('Prefix', query.show(query.prefix)),
      token === undefined ? undefined : element('ContinuationToken', token),
      startAfter === '' ? undefined : element('StartAfter', query.show(startAfter)),
      element('KeyCount', page.objects.length + page.commonPrefixes.length),
      element('MaxKeys', query.limit),
      query.delimiter === '' ? undefined : element('Delimiter', query.show(query.delimiter)),
      query.encoding,
      element('IsTruncated', page.next !== undefined),
      page.next === undefined ? undefined : element('NextContinuationToken', tokenOf(page.next)),
      ...contents(page, query, call.query.get('fetch-owner') === 'true'),
    ]),
  };
};

function contents(page: ObjectPage, query: ListQuery, withOwner: boolean): Xml[] {
  const objects = page.objects.map((object) => element('Contents', [
    element('Key', query.show(object.key)), ...details(object), withOwner ? owner(object.projectId) : undefined,
  ]));
  return [...objects, ...prefixes(page.commonPrefixes, query)];
}

export const details = (object: Pick<ListedObject, 'modifiedAt' | 'etag' | 'sizeBytes'>): Xml[] => [
  element('LastModified', xmlTime(object.modifiedAt)), element('ETag', `"${object.etag}"`),
  element('Size', object.sizeBytes), element('StorageClass', 'STANDARD'),
];

export const prefixes = (found: readonly string[], query: ListQuery): Xml[] =>
  found.map((prefix) => element('CommonPrefixes', [element('Prefix', query.show(prefix))]));

export const owner = (projectId: string, name = 'Owner'): Xml => element(name, [element('ID', projectId), element('DisplayName', projectId)]);

/** Opaque to clients: the last key or prefix shown. */
const tokenOf = (marker: string): string => `1${Buffer.from(marker, 'utf8').toString('base64url')}`;

function markerOfToken(token: string): string {
  const marker = Buffer.from(token.slice(1), 'base64url').toString('utf8');
  if (marker === '' || tokenOf(marker) !== token || marker.includes('\0')) fail('InvalidArgument', 'The continuation token provided is incorrect');
  return marker;
}
