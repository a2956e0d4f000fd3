// What of a foreign test suite is known to fail, line by line with its reason, and what a run says against it. The list may only shrink: a test that
// fails and is not in it is a fault, and one in it that passes is taken out.

export interface KnownFailures {
  /** Families of tests that are not run, by pytest's marker. */
  readonly markers: readonly string[];
  /** `test_s3.py::test_name`. */
  readonly tests: ReadonlySet<string>;
}

export type Outcome = 'passed' | 'failed' | 'skipped';

export interface Verdict {
  readonly passed: number;
  /** Failed, as the list says. */
  readonly known: number;
  /** Sentences, one for each test that is otherwise than the list says. Empty: the run is good. */
  readonly faults: readonly string[];
}

const line = /^(?:marker (?<marker>\w+)|(?<test>\w+\.py::[^\s:]+)): \S.{9,}$/;

/** Throws for a line without a reason, or that is there twice. `#` begins a comment. */
export function parseKnownFailures(text: string): KnownFailures {
  const markers = new Set<string>();
  const tests = new Set<string>();
  for (const entry of text.split('\n').filter((one) => one.trim() !== '' && !one.startsWith('#'))) {
    const { marker, test } = line.exec(entry)?.groups ?? {};
    const [into, name] = marker === undefined ? [tests, test] : [markers, marker];
    if (name === undefined) throw new Error(`neither a marker nor a test with its reason: ${entry}`);
    if (into.has(name)) throw new Error(`there twice: ${name}`);
    into.add(name);
  }
  return { markers: [...markers], tests };
}

/** `isWhole`: all tests were to be run, so that one of the list that was not run is not there any more. */
export function judge(outcomes: ReadonlyMap<string, Outcome>, { tests }: KnownFailures, isWhole: boolean): Verdict {
  const named = (outcome: Outcome, isKnown: boolean): string[] =>
    [...outcomes].filter(([test, was]) => was === outcome && tests.has(test) === isKnown).map(([test]) => test);
  const gone = isWhole ? [...tests].filter((test) => !outcomes.has(test)) : [];
  return {
    passed: [...outcomes.values()].filter((outcome) => outcome === 'passed').length,
    known: named('failed', true).length,
    faults: [
      ...named('failed', false).map((test) => `${test} fails, and is not in the list`),
      ...named('passed', true).map((test) => `${test} passes: take it out of the list`),
      ...named('skipped', true).map((test) => `${test} is skipped: take it out of the list`),
      ...gone.map((test) => `${test} is in the list, and was not run`),
    ],
  };
}
