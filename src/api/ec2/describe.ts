// What every Describe action has in common: ids that must exist, filters (exact, wildcards, tags) and pages. Handlers load what the
// caller may see, say how each filter reads an item, and get back the page. Nothing here knows a resource.
import { ApiError } from '../../lib/errors.ts';
import type { FilterValue, Filters } from './action.ts';
import type { ErrorCode } from './errors.ts';
import { timestampText } from './xml.ts';

export interface Tag {
  readonly Key: string;
  readonly Value: string;
}

/** The members that Describe inputs share; each action's input has some of them. */
export interface DescribeInput {
  readonly Filters?: readonly { readonly Name?: string | undefined; readonly Values?: readonly string[] | undefined }[] | undefined;
  readonly MaxResults?: number | undefined;
  readonly NextToken?: string | undefined;
}

/** Ids (or names) that the client asked for by name: each must exist. */
export interface Wanted<Item> {
  readonly values: readonly string[] | undefined;
  /** How an item is known by these; the item's id by default. */
  readonly of?: (item: Item) => string;
  /** The whole form of an id; another text is refused with `code` before anything is looked for. */
  readonly form?: { readonly pattern: RegExp; readonly code: ErrorCode };
  readonly notFound: { readonly code: ErrorCode; readonly message: (missing: readonly string[]) => string };
  /** Ids of what was the caller's until lately: they are no error, and show nothing. */
  readonly gone?: readonly string[];
}

export interface PageLimits {
  readonly min: number;
  readonly max: number;
  /** True where AWS refuses MaxResults together with ids. */
  readonly excludesIds?: boolean;
}

export interface DescribeOptions<Item> {
  readonly input: DescribeInput;
  /** All that the caller may see. */
  readonly items: readonly Item[];
  /** Unique and lasting: also the order of the answer and the cursor of pages, unless `cursor` says otherwise. */
  readonly id: (item: Item) => string;
  readonly cursor?: (item: Item) => string;
  readonly ids?: Wanted<Item> | readonly Wanted<Item>[];
  readonly filters?: Filters<Item>;
  /** Makes `tag:KEY`, `tag-key` and `tag-value` work. */
  readonly tags?: (item: Item) => readonly Tag[];
  /** Absent: the action has no pages. */
  readonly page?: PageLimits;
}

export interface Page<Item> {
  readonly items: readonly Item[];
  readonly NextToken: string | undefined;
}

/** The items that the client asked for: existing ids, then filters, then the page. */
export function describe<Item>(options: DescribeOptions<Item>): Page<Item> {
  checkPage(options);
  let items = options.items;
  for (const ids of wantedOf(options)) items = selectWanted(items, ids, options.id);
  const matches = compileFilters(options);
  return pageOf(matches === undefined ? items : items.filter(matches), options);
}

const isList = <Item>(ids: Wanted<Item> | readonly Wanted<Item>[]): ids is readonly Wanted<Item>[] => Array.isArray(ids);

function wantedOf<Item>({ ids }: DescribeOptions<Item>): readonly Wanted<Item>[] {
  if (ids === undefined) return [];
  return isList(ids) ? ids : [ids];
}

/** Items by id, each once, whatever the number of times it was asked for. */
function selectWanted<Item>(items: readonly Item[], wanted: Wanted<Item>, id: (item: Item) => string): readonly Item[] {
  const values = wanted.values;
  if (values === undefined || values.length === 0) return items;
  for (const value of values) if (wanted.form !== undefined) checkForm(value, wanted.form);
  const of = wanted.of ?? id;
  const missing = new Set(values);
  for (const value of wanted.gone ?? []) missing.delete(value);
  const asked = new Set(values);
  const found = items.filter((item) => {
    const key = of(item);
    missing.delete(key);
    return asked.has(key);
  });
  if (missing.size > 0) throw new ApiError(wanted.notFound.code, wanted.notFound.message([...missing]));
  return found;
}

/** Refuses a text that cannot be an id, in AWS's words. */
export function checkForm(value: string, form: { readonly pattern: RegExp; readonly code: ErrorCode }): void {
  if (!form.pattern.test(value)) throw new ApiError(form.code, `Invalid id: "${value.slice(0, 60)}"`);
}

/** The form of AWS's ids: the prefix, then 8 or 17 hexadecimal digits. */
export const idForm = (prefix: string): RegExp => new RegExp(`^${prefix}-([0-9a-f]{8}|[0-9a-f]{17})$`);

/** "The instance ID 'i-1' does not exist", or with several "The instance IDs 'i-1, i-2' do not exist". */
export const doesNotExist = (noun: string) => (missing: readonly string[]): string => {
  const listed = missing.map((id) => id.slice(0, 255)).join(', ');
  return missing.length === 1 ? `The ${noun} '${listed}' does not exist` : `The ${noun}s '${listed}' do not exist`;
};

// Filters

type Matcher<Item> = (item: Item) => boolean;

const filterValuesMax = 200;

/** All filters must match; of one filter's values, any. Undefined when there is nothing to filter by. */
function compileFilters<Item>(options: DescribeOptions<Item>): Matcher<Item> | undefined {
  const given = options.input.Filters ?? [];
  if (given.length === 0) return undefined;
  const matchers = given.map((filter, position) => {
    const name = filter.Name ?? '';
    if (name === '') throw new ApiError('MissingParameter', `The request must contain the parameter Filter.${position + 1}.Name`);
    const read = readerOf(name, options);
    const values = filter.Values ?? [];
    if (values.length === 0) throw new ApiError('MissingParameter', `The request must contain the parameter Filter.${position + 1}.Value`);
    if (values.length > filterValuesMax) {
      throw new ApiError('FilterLimitExceeded', `The filter '${name.slice(0, 60)}' has more than ${filterValuesMax} values`);
    }
    const isWanted = anyOf(values);
    return (item: Item) => {
      const found = read(item);
      return Array.isArray(found) ? found.some((value) => isWanted(value)) : isWanted(found as FilterValue);
    };
  });
  return (item) => matchers.every((matches) => matches(item));
}

