// `novact manage fixed …`: which addresses of the guests' networks are taken, and by whom.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { takenAddresses } from '../../db/network-admin.ts';
import type { ManageDeps } from './deps.ts';

const listMax = 10_000;

export const fixedCommands: readonly ManageCommand<Pick<ManageDeps, 'db'>>[] = [
  manageCommand<Pick<ManageDeps, 'db'>>()({
    category: 'fixed', verb: 'list', text: 'The addresses of the guests\' networks that are taken, or those of one host.', positional: ['host'],
    args: z.object({
      host: z.string().min(1).max(63).optional().describe('Only those of instances on this host.'),
      network: z.string().min(1).max(63).optional().describe('Only those of this network.'),
    }),
    run: async ({ db }, choice) => (await takenAddresses(db, { ...choice, countMax: listMax })).map((row) => ({
      address: row.address, network: row.networkId, cidr: row.cidr, holder: row.holder, project: row.projectId ?? '-', host: row.host ?? '-',
    })),
  }),
];
