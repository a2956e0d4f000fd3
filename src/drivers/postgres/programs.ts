// Where the distribution keeps the server's programs: Debian does not put them on the PATH.
import { accessSync, constants, readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Programs {
  readonly version: number;
  readonly initdb: string;
  readonly postgres: string;
  readonly pgCtl: string;
}

/** The newest complete installation, or the given major version. */
export function findPrograms(options: { root?: string; version?: number } = {}): Programs | undefined {
  const root = options.root ?? '/usr/lib/postgresql';
  const versions = listOf(root)
    .map(Number)
    .filter((version) => Number.isInteger(version) && version >= 15 && (options.version === undefined || version === options.version))
    .toSorted((left, right) => right - left);
  for (const version of versions) {
    const at = (name: string) => join(root, String(version), 'bin', name);
    const programs = { version, initdb: at('initdb'), postgres: at('postgres'), pgCtl: at('pg_ctl') };
    if ([programs.initdb, programs.postgres, programs.pgCtl].every(isExecutable)) return programs;
  }
  return undefined;
}

function listOf(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return []; // Not installed.
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
