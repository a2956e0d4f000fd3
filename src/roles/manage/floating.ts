// `novact manage floating …`: the pools of public addresses that projects take theirs from.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { defaultPool } from '../../db/addresses.ts';
import { createFloating, deleteFloating, listFloating } from '../../db/address-pools.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db'>;

const command = manageCommand<Deps>();
const range = z.string().min(7).max(40).describe('Addresses: 192.0.2.16/28, 192.0.2.20-192.0.2.30, or a single one.');
const pool = z.string().regex(/^[a-z0-9][a-z0-9.-]{0,62}$/, 'a name of lower-case letters, digits, dots and dashes is needed');

export const floatingCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'floating', verb: 'create', text: 'Give addresses to the cloud, for projects to allocate: they must be led to its hosts.', positional: ['range'],
    args: z.object({ range, pool: pool.default(defaultPool).describe('Pool that they are part of.') }),
    run: async ({ db }, args) => {
      const { made, present } = await createFloating(db, args);
      return `made ${made} in the pool ${args.pool}${present === 0 ? '' : `; ${present} were there already`}`;
    },
  }),
  command({
    category: 'floating', verb: 'list', text: 'The addresses of the pools, who has them, and where they lead.', positional: [],
    args: z.object({
      pool: pool.optional().describe('Only those of this pool.'),
      allocated: z.boolean().default(false).describe('Only those that a project has.'),
    }),
    run: async ({ db }, args) => (await listFloating(db, args)).map((row) => ({
      address: row.address, pool: row.pool, project: row.projectId ?? '-', instance: row.instanceId ?? '-', host: row.host ?? '-',
    })),
  }),
  command({
    category: 'floating', verb: 'delete', text: 'Take free addresses out of the cloud.', positional: ['range'], args: z.object({ range }),
    run: async ({ db }, args) => `deleted ${await deleteFloating(db, args.range)}`,
  }),
];
