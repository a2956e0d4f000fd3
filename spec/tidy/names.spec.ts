// The rules of names and comments that no linter knows.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const folders = ['src', 'spec', 'scripts', 'bin', 'images', 'docs'];
const names = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', ...folders], { cwd: root, encoding: 'utf8' })
  .split('\n').filter((name) => name !== '' && existsSync(join(root, name)));
const scripts = names.filter((name) => /\.(ts|mts|mjs)$/.test(name));

/** Words that say nothing of what a file owns. */
const empty = new Set(['utils', 'util', 'helpers', 'helper', 'common', 'misc', 'shared']);

describe('names', () => {
  it('of scripts are kebab-case', () => {
    expect(scripts.filter((name) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z]+)*\.(ts|mts|mjs)$/.test(basename(name)))).toEqual([]);
  });

  it('of files and folders say what is in them', () => {
    const parts = (name: string) => name.replace(/\.[a-z.]+$/, '').split('/').slice(1);
    expect(names.filter((name) => parts(name).some((part) => empty.has(part)))).toEqual([]);
  });

  it('of specs end in .spec.ts where a runner looks for them', () => {
    const wanted = /^spec\/(unit|contract|actors|api|tidy|simulation|services|host|clients|lab)\//;
    expect(names.filter((name) => name.endsWith('.spec.ts') && !wanted.test(name))).toEqual([]);
  });
});

describe('source', () => {
  const text = new Map(scripts.filter((name) => !name.startsWith('spec/tidy/')).map((name) => [name, readFileSync(join(root, name), 'utf8')]));
  const linesWith = (pattern: RegExp, where: (name: string) => boolean = () => true): string[] =>
    [...text].filter(([name]) => where(name)).flatMap(([name, content]) =>
      content.split('\n').flatMap((line, index) => (pattern.test(line) ? [`${name}:${index + 1}`] : [])));

  it('has no work left undone without a number', () => {
    expect(linesWith(/\b(TODO|FIXME|XXX)\b(?!\(#?\d+\))/)).toEqual([]);
  });

  it('has no default exports, but those that tools ask for', () => {
    expect(linesWith(/^export default /, (name) => name.startsWith('src/'))).toEqual([]);
  });

  it('skips no spec, and runs none alone, unless a condition says so', () => {
    expect(linesWith(/\b(it|test|describe)\.(skip|only|todo)\(/, (name) => name.startsWith('spec/'))).toEqual([]);
  });

  it('silences only a rule that it names, and the compiler only with a reason', () => {
    expect(linesWith(/@ts-(ignore|nocheck)|@ts-expect-error\s*$|(eslint|oxlint)-disable(-next-line|-line)?\s*(\*\/)?$/)).toEqual([]);
  });
});
