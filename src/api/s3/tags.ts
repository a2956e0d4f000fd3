// Tags of buckets and objects: read from XML, from the header of a put or from a form, under AWS's limits, and written as XML.
import type { Tags } from '../../db/schema/objects.ts';
import { header, requireRelease, type S3Call } from './call.ts';
import { fail } from './errors.ts';
import { document, element, malformed, parseXml, type XmlElement } from './xml.ts';

/** Since this release objects have tags; an earlier one leaves those of the object that it replaces. */
export const taggingRelease = '0.3.0';

export const tagsBytesMax = 64 * 1024;
export const objectTagsMax = 10;
export const bucketTagsMax = 50;
const keyLengthMax = 128;
const valueLengthMax = 256;

/** The body of PutObjectTagging and PutBucketTagging. */
export async function xmlTags(body: Buffer, tagsMax: number): Promise<Tags> {
  return tagsIn(await parseXml(body, 'Tagging'), tagsMax);
}

export function tagsIn(tagging: XmlElement, tagsMax: number): Tags {
  const set = tagging.all('TagSet');
  if (set.length !== 1) malformed();
  return checkTags((set[0] ?? malformed()).all('Tag').map((tag) => [tag.textOf('Key') ?? malformed(), tag.textOf('Value') ?? malformed()]), tagsMax);
}

/** `x-amz-tagging: a=1&b=2`. */
export function headerTags(call: Pick<S3Call, 'headers'>): Tags {
  const text = header(call, 'x-amz-tagging');
  if (text === undefined || text === '') return {};
  return checkTags(text.split('&').map((pair): [string, string] => {
    const [key = '', ...value] = pair.split('=');
    return [decodeTag(key), decodeTag(value.join('='))];
  }), objectTagsMax);
}

/** The tags that a put asks for. */
export async function askedTags(call: S3Call): Promise<Tags> {
  const tags = headerTags(call);
  if (Object.keys(tags).length > 0) await requireRelease(call, taggingRelease);
  return tags;
}

function decodeTag(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return fail('InvalidArgument', 'The header \'x-amz-tagging\' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates.');
  }
}

function checkTags(pairs: readonly (readonly [string, string])[], tagsMax: number): Tags {
  if (pairs.length > tagsMax) {
    const [code, what] = tagsMax === objectTagsMax ? ['BadRequest', 'Object'] as const : ['InvalidTag', 'Bucket'] as const;
    fail(code, `${what} tag count cannot be greater than ${tagsMax}`);
  }
  const tags = new Map<string, string>();
  for (const [key, value] of pairs) {
    if (key === '' || Array.from(key).length > keyLengthMax || !isTagText(key)) fail('InvalidTag', 'The TagKey you have provided is invalid');
    if (Array.from(value).length > valueLengthMax || !isTagText(value)) fail('InvalidTag', 'The TagValue you have provided is invalid');
    if (/^aws:/i.test(key)) fail('InvalidTag', 'System tags cannot be added/updated by requester');
    if (tags.has(key)) fail('InvalidTag', 'Cannot provide multiple Tags with the same key');
    tags.set(key, value);
  }
  return Object.fromEntries(tags);
}

const isTagText = (text: string): boolean => /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u.test(text);

/** In the order of their keys: the database keeps none. */
export function taggingDocument(tags: Tags): string {
  const sorted = Object.entries(tags).toSorted(([one], [other]) => Buffer.compare(Buffer.from(one), Buffer.from(other)));
  return document('Tagging', [element('TagSet', sorted.map(([key, value]) => element('Tag', [element('Key', key), element('Value', value)])))]);
}

/** GET tells how many there are. */
export const tagCountHeader = (tags: Tags): Record<string, string> => {
  const count = Object.keys(tags).length;
  return count === 0 ? {} : { 'x-amz-tagging-count': String(count) };
};
