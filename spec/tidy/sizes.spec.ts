// Files one can hold in mind. Exceptions are listed in large.txt, which may only shrink.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const linesMax = 400;
const columnsMax = 180;

const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'src', 'spec', 'scripts', 'bin'], { cwd: root, encoding: 'utf8' })
  .split('\n').filter((name) => /\.(ts|mjs|sh)$/.test(name) && existsSync(join(root, name)));
const large = new Set(readFileSync(join(import.meta.dirname, 'large.txt'), 'utf8').split('\n').filter((line) => line !== '' && !line.startsWith('#')));
const linesOf = (name: string) => readFileSync(join(root, name), 'utf8').split('\n');

describe('sizes', () => {
  it(`no file has more than ${linesMax} lines, but those listed`, () => {
    expect(tracked.filter((name) => linesOf(name).length - 1 > linesMax && !large.has(name))).toEqual([]);
  });

  it('the list of large files names none that is small or gone', () => {
    expect([...large].filter((name) => !tracked.includes(name) || linesOf(name).length - 1 <= linesMax)).toEqual([]);
  });

  it(`no line of source is longer than ${columnsMax} columns`, () => {
    const long = tracked.filter((name) => name.endsWith('.ts'))
      .flatMap((name) => linesOf(name).flatMap((line, index) => (line.length > columnsMax ? [`${name}:${index + 1}`] : [])));
    expect(long).toEqual([]);
  });

  it('every source file begins with what it owns and why', () => {
    expect(tracked.filter((name) => name.startsWith('src/') && name.endsWith('.ts') && !name.endsWith('.d.ts') && !linesOf(name)[0]?.startsWith('//'))).toEqual([]);
  });
});
