// What the processes of one cloud are called, and which of the roles need what of the machine.
import { randomBytes } from 'node:crypto';
import { roleNames, type RoleName } from '../config/options.ts';
import { SetupError } from '../lib/errors.ts';

/** The roles that exist: `novact up` runs all of them in one process. */
export const builtRoles: readonly RoleName[] = roleNames.filter((role) => role !== 'volume');

/** Throws for a role that is announced but not built: a launcher must not pretend. */
export function requireBuilt(role: RoleName): void {
  if (builtRoles.includes(role)) return;
  throw new SetupError(`the role ${role} is not built yet: novact has no volumes (EBS) so far`, 'Leave novact-volume out; nothing else needs it.');
}

/** `compute@h1#4711-9f3c`: unique in the cloud, also when a process number comes again. */
export const processName = (role: RoleName | undefined, host: string): string =>
  `${role ?? 'novact'}@${host}#${process.pid}-${randomBytes(3).toString('hex')}`;
