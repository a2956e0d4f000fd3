// What the processes of one cloud are called.
import { randomBytes } from 'node:crypto';
import type { RoleName } from '../config/options.ts';

/** `compute@h1#4711-9f3c`: unique in the cloud, also when a process number comes again. */
export const processName = (role: RoleName | undefined, host: string): string =>
  `${role ?? 'novact'}@${host}#${process.pid}-${randomBytes(3).toString('hex')}`;
