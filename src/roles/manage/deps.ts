// What the commands of `novact manage` work with.
import type { Foundation } from '../foundation.ts';

/** Of the process that performs the command. */
export type ManageDeps = Pick<Foundation, 'db' | 'auth' | 'transport' | 'directory' | 'relay' | 'clock' | 'log' | 'settings' | 'sealer' | 'run'>;
