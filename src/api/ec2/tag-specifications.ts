// AWS's rules for tags, and the tags that a creating action is given with it.
import type { TagText } from '../../db/tags.ts';
import { fail } from './action.ts';

export const tagsPerResourceMax = 50;
const keyLengthMax = 128;
const valueLengthMax = 256;

/** A tag as the reader gives it: a client may leave out either part. */
export interface GivenTag {
  readonly Key?: string | undefined;
  readonly Value?: string | undefined;
}

/** Checked tags, a missing value as empty text. */
export function checkTags(given: readonly GivenTag[]): TagText[] {
  if (given.length > tagsPerResourceMax) fail('TagLimitExceeded', `The maximum number of tags for a resource is ${tagsPerResourceMax}.`);
  const keys = new Set<string>();
  return given.map(({ Key = '', Value = '' }) => {
    if (Key === '') fail('InvalidParameterValue', 'Tag keys cannot be empty.');
    if (Key.length > keyLengthMax) fail('InvalidParameterValue', `Tag key exceeds the maximum length of ${keyLengthMax} characters`);
    if (Value.length > valueLengthMax) fail('InvalidParameterValue', `Tag value exceeds the maximum length of ${valueLengthMax} characters`);
    if (Key.toLowerCase().startsWith('aws:')) fail('InvalidParameterValue', `Tag keys starting with 'aws:' are reserved for internal use`);
    if (keys.has(Key)) fail('InvalidParameterValue', `Duplicate tag key '${Key}' specified.`);
    keys.add(Key);
    return { Key, Value };
  });
}

export interface TagSpecification {
  readonly ResourceType?: string | undefined;
  readonly Tags?: readonly GivenTag[] | undefined;
}

/** The tags for the created kind of resource. `also` are kinds that the action takes tags for though nothing of theirs is created. */
export function tagsFor(specifications: readonly TagSpecification[] | undefined, resourceType: string, also: readonly string[] = []): TagText[] {
  const given: GivenTag[] = [];
  for (const specification of specifications ?? []) {
    const type = specification.ResourceType ?? '';
    if (type === resourceType) given.push(...(specification.Tags ?? []));
    else if (!also.includes(type)) fail('InvalidParameterValue', `'${type.slice(0, 60)}' is not a valid taggable resource type for this operation.`);
  }
  return checkTags(given);
}
