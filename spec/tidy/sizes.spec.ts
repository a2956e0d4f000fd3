// Files one can hold in mind, lines one can read without scrolling. Exceptions are listed in large.txt and wide.txt, which may only shrink.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const linesMax = 400;
const columnsMax = 160;

const listing = ['ls-files', '--cached', '--others', '--exclude-standard', 'src', 'spec', 'scripts', 'bin'];
const tracked = execFileSync('git', listing, { cwd: root, encoding: 'utf8' })
  .split('\n').filter((name) => /\.(ts|mjs|sh)$/.test(name) && existsSync(join(root, name)));
const listed = (name: string) => new Set(
  readFileSync(join(import.meta.dirname, name), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#')),
);
const large = listed('large.txt');
const wide = listed('wide.txt');
const linesOf = (name: string) => readFileSync(join(root, name), 'utf8').split('\n');

describe('sizes', () => {
  it(`no file has more than ${linesMax} lines, but those listed`, () => {
    expect(tracked.filter((name) => linesOf(name).length - 1 > linesMax && !large.has(name))).toEqual([]);
  });

  it('the list of large files names none that is small or gone', () => {
    expect([...large].filter((name) => !tracked.includes(name) || linesOf(name).length - 1 <= linesMax)).toEqual([]);
  });

  const wideLines = (name: string) => linesOf(name).flatMap((line, index) => (line.length > columnsMax ? [`${name}:${index + 1}`] : []));

  it(`no line of source is longer than ${columnsMax} columns, but in the files listed`, () => {
    expect(tracked.filter((name) => name.endsWith('.ts') && !wide.has(name)).flatMap(wideLines)).toEqual([]);
  });

  it('the list of wide files names none that has been wrapped or is gone', () => {
    expect([...wide].filter((name) => !tracked.includes(name) || wideLines(name).length === 0)).toEqual([]);
  });

  it('every source file begins with what it owns and why', () => {
    const sources = tracked.filter((name) => name.startsWith('src/') && name.endsWith('.ts') && !name.endsWith('.d.ts'));
    expect(sources.filter((name) => !linesOf(name)[0]?.startsWith('//'))).toEqual([]);
  });
});
