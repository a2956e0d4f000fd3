// The order of keys and its intervals.
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { afterPrefix, commonPrefix, resumeAfter } from '../../../src/db/key-order.ts';

const text = fc.string({ unit: 'binary', maxLength: 8 });
const compare = (one: string, other: string) => Buffer.compare(Buffer.from(one), Buffer.from(other));

describe('what comes after a prefix', () => {
  it('is above every key with the prefix and not above any other larger key', () => {
    fc.assert(fc.property(text.filter((prefix) => prefix !== ''), text, (prefix, rest) => {
      const end = afterPrefix(prefix);
      // What an expectation returns is no verdict for the property.
      if (end === undefined) return void expect([...prefix].every((point) => point === '\u{10ffff}')).toBe(true);
      expect(compare(prefix + rest, end)).toBeLessThan(0);
      if (!rest.startsWith(prefix) && compare(rest, prefix) > 0) expect(compare(rest, end)).toBeGreaterThanOrEqual(0);
    }));
  });

  it.each([['a/', 'a0'], ['a', 'b'], ['\ud7ff', '\ue000'], ['a\u{10ffff}', 'b'], ['\u{10ffff}', undefined], ['', undefined]])('%j: %j', (prefix, end) => {
    expect(afterPrefix(prefix)).toBe(end);
  });
});

describe('a common prefix', () => {
  it.each([['a/b/c', '', '/', 'a/'], ['a/b/c', 'a/', '/', 'a/b/'], ['a/b', 'a/', '/', undefined], ['a', '', '', undefined],
    ['a--b', '', '--', 'a--']])('of %j behind %j by %j is %j', (key, prefix, delimiter, common) => {
    expect(commonPrefix(key, prefix, delimiter)).toBe(common);
  });

  it('as a marker skips all that is behind it', () => {
    expect(resumeAfter('a/', '', '/')).toEqual({ from: 'a0' });
    expect(resumeAfter('a/b', '', '/')).toEqual({ after: 'a/b' });
    expect(resumeAfter('a/', 'a/', '/')).toEqual({ after: 'a/' });
  });
});
