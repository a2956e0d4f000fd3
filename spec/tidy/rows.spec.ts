// Each row that the issue of many hosts asks for is in the name of a spec, or docs/reference/rows.md says why not.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const numbered = (letter: string, count: number): string[] => Array.from({ length: count }, (_, index) => `${letter}${index + 1}`);
const rows = [...numbered('M', 11), ...numbered('C', 9), ...numbered('D', 5), 'G2', 'G6'];

/** The rows that names of specs begin with. */
function namedRows(): Set<string> {
  const files = readdirSync(join(root, 'spec'), { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));
  const lines = files.flatMap((name) => readFileSync(join(root, 'spec', name), 'utf8').split('\n')).filter((line) => /^\s*(it|describe)\b/.test(line));
  return new Set(lines.flatMap((line) => [...line.matchAll(/\(['"`]([MCDG]\d+)(?=[: ])/g)].map(([, row = '']) => row)));
}

it('each row is in the name of a spec or has its reason', () => {
  const page = readFileSync(join(root, 'docs/reference/rows.md'), 'utf8');
  const explained = new Set([...page.matchAll(/^\| ([MCDG]\d+) \| \S.{40,} \|$/gm)].map(([, row = '']) => row));
  const named = namedRows();
  expect(rows.filter((row) => !named.has(row) && !explained.has(row))).toEqual([]);
  expect([...explained].filter((row) => !rows.includes(row))).toEqual([]);
  // The most of them must be proven, not explained.
  expect(rows.filter((row) => !named.has(row))).toEqual(['C4', 'C9', 'D3']);
});
