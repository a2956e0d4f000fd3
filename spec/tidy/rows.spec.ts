// Each row of nova-2011.md, section 13, that an issue asks for is in the name of a spec, or docs/reference/rows.md says why not.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const numbered = (letter: string, first: number, last: number): string[] => Array.from({ length: last - first + 1 }, (_, index) => `${letter}${first + index}`);

interface Issue {
  readonly title: string;
  readonly rows: readonly string[];
  /** Rows that no spec proves, but a reason explains: the most of them must be proven. Undefined while the issue is worked on, and rows are to come. */
  readonly explainedOnly?: readonly string[];
}

const issues: readonly Issue[] = [
  {
    title: 'many hosts',
    rows: [...numbered('M', 1, 11), ...numbered('C', 1, 9), ...numbered('D', 1, 5), 'G2', 'G6'],
    explainedOnly: ['C9'],
  },
  {
    title: 'volumes and networks',
    rows: [...numbered('V', 1, 11), ...numbered('N', 1, 17), ...numbered('E', 20, 22), ...numbered('E', 26, 28), 'K6', 'K13'],
    explainedOnly: ['V7'],
  },
  {
    title: 'objectstore, images and accounts',
    rows: [...numbered('S', 1, 12), ...numbered('A', 1, 13), 'E9', 'E23', 'E24', 'E29', 'G1', 'G3', 'G4'],
    explainedOnly: ['A8'],
  },
];

/** The rows that names of specs begin with. */
function namedRows(): Set<string> {
  const files = readdirSync(join(root, 'spec'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const lines = files.flatMap((name) => readFileSync(join(root, 'spec', name), 'utf8').split('\n')).filter((line) => /^\s*(it|describe)\b/.test(line));
  return new Set(lines.flatMap((line) => [...line.matchAll(/\(['"`]([A-Z]\d+)(?=[: ])/g)].map(([, row = '']) => row)));
}

/** The rows that the page of reasons has a reason for. */
function explainedRows(): Set<string> {
  const page = readFileSync(join(root, 'docs/reference/rows.md'), 'utf8');
  return new Set([...page.matchAll(/^\| ([A-Z]\d+) \| \S.{40,} \|$/gm)].map(([, row = '']) => row));
}

describe('each row', () => {
  const [named, explained] = [namedRows(), explainedRows()];

  const finished = issues.filter(({ explainedOnly }) => explainedOnly !== undefined);
  it.each(finished)('of $title is in the name of a spec or has its reason', ({ rows, explainedOnly }) => {
    expect(rows.filter((row) => !named.has(row) && !explained.has(row))).toEqual([]);
    expect(rows.filter((row) => !named.has(row))).toEqual(explainedOnly);
  });

  it('that has a reason is asked for by an issue', () => {
    expect([...explained].filter((row) => !issues.some(({ rows }) => rows.includes(row)))).toEqual([]);
  });
});
