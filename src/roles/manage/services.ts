// `novact manage service …`: which role runs where, and whether it is heard of.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { servicesOfHosts } from '../../db/zones.ts';
import { groupBy } from '../../lib/group-by.ts';
import type { Role } from '../../messages/protocol.ts';
import type { ManageDeps } from './deps.ts';

const list = manageCommand<ManageDeps>()({
  category: 'service', verb: 'list', text: 'The roles that belong to one host each: which release, since when, and whether they are heard of now.',
  positional: [],
  args: z.object({ host: z.string().optional().describe('Only those of this host.') }),
  async run({ db, directory }, args) {
    const services = (await servicesOfHosts(db)).filter(({ host }) => args.host === undefined || host === args.host);
    const heard = new Map<string, ReadonlyMap<string, { process: string; version: string }>>();
    for (const role of groupBy(services, (service) => service.role).keys()) {
      heard.set(role, new Map((await directory.services(role as Role)).map(({ host, process, version }) => [host, { process, version }])));
    }
    return services.map(({ host, role, zone, version, startedAt, enabled, downSince }) => {
      const now = heard.get(role)?.get(host);
      return {
        host, role, zone: zone ?? '-', state: now === undefined ? (downSince === undefined ? 'silent' : 'down') : 'up', enabled,
        release: now?.version || version || '-', process: now?.process ?? '-', startedAt: startedAt.toISOString(),
      };
    });
  },
});

export const serviceCommands: readonly ManageCommand<ManageDeps>[] = [list];