function readerOf<Item>(name: string, options: DescribeOptions<Item>): (item: Item) => FilterValue | readonly FilterValue[] {
  const read = options.filters !== undefined && Object.hasOwn(options.filters, name) ? options.filters[name] : undefined;
  if (read !== undefined) return read;
  const { tags } = options;
  if (tags !== undefined && name.startsWith('tag:') && name.length > 4) {
    const key = name.slice(4);
    return (item) => tags(item).filter((tag) => tag.Key === key).map((tag) => tag.Value);
  }
  if (tags !== undefined && name === 'tag-key') return (item) => tags(item).map((tag) => tag.Key);
  if (tags !== undefined && name === 'tag-value') return (item) => tags(item).map((tag) => tag.Value);
  throw new ApiError('InvalidParameterValue', `The filter '${name.slice(0, 120)}' is invalid`);
}

/** Does a value equal, or match as a pattern, one of these? Values are case-sensitive. */
function anyOf(values: readonly string[]): (value: FilterValue) => boolean {
  const exact = new Set<string>();
  const patterns: ((text: string) => boolean)[] = [];
  for (const value of values) {
    if (/[*?\\]/.test(value)) patterns.push(wildcard(value));
    else exact.add(value);
  }
  return (value) => {
    if (value === undefined || value === null) return false;
    const text = value instanceof Date ? timestampText(value) : String(value);
    return exact.has(text) || patterns.some((matches) => matches(text));
  };
}

const anyText = Symbol('*');
const anyCharacter = Symbol('?');

/** `*` is any text, `?` one character, a backslash takes the next one literally. Time is at most the product of both lengths. */
export function wildcard(pattern: string): (text: string) => boolean {
  const parts: (string | symbol)[] = [];
  const characters = [...pattern];
  for (let index = 0; index < characters.length; index += 1) {
    const character = characters[index] ?? '';
    if (character === '\\' && index + 1 < characters.length) parts.push(characters[(index += 1)] ?? '');
    else if (character === '*') parts.push(anyText);
    else parts.push(character === '?' ? anyCharacter : character);
  }
  return (text) => matchParts(parts, [...text]);
}

function matchParts(parts: readonly (string | symbol)[], text: readonly string[]): boolean {
  let part = 0;
  let position = 0;
  let retry: { part: number; position: number } | undefined;
  while (position < text.length) {
    const wanted = parts[part];
    if (wanted === anyText) {
      retry = { part: (part += 1), position };
    } else if (wanted === anyCharacter || (wanted !== undefined && wanted === text[position])) {
      part += 1;
      position += 1;
    } else if (retry !== undefined) {
      position = retry.position += 1;
      part = retry.part;
    } else {
      return false;
    }
  }
  while (parts[part] === anyText) part += 1;
  return part === parts.length;
}

// Pages

const tokenPrefix = 'n1.';

function checkPage<Item>(options: DescribeOptions<Item>): void {
  const { page, input } = options;
  if (page === undefined) return;
  const hasIds = wantedOf(options).some((ids) => (ids.values?.length ?? 0) > 0);
  if (input.MaxResults === undefined) return;
  if (page.excludesIds === true && hasIds) {
    throw new ApiError('InvalidParameterCombination', 'The parameter MaxResults cannot be used with a list of ids in the same request');
  }
  if (input.MaxResults < page.min || input.MaxResults > page.max) {
    throw new ApiError(
      'InvalidParameterValue', `Value ( ${input.MaxResults} ) for parameter maxResults is invalid. Expecting a value between ${page.min} and ${page.max}.`,
    );
  }
}

function pageOf<Item>(items: readonly Item[], options: DescribeOptions<Item>): Page<Item> {
  const cursor = options.cursor ?? options.id;
  const keyed = items.map((item) => ({ item, key: cursor(item) })).toSorted((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
  const token = options.page === undefined || options.input.NextToken === '' ? undefined : options.input.NextToken;
  const after = token === undefined ? undefined : readToken(token);
  const from = after === undefined ? 0 : firstAfter(keyed, after);
  const size = options.page === undefined ? undefined : options.input.MaxResults;
  const to = size === undefined ? keyed.length : Math.min(keyed.length, from + size);
  const last = keyed[to - 1];
  return {
    items: keyed.slice(from, to).map(({ item }) => item),
    NextToken: to < keyed.length && last !== undefined ? writeToken(last.key) : undefined,
  };
}

function firstAfter(keyed: readonly { key: string }[], after: string): number {
  const index = keyed.findIndex(({ key }) => key > after);
  return index === -1 ? keyed.length : index;
}

/** A cursor, not a secret: it names the last item seen, so that items which come and go between pages are neither lost nor repeated. */
const writeToken = (cursor: string): string => tokenPrefix + Buffer.from(cursor, 'utf8').toString('base64url');

function readToken(token: string): string {
  const cursor = token.startsWith(tokenPrefix) ? Buffer.from(token.slice(tokenPrefix.length), 'base64url').toString('utf8') : '';
  if (cursor === '' || writeToken(cursor) !== token) throw new ApiError('InvalidNextToken', 'The token is not valid');
  return cursor;
}
