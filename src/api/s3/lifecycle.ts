// Lifecycle rules: read strictly when they are put, so that the sweeper can take every rule that is stored at its word. Transitions to other
// storage classes are not built, as there are none.
import type { LifecycleRule } from '../../db/lifecycle.ts';
import type { Tags } from '../../db/schema/objects.ts';
import { parseIsoDate } from '../../auth/timestamps.ts';
import { fail } from './errors.ts';
import { element, malformed, type Xml, type XmlElement } from './xml.ts';

const rulesMax = 1000;
const idLengthMax = 255;
const dayMs = 86_400_000;

export function parseLifecycle(configuration: XmlElement, newId: () => string): LifecycleRule[] {
  const rules = configuration.all('Rule').map((rule) => parseRule(rule, newId));
  if (rules.length === 0 || rules.length > rulesMax) malformed();
  const ids = new Set(rules.map((rule) => rule.id));
  if (ids.size < rules.length) fail('InvalidArgument', 'Rule ID must be unique. Found same ID for more than one rule');
  return rules;
}

function parseRule(rule: XmlElement, newId: () => string): LifecycleRule {
  const status = rule.textOf('Status')?.trim();
  if (status !== 'Enabled' && status !== 'Disabled') return malformed();
  if (rule.all('Transition').length + rule.all('NoncurrentVersionTransition').length > 0) {
    fail('NotImplemented', 'There is one storage class only: transitions are not implemented.');
  }
  const id = rule.textOf('ID')?.trim() ?? '';
  if (id.length > idLengthMax) fail('InvalidArgument', 'ID length should not exceed allowed limit of 255');
  const about = { id: id === '' ? newId() : id, isEnabled: status === 'Enabled', ...filterOf(rule) };
  const parsed = { ...about, ...expirationOf(rule), ...noncurrentOf(rule), ...abortOf(rule) };
  if (Object.keys(parsed).every((name) => !actions.has(name))) fail('InvalidRequest', 'At least one action needs to be specified in a rule.');
  const narrow = Object.keys(parsed.tags).length > 0 || parsed.sizeAbove !== undefined || parsed.sizeBelow !== undefined;
  if (narrow && (parsed.abortDays !== undefined || parsed.removesLoneMarkers === true)) {
    fail('InvalidRequest', 'AbortIncompleteMultipartUpload and ExpiredObjectDeleteMarker cannot be specified with Tags or sizes.');
  }
  return parsed;
}

const actions: ReadonlySet<string> = new Set(['days', 'date', 'removesLoneMarkers', 'noncurrentDays', 'abortDays']);

type Filter = Pick<LifecycleRule, 'prefix' | 'isBare' | 'tags' | 'sizeAbove' | 'sizeBelow'>;

/** Old clients put a bare `Prefix` into the rule. */
function filterOf(rule: XmlElement): Filter {
  const [filter] = rule.all('Filter');
  const bare = rule.textOf('Prefix');
  if (filter === undefined) return { prefix: bare ?? malformed(), isBare: true, tags: {} };
  if (bare !== undefined) malformed();
  const [and] = filter.all('And');
  const within = and ?? filter;
  const tags = within.all('Tag').map((tag) => [tag.textOf('Key') ?? malformed(), tag.textOf('Value') ?? malformed()] as const);
  const [above, below] = ['ObjectSizeGreaterThan', 'ObjectSizeLessThan'].map((name) => wholeOf(within, name, 0));
  const said = tags.length + [within.textOf('Prefix'), above, below].filter((value) => value !== undefined).length;
  if (and === undefined && said > 1) malformed();
  const found: Tags = Object.fromEntries(tags);
  if (Object.keys(found).length < tags.length) fail('InvalidRequest', 'Duplicate Tag Keys are not allowed.');
  return {
    prefix: within.textOf('Prefix') ?? '', tags: found,
    ...(above === undefined ? {} : { sizeAbove: above }), ...(below === undefined ? {} : { sizeBelow: below }),
  };
}

