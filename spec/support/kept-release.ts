// What is kept of the releases before this one: a dump of a database of each, and of those whose roles are processes of their own their build
// (CONTRIBUTING, scripts/release-fixture.ts and scripts/release-build.ts).
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { RoleName } from '../../src/config/options.ts';
import type { ProductCommand } from './product-command.ts';

const root = resolve(import.meta.dirname, '../..');
const fixtures = join(root, 'spec/fixtures');

const releasesWith = (suffix: RegExp): string[] => readdirSync(fixtures).flatMap((name) => suffix.exec(name)?.[1] ?? [])
  .toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true }));

/** Of which there is a dump, the oldest first. */
export const keptReleases: readonly string[] = releasesWith(/^release-([\d.]+)\.sql$/);

/** Of which there is a build, the oldest first. */
export const builtReleases: readonly string[] = releasesWith(/^release-([\d.]+)\.tgz$/);

/** Of today. */
export const lastMigration = lastMigrationIn(join(root, 'src'));

export const dumpOf = (release: string): string => readFileSync(join(fixtures, `release-${release}.sql`), 'utf8');

export interface ReleaseBuild {
  readonly release: string;
  /** The launcher of a role. */
  command(role: RoleName): ProductCommand;
  /** The last of its migrations. */
  readonly lastMigration: string;
  remove(): void;
}

/** Unpacks the build of a release beside the packages and the ready-made image of this checkout. */
export function unpackRelease(release: string): ReleaseBuild {
  const folder = mkdtempSync(join(tmpdir(), `novact-release-${release}-`));
  execFileSync('tar', ['-xzf', join(fixtures, `release-${release}.tgz`), '-C', folder]);
  for (const name of ['node_modules', 'build']) symlinkSync(join(root, name), join(folder, name));
  return {
    release,
    command: (role) => ({ command: [join(folder, 'bin', `novact-${role}`)], environment: {} }),
    lastMigration: lastMigrationIn(join(folder, 'dist')),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** `folder` is `src` or `dist`. */
function lastMigrationIn(folder: string): string {
  const journal = JSON.parse(readFileSync(join(folder, 'db/migrations/meta/_journal.json'), 'utf8')) as { entries: { tag: string }[] };
  return journal.entries.at(-1)?.tag ?? '';
}
