// The generated references say what the product is now, and every page that the documents point to is there.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { referencePages } from '../../scripts/docs.ts';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');
const pages = referencePages();

describe('docs/reference', () => {
  it.each([...pages.keys()])('%s is what `npm run docs` would write', (name) => {
    expect(read(`docs/reference/${name}`) === pages.get(name), 'stale: run npm run docs').toBe(true);
  });

  it('has no page that nothing generates, but figures and reasons, which somebody has to find', () => {
    expect(readdirSync(join(root, 'docs/reference')).toSorted()).toEqual([...pages.keys(), 'benchmarks.md', 'rows.md'].toSorted());
  });
});

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/** `| name | version | … |` of docs/dependencies.md. */
function listedDependencies(): string[] {
  return [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| ([^ |]+) \| [^|]+ \| [^|]+ \|$/gm)].map(([, name, version]) => `${name} ${version}`);
}

describe('docs/dependencies.md', () => {
  it('has a line for each package, with its version, and no other', () => {
    const { dependencies, devDependencies } = JSON.parse(read('package.json')) as Package;
    const installed = Object.entries({ ...dependencies, ...devDependencies }).map(([name, version]) => `${name} ${version}`);
    expect(listedDependencies().toSorted()).toEqual(installed.toSorted());
  });
});

describe('documents', () => {
  const folder = (path: string): string[] =>
    readdirSync(join(root, path), { withFileTypes: true }).flatMap((entry) => {
      if (entry.isDirectory()) return folder(`${path}/${entry.name}`);
      return entry.name.endsWith('.md') ? [`${path}/${entry.name}`] : [];
    });
  const documents = [...readdirSync(root).filter((name) => name.endsWith('.md')), ...folder('docs')];

  it('link only to what is there', () => {
    const broken = documents.flatMap((path) =>
      [...read(path).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)]
        .map(([, target = '']) => join(dirname(path), target))
        .filter((target) => !existsSync(join(root, target)))
        .map((target) => `${path} → ${target}`));
    expect(broken).toEqual([]);
  });

  it('of decisions have a state, a date and a number of their own', () => {
    const decisions = readdirSync(join(root, 'docs/decisions'));
    const wrong = decisions.filter((name) => !/^---\nstate: (draft|accepted|replaced)\ndate: \d{4}-\d{2}-\d{2}\n/.test(read(`docs/decisions/${name}`)));
    expect(wrong).toEqual([]);
    expect(new Set(decisions.map((name) => name.slice(0, 4))).size).toBe(decisions.length);
  });
});
