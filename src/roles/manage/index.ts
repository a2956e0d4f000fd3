// All commands of `novact manage`, in one table. Each is declared in the file of its category, beside what it calls.
import type { ManageCommand } from '../../api/ops/manage.ts';
import type { ManageDeps } from './deps.ts';

export const manageCommands: readonly ManageCommand<ManageDeps>[] = [];
