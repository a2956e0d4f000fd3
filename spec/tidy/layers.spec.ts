// Who may import whom: the table of layers.ts, held. Type-only imports count.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { layers, mayImport, reservations } from './layers.ts';

const root = resolve(import.meta.dirname, '../..');

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
    expect(readdirSync(join(root, 'src')).filter((name) => !Object.hasOwn(layers, name))).toEqual([]);
  });

  it('the table bites: what it does not name is refused', () => {
    expect(mayImport('actors/compute/actor.ts', 'drivers/disk/driver.ts')).toBe(true);
    expect(mayImport('actors/compute/actor.ts', 'drivers/disk/qemu-img.ts')).toBe(false);
    expect(mayImport('actors/compute/actor.ts', 'transport/local.ts')).toBe(false);
    expect(mayImport('api/ec2/action.ts', 'actors/compute/actor.ts')).toBe(false);
    expect(mayImport('drivers/auth/db.ts', 'db/db.ts')).toBe(true);
    expect(mayImport('drivers/auth/fake.ts', 'db/db.ts')).toBe(false);
    expect(mayImport('lib/clock.ts', '../package.json')).toBe(false);
  });

  it('nobody imports what the table does not allow', () => {
    const wrong = source.flatMap((path) => {
      const name = relative(join(root, 'src'), path);
      return importsOf(path).filter((target) => !mayImport(name, target)).map((target) => `${name} imports ${target}`);
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

  it('packages are imported at the head of a file: in the one program that is built, an older one that is loaded later has lost its names', () => {
    const later = /import\(\s*'(?![.]|node:)([^']+)'/g;
    const wrong = source.flatMap((path) => [...readFileSync(path, 'utf8').matchAll(later)].map(([, name]) => `${relative(root, path)}: ${name}`));
    // These are modules of today, of which nothing is lost.
    expect(wrong.filter((one) => !/: (@electric-sql\/pglite|drizzle-orm\/.+)$/.test(one))).toEqual([]);
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
    const wrong = source.flatMap((path) => {
      const name = relative(join(root, 'src'), path);
      const text = readFileSync(path, 'utf8').replaceAll(/\/\/.*|\/\*[\s\S]*?\*\//g, '');
      return reservations.filter(({ pattern, files: allowed }) => pattern.test(text) && !allowed.test(name)).map(({ what }) => `${name}: ${what}`);
    });
    expect(wrong).toEqual([]);
  });
});
