import { describe as group, expect, it } from 'vitest';
import { describe, doesNotExist, idForm, wildcard, type DescribeInput } from '../../../../src/api/ec2/describe.ts';

interface Item {
  readonly id: string;
  readonly state: string;
  readonly groups: readonly string[];
  readonly tags: readonly { Key: string; Value: string }[];
  readonly since?: Date;
}

const items: readonly Item[] = [
  {
    id: 'i-00000003', state: 'running', groups: ['web', 'default'], tags: [{ Key: 'Name', Value: 'three' }],
    since: new Date(Date.UTC(2026, 0, 1, 0, 0, 0, 5)),
  },
  { id: 'i-00000001', state: 'running', groups: ['default'], tags: [{ Key: 'Name', Value: 'one' }, { Key: 'env', Value: '' }] },
  { id: 'i-00000002', state: 'stopped', groups: [], tags: [] },
];

const ask = (input: DescribeInput, ids?: readonly string[]) => describe<Item>({
  input,
  items,
  id: (item) => item.id,
  ids: {
    values: ids, form: { pattern: idForm('i'), code: 'InvalidInstanceID.Malformed' },
    notFound: { code: 'InvalidInstanceID.NotFound', message: doesNotExist('instance ID') },
  },
  filters: {
    'instance-state-name': (item) => item.state, 'group-name': (item) => item.groups, 'launch-time': (item) => item.since,
    count: (item) => item.groups.length,
  },
  tags: (item) => item.tags,
  page: { min: 1, max: 1000, excludesIds: true },
});

const idsOf = (input: DescribeInput, ids?: readonly string[]) => ask(input, ids).items.map((item) => item.id.slice(-1)).join('');
const filter = (...given: [string, ...string[]][]) => ({ Filters: given.map(([Name, ...Values]) => ({ Name, Values })) });

group('filters', () => {
  it.each([
    [[['instance-state-name', 'running']], '13'],
    [[['instance-state-name', 'running', 'stopped']], '123'],
    [[['instance-state-name', 'running'], ['group-name', 'web']], '3'],
    [[['instance-state-name', 'Running']], ''],
    [[['instance-state-name', 'run*']], '13'],
    [[['instance-state-name', 's?opped']], '2'],
    [[['instance-state-name', 'run\\*']], ''],
    [[['tag:Name', 't*', 'one']], '13'],
    [[['tag:name', 'one']], ''],
    [[['tag:env', '']], '1'],
    [[['tag-key', 'env', 'Name']], '13'],
    [[['tag-value', 'three']], '3'],
    [[['launch-time', '2026-01-01T00:00:00.000Z']], '3'],
    [[['launch-time', '*']], '3'],
    [[['count', '2']], '3'],
  ] as [[string, ...string[]][], string][])('%j finds %s', (given, found) => {
    expect(idsOf(filter(...given))).toBe(found);
  });

  it.each(['instance-state', 'toString', '__proto__', 'tag:', ''])('of an unknown name are refused: %s', (name) => {
    const code = name === '' ? 'MissingParameter' : 'InvalidParameterValue';
    expect(() => ask(filter([name, 'x']))).toThrow(expect.objectContaining({ code }));
  });

  it('need a value, and not more than 200', () => {
    expect(() => ask(filter(['group-name']))).toThrow(
      expect.objectContaining({ code: 'MissingParameter', message: expect.stringContaining('Filter.1.Value') }),
    );
    expect(() => ask(filter(['group-name', ...Array.from({ length: 201 }, String)]))).toThrow(expect.objectContaining({ code: 'FilterLimitExceeded' }));
  });
});

group('wildcards', () => {
  it.each([
    ['*', '', true], ['?', '', false], ['a*b*c', 'aXXbYYc', true], ['a*b*c', 'aXXbYY', false], ['**', 'x', true],
    ['\\*', '*', true], ['\\?', 'x', false], ['\\\\', '\\', true], ['a\\', 'a\\', true], ['?', '😀', true], ['*ab', 'aab', true], ['[a-z]+', 'b', false],
  ])('%s on %s: %s', (pattern, text, expected) => {
    expect(wildcard(pattern)(text)).toBe(expected);
  });

  it('cannot be made slow', () => {
    const startedAt = performance.now();
    expect(wildcard(`${'*a'.repeat(120)}b`)('a'.repeat(250))).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(2_000); // trying all ways would take years
  });
});

group('ids', () => {
  it('that exist are found once each', () => {
    expect(idsOf({}, ['i-00000002', 'i-00000001', 'i-00000002'])).toBe('12');
  });

  it('that do not exist are named', () => {
    expect(() => ask({}, ['i-00000001', 'i-0badbadb'])).toThrow(
      expect.objectContaining({ code: 'InvalidInstanceID.NotFound', message: "The instance ID 'i-0badbadb' does not exist" }),
    );
    expect(() => ask({}, ['i-0badbadb', 'i-0badbadc'])).toThrow(expect.objectContaining({ message: "The instance IDs 'i-0badbadb, i-0badbadc' do not exist" }));
  });

  it('of another form are malformed', () => {
    expect(() => ask({}, ['ami-00000001'])).toThrow(expect.objectContaining({ code: 'InvalidInstanceID.Malformed', message: 'Invalid id: "ami-00000001"' }));
  });

  it('that a filter hides are no error', () => {
    expect(idsOf(filter(['instance-state-name', 'stopped']), ['i-00000001'])).toBe('');
  });
});

group('pages', () => {
  it('follow each other until all is told', () => {
    const first = ask({ MaxResults: 2 });
    expect(first.items.map((item) => item.id)).toEqual(['i-00000001', 'i-00000002']);
    const second = ask({ MaxResults: 2, ...(first.NextToken === undefined ? {} : { NextToken: first.NextToken }) });
    expect(second.items.map((item) => item.id)).toEqual(['i-00000003']);
    expect(second.NextToken).toBeUndefined();
  });

  it('that are full and last have no token', () => {
    expect(ask({ MaxResults: 3 }).NextToken).toBeUndefined();
  });

  it.each(['x', 'n1.', 'n1.%', 'n1.aWQ=', 'n2.aWQ'])('refuse a token that is none of ours: %s', (NextToken) => {
    expect(() => ask({ NextToken })).toThrow(expect.objectContaining({ code: 'InvalidNextToken' }));
  });

  it.each([0, -1, 1001])('refuse the size %i', (MaxResults) => {
    expect(() => ask({ MaxResults })).toThrow(expect.objectContaining({ code: 'InvalidParameterValue' }));
  });

  it('do not go with ids', () => {
    expect(() => ask({ MaxResults: 5 }, ['i-00000001'])).toThrow(expect.objectContaining({ code: 'InvalidParameterCombination' }));
  });
});
