// The condition keys that policies may ask for, and what a request says to each. Names are compared in any case, as AWS does.
import type { Tags } from '../../../db/schema/objects.ts';
import { header, type Requester } from '../call.ts';
import { headerTags } from '../tags.ts';

/** The values of a key; none: the request does not have it. */
type Reader = (asked: Asked) => readonly string[];

export interface Asked {
  readonly call: Requester;
  /** Of the object that is there, where the action is about one. */
  readonly existingTags?: Tags | undefined;
  /** The tags that a request brings in its body. */
  readonly requestTags?: Tags | undefined;
}

const some = (value: string | undefined): string[] => (value === undefined || value === '' ? [] : [value]);
const ofHeader = (name: string): Reader => ({ call }) => some(header(call, name));
const ofQuery = (name: string): Reader => ({ call }) => some(call.query.get(name));

const readers: Readonly<Record<string, Reader>> = {
  'aws:currenttime': ({ call }) => [call.clock.date().toISOString()],
  'aws:epochtime': ({ call }) => [String(Math.floor(call.clock.now() / 1000))],
  'aws:principalaccount': ({ call }) => some(call.principal?.projectId),
  'aws:principalarn': ({ call }) => (call.principal === undefined ? [] : [`arn:aws:iam::${call.principal.projectId}:user/${call.principal.userName}`]),
  'aws:principaltype': ({ call }) => [call.principal === undefined ? 'Anonymous' : 'User'],
  'aws:referer': ofHeader('referer'),
  'aws:securetransport': ({ call }) => [String(call.isSecure)],
  'aws:sourceip': ({ call }) => some(call.remoteAddress),
  'aws:useragent': ofHeader('user-agent'),
  'aws:userid': ({ call }) => some(call.principal?.userId),
  'aws:username': ({ call }) => some(call.principal?.userName),
  's3:authtype': ({ call }) => (call.principal === undefined ? [] : [call.headers.authorization === undefined ? 'REST-QUERY-STRING' : 'REST-HEADER']),
  's3:signatureversion': ({ call }) => signatureVersion(call),
  's3:delimiter': ofQuery('delimiter'),
  's3:locationconstraint': () => [],
  's3:max-keys': ofQuery('max-keys'),
  's3:prefix': ofQuery('prefix'),
  's3:requestobjecttagkeys': (asked) => Object.keys(requestTags(asked)),
  's3:versionid': ofQuery('versionId'),
  's3:x-amz-acl': ofHeader('x-amz-acl'),
  's3:x-amz-content-sha256': ofHeader('x-amz-content-sha256'),
  's3:x-amz-copy-source': ({ call }) => some(header(call, 'x-amz-copy-source')?.replace(/^\//, '')),
  's3:x-amz-grant-full-control': ofHeader('x-amz-grant-full-control'),
  's3:x-amz-grant-read': ofHeader('x-amz-grant-read'),
  's3:x-amz-grant-read-acp': ofHeader('x-amz-grant-read-acp'),
  's3:x-amz-grant-write': ofHeader('x-amz-grant-write'),
  's3:x-amz-grant-write-acp': ofHeader('x-amz-grant-write-acp'),
  's3:x-amz-metadata-directive': ofHeader('x-amz-metadata-directive'),
  's3:x-amz-server-side-encryption': ofHeader('x-amz-server-side-encryption'),
  's3:x-amz-storage-class': ofHeader('x-amz-storage-class'),
};

const existingTag = 's3:existingobjecttag/';
const requestTag = 's3:requestobjecttag/';

/** As policies may write them, in lower case. */
export const conditionKeys: readonly string[] = [...Object.keys(readers), `${existingTag}KEY`, `${requestTag}KEY`].toSorted();

export function conditionKeyIsKnown(key: string): boolean {
  const name = key.toLowerCase();
  return Object.hasOwn(readers, name) || [existingTag, requestTag].some((prefix) => name.startsWith(prefix) && name.length > prefix.length);
}

/** `key` in lower case. Tags' own names are compared in any case too. */
export function conditionValues(key: string, asked: Asked): readonly string[] {
  if (key.startsWith(existingTag)) return tagValue(asked.existingTags ?? {}, key.slice(existingTag.length));
  if (key.startsWith(requestTag)) return tagValue(requestTags(asked), key.slice(requestTag.length));
  return Object.hasOwn(readers, key) ? (readers[key]?.(asked) ?? []) : [];
}

const requestTags = ({ call, requestTags: inBody }: Asked): Tags => inBody ?? headerTags(call);

const tagValue = (tags: Tags, name: string): string[] => Object.entries(tags).flatMap(([key, value]) => (key.toLowerCase() === name ? [value] : []));

function signatureVersion(call: Requester): readonly string[] {
  if (call.principal === undefined) return [];
  const isV4 = header(call, 'authorization')?.startsWith('AWS4-') ?? call.query.has('X-Amz-Signature');
  return [isV4 ? 'AWS4-HMAC-SHA256' : 'AWS'];
}
