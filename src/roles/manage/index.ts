// All commands of `novact manage`, in one table. Each is declared in the file of its category, beside what it calls.
import type { ManageCommand } from '../../api/ops/manage.ts';
import type { Foundation } from '../foundation.ts';

/** What a command works with: the process that performs it stands on this. */
export type ManageDeps = Pick<Foundation, 'db' | 'transport' | 'directory' | 'clock' | 'log' | 'settings'>;

export const manageCommands: readonly ManageCommand<ManageDeps>[] = [];
