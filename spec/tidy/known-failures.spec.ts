// The lists of what foreign test suites are known to find: each line has its reason, and a run is judged against them both ways.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { judge, parseKnownFailures, type Outcome } from '../support/known-failures.ts';

const listed = readFileSync(resolve(import.meta.dirname, '../conformance/s3-known-failures.txt'), 'utf8');

describe('the known failures of ceph/s3-tests', () => {
  it('have a reason each, once, and in order', () => {
    const { markers, tests } = parseKnownFailures(listed);
    expect(markers).toEqual(markers.toSorted());
    expect([...tests]).toEqual([...tests].toSorted());
  });
});

describe('a list of known failures', () => {
  const known = parseKnownFailures('# why\n\nmarker slow: it takes a day or two\ntest_a.py::test_one: what it asks for is not built\n');
  const outcomes = (entries: Readonly<Record<string, Outcome>>) => new Map(Object.entries(entries));

  it('takes nothing without a reason, and nothing twice', () => {
    expect(known).toEqual({ markers: ['slow'], tests: new Set(['test_a.py::test_one']) });
    expect(() => parseKnownFailures('test_a.py::test_one:\n')).toThrow('neither a marker nor a test');
    expect(() => parseKnownFailures('test_a.py::test_one: no\n')).toThrow('neither a marker nor a test');
    expect(() => parseKnownFailures('marker x: a good reason\nmarker x: a good reason\n')).toThrow('twice: x');
  });

  it('excuses what is in it, and nothing else', () => {
    expect(judge(outcomes({ 'test_a.py::test_one': 'failed', 'test_a.py::test_two': 'passed', 'test_a.py::test_three': 'skipped' }), known, true))
      .toEqual({ passed: 1, known: 1, faults: [] });
    expect(judge(outcomes({ 'test_a.py::test_one': 'failed', 'test_a.py::test_two': 'failed' }), known, true).faults)
      .toEqual(['test_a.py::test_two fails, and is not in the list']);
  });

  it('loses what passes, what is skipped, and what is gone', () => {
    expect(judge(outcomes({ 'test_a.py::test_one': 'passed' }), known, true).faults).toEqual(['test_a.py::test_one passes: take it out of the list']);
    expect(judge(outcomes({ 'test_a.py::test_one': 'skipped' }), known, true).faults).toEqual(['test_a.py::test_one is skipped: take it out of the list']);
    expect(judge(outcomes({ 'test_a.py::test_two': 'passed' }), known, true).faults).toEqual(['test_a.py::test_one is in the list, and was not run']);
    expect(judge(outcomes({ 'test_a.py::test_two': 'passed' }), known, false).faults).toEqual([]);
  });
});
