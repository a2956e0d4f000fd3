// `novact manage vm …`: what nova-manage called so, in its words: `instance list` and `instance migrate --live`.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import type { ManageDeps } from './deps.ts';
import { instanceId, listInstances, migrateInstance } from './instances.ts';

const command = manageCommand<ManageDeps>();

export const vmCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'vm', verb: 'list', text: 'The instances of all projects, or those of one host: see `instance list`.', positional: ['host'],
    args: z.object({ host: z.string().optional().describe('Only those on this host, or on their way to it.') }),
    run: (deps, { host }) => listInstances(deps, { host, all: false }),
  }),
  command({
    category: 'vm', verb: 'live-migration', text: 'Moves an instance to another host while it runs: see `instance migrate`.', positional: ['id', 'to'],
    args: z.object({ id: instanceId, to: z.string().describe('The host.') }),
    run: (deps, { id, to }) => migrateInstance(deps, { id, to, live: true }),
  }),
];