function expirationOf(rule: XmlElement): Pick<LifecycleRule, 'days' | 'date' | 'removesLoneMarkers'> {
  const [expiration] = rule.all('Expiration');
  if (expiration === undefined) return {};
  const days = wholeOf(expiration, 'Days', 1);
  const date = expiration.textOf('Date')?.trim();
  const marker = expiration.textOf('ExpiredObjectDeleteMarker')?.trim();
  if ([days, date, marker].filter((value) => value !== undefined).length !== 1) malformed();
  if (days !== undefined) return { days };
  if (marker !== undefined) return { removesLoneMarkers: marker === 'true' ? true : marker === 'false' ? false : malformed() };
  const instant = parseIsoDate(/T/.test(date ?? '') ? (date ?? '') : `${date}T00:00:00Z`) ?? malformed();
  if (instant % dayMs !== 0) fail('InvalidArgument', '\'Date\' must be at midnight GMT');
  return { date: new Date(instant).toISOString() };
}

function noncurrentOf(rule: XmlElement): Pick<LifecycleRule, 'noncurrentDays' | 'noncurrentKept'> {
  const [noncurrent] = rule.all('NoncurrentVersionExpiration');
  if (noncurrent === undefined) return {};
  const kept = wholeOf(noncurrent, 'NewerNoncurrentVersions', 1);
  return { noncurrentDays: wholeOf(noncurrent, 'NoncurrentDays', 1) ?? malformed(), ...(kept === undefined ? {} : { noncurrentKept: kept }) };
}

function abortOf(rule: XmlElement): Pick<LifecycleRule, 'abortDays'> {
  const [abort] = rule.all('AbortIncompleteMultipartUpload');
  return abort === undefined ? {} : { abortDays: wholeOf(abort, 'DaysAfterInitiation', 1) ?? malformed() };
}

function wholeOf(parent: XmlElement, name: string, min: number): number | undefined {
  const text = parent.textOf(name)?.trim();
  if (text === undefined) return undefined;
  if (!/^-?\d{1,15}$/.test(text)) malformed();
  return Number(text) >= min ? Number(text) : fail('InvalidArgument', `'${name}' for this action must be a positive integer`);
}

export const lifecycleXml = (rules: readonly LifecycleRule[]): Xml[] => rules.map((rule) => element('Rule', [
  element('ID', rule.id), filterXml(rule), element('Status', rule.isEnabled ? 'Enabled' : 'Disabled'),
  rule.days === undefined ? undefined : element('Expiration', [element('Days', rule.days)]),
  rule.date === undefined ? undefined : element('Expiration', [element('Date', rule.date)]),
  rule.removesLoneMarkers === undefined ? undefined : element('Expiration', [element('ExpiredObjectDeleteMarker', rule.removesLoneMarkers)]),
  rule.noncurrentDays === undefined ? undefined : element('NoncurrentVersionExpiration', [
    element('NoncurrentDays', rule.noncurrentDays), rule.noncurrentKept === undefined ? undefined : element('NewerNoncurrentVersions', rule.noncurrentKept),
  ]),
  rule.abortDays === undefined ? undefined : element('AbortIncompleteMultipartUpload', [element('DaysAfterInitiation', rule.abortDays)]),
]));

function filterXml({ prefix, isBare, tags, sizeAbove, sizeBelow }: LifecycleRule): Xml {
  if (isBare === true) return element('Prefix', prefix);
  const parts = [
    ...(prefix === '' ? [] : [element('Prefix', prefix)]),
    ...Object.entries(tags).map(([key, value]) => element('Tag', [element('Key', key), element('Value', value)])),
    ...(sizeAbove === undefined ? [] : [element('ObjectSizeGreaterThan', sizeAbove)]),
    ...(sizeBelow === undefined ? [] : [element('ObjectSizeLessThan', sizeBelow)]),
  ];
  if (parts.length === 0) return element('Filter', [element('Prefix')]);
  return element('Filter', parts.length === 1 ? parts : [element('And', parts)]);
}
