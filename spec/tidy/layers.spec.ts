// Who may import whom: the table of CONTRIBUTING.md, as a test. A folder may import itself; type-only imports count.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Folder of src → what it may import of ours: a folder, or one file pattern. */
const allowed: Readonly<Record<string, readonly RegExp[]>> = {
  lib: [],
  config: [/^lib\//],
  messages: [/^lib\//],
  db: [/^lib\//, /^config\//],
  transport: [/^lib\//, /^messages\//],
  drivers: [/^lib\//],
  auth: [/^lib\//, /^db\//, /^drivers\/auth\/driver\.ts$/],
  actors: [/^lib\//, /^messages\//, /^db\//, /^drivers\/[^/]+\/driver\.ts$/, /^transport\/transport\.ts$/],
  api: [/^lib\//, /^messages\//, /^db\//, /^auth\//, /^drivers\/[^/]+\/driver\.ts$/, /^transport\/transport\.ts$/],
  roles: [/./],
  cli: [/^lib\//, /^config\//, /^db\//, /^auth\//, /^drivers\//, /^roles\//, /^api\/ops\//],
};

/** The one file of drivers that may see the database. */
const exceptions: Readonly<Record<string, readonly RegExp[]>> = { 'drivers/auth/db.ts': [/^db\//] };

function files(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return files(path);
    return entry.name.endsWith('.ts') ? [path] : [];
  });
}

const source = files(join(root, 'src'));

function importsOf(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  const found = [...text.matchAll(/(?:^|\n)\s*(?:import|export)[^;'"]*?from\s*'(\.[^']+)'|import\(\s*'(\.[^']+)'\s*\)|(?:^|\n)import\s*'(\.[^']+)'/g)];
  return found.map((match) => relative(join(root, 'src'), resolve(dirname(path), match[1] ?? match[2] ?? match[3] ?? '')));
}

describe('layers', () => {
  it('every folder of src is in the table', () => {
    expect(readdirSync(join(root, 'src')).filter((name) => !(name in allowed))).toEqual([]);
  });

  it('nobody imports what the table does not allow', () => {
    const wrong = source.flatMap((path) => {
      const name = relative(join(root, 'src'), path);
      const layer = name.split('/')[0] ?? '';
      const rules = [...(allowed[layer] ?? []), ...(exceptions[name] ?? [])];
      return importsOf(path)
        .filter((target) => !target.startsWith('..') && target.split('/')[0] !== layer && !rules.some((rule) => rule.test(target)))
        .map((target) => `${name} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it('nobody but the composition root and the registries knows a driver by name', () => {
    const wrong = source.flatMap((path) => {
      const name = relative(join(root, 'src'), path);
      const kind = /^drivers\/([^/]+)\//.exec(name)?.[1];
      return importsOf(path)
        .map((target) => ({ target, other: /^drivers\/([^/]+)\//.exec(target)?.[1] }))
        .filter(({ target, other }) => kind !== undefined && other !== undefined && other !== kind && !target.endsWith('/driver.ts'))
        .map(({ target }) => `${name} imports ${target}`);
    });
    expect(wrong).toEqual([]);
  });

  it('there are no cycles', () => {
    const graph = new Map(source.map((path) => [relative(join(root, 'src'), path), importsOf(path)]));
    const done = new Set<string>();
    const cycles: string[] = [];
    const visit = (name: string, trail: readonly string[]): void => {
      if (trail.includes(name)) return void cycles.push([...trail.slice(trail.indexOf(name)), name].join(' → '));
      if (done.has(name)) return;
      for (const target of graph.get(name) ?? []) visit(target, [...trail, name]);
      done.add(name);
    };
    for (const name of graph.keys()) visit(name, []);
    expect(cycles).toEqual([]);
  });

  it('SQL is only in db, commands only in lib/exec and long-lived servers of drivers, time only in lib/clock', () => {
    const rules = [
      { pattern: /from 'drizzle-orm/, where: /^db\// },
      { pattern: /from 'node:child_process'/, where: /^(lib\/exec\.ts|drivers\/|cli\/)/ },
      { pattern: /\bDate\.now\(|\bsetTimeout\(|\bsetInterval\(/, where: /^lib\/(clock|exec)\.ts$/ },
    ];
    const wrong = source.flatMap((path) => {
      const name = relative(join(root, 'src'), path);
      const text = readFileSync(path, 'utf8').replaceAll(/\/\/.*|\/\*[\s\S]*?\*\//g, '');
      return rules.filter(({ pattern, where }) => pattern.test(text) && !where.test(name)).map(({ pattern }) => `${name}: ${pattern.source}`);
    });
    expect(wrong).toEqual([]);
  });
});
