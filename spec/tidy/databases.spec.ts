// Every fast spec that uses a database runs on both of them: it lies in one of the folders that scripts/test.mjs gives to PostgreSQL.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const database = join(root, 'spec/support/database.ts');
const kept = new Map<string, boolean>();

/** By its imports, and theirs. */
function usesDatabase(path: string): boolean {
  const known = kept.get(path);
  if (known !== undefined) return known;
  kept.set(path, false);
  const imports = [...readFileSync(path, 'utf8').matchAll(/from '(\.[^']+)'/g)].map(([, target = '']) => resolve(dirname(path), target));
  const uses = imports.some((target) => target === database || (target.startsWith(join(root, 'spec')) && target.endsWith('.ts') && usesDatabase(target)));
  kept.set(path, uses);
  return uses;
}

it('D3: every fast spec that uses a database runs on PGlite and on PostgreSQL', () => {
  const [, listed = ''] = /databaseFolders = \[([^\]]+)\]/.exec(readFileSync(join(root, 'scripts/test.mjs'), 'utf8')) ?? [];
  const folders = [...listed.matchAll(/'([^']+)'/g)].map(([, folder = '']) => folder);
  const fast = ['unit', 'contract', 'actors', 'api'].flatMap((folder) => readdirSync(join(root, 'spec', folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.spec.ts')).map((name) => join(root, 'spec', folder, name)));
  const using = fast.filter(usesDatabase).map((path) => relative(root, path));
  expect(using.length).toBeGreaterThan(30);
  expect(using.filter((path) => !folders.some((folder) => path.startsWith(folder)))).toEqual([]);
});
