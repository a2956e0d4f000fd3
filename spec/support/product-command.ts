// What a user calls: `bin/novact` or a role's launcher; straight from src when dist is older, so that a spec never passes on yesterday's code.
import { readdirSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { RoleName } from '../../src/config/options.ts';

const root = resolve(import.meta.dirname, '../..');

export interface ProductCommand {
  readonly command: readonly [string, ...string[]];
  readonly environment: Readonly<Record<string, string>>;
}

/** NOVACT_SPEC_COMMAND names another installation's `novact`. */
export function productCommand(role?: RoleName): ProductCommand {
  const name = role === undefined ? 'novact' : `novact-${role}`;
  const chosen = process.env['NOVACT_SPEC_COMMAND'];
  if (chosen !== undefined) return { command: [chosen, ...(role === undefined ? [] : ['role', role])], environment: {} };
  if (isBuilt()) return { command: [join(root, 'bin', name)], environment: {} };
  // Not the command `tsx`, which would run node as a child that outlives its own SIGKILL.
  return {
    command: [process.execPath, '--import', join(root, 'node_modules/tsx/dist/loader.mjs'), join(root, 'spec/support/novact-from-source.mts')],
    environment: role === undefined ? {} : { NOVACT_SPEC_ROLE: role },
  };
}

/** Is dist as new as src? */
export function isBuilt(): boolean {
  const built = statSync(join(root, 'dist/.sources'), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const entries = readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true });
  return entries.every((entry) => !entry.isFile() || statSync(join(entry.parentPath, entry.name)).mtimeMs <= built);
}

/** Settings of whoever runs the specs must not reach the cloud under test. */
export const withoutNovact = (environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !name.startsWith('NOVACT_')));
