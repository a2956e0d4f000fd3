// `novact manage service …`: which role runs where, and whether it is heard of.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { servicesOfHosts } from '../../db/zones.ts';
import { groupBy } from '../../lib/group-by.ts';
import type { Role } from '../../messages/protocol.ts';
import type { ManageDeps } from './deps.ts';

const list = manageCommand<ManageDeps>()({
  category: 'service', verb: 'list', text: 'Which roles run where: which release, since when, and whether they are heard of now.',
  positional: [],
  args: z.object({ host: z.string().optional().describe('Only those of this host.') }),
  async run({ db, directory }, args) {
    const services = (await servicesOfHosts(db)).filter(({ host }) => args.host === undefined || host === args.host);
    const heard = new Map<string, ReadonlyMap<string, { process: string; version: string }>>();
    for (const role of groupBy(services, (service) => service.role).keys()) {
      heard.set(role, new Map((await directory.services(role as Role)).map(({ host, process, version }) => [host, { process, version }])));
    }
    const owned = services.map(({ host, role, zone, version, startedAt, enabled, downSince }) => {
      const now = heard.get(role)?.get(host);
      return {
        host, role, zone: zone ?? '-', state: now === undefined ? (downSince === undefined ? 'silent' : 'down') : 'up', enabled,
        release: now?.version || version || '-', process: now?.process ?? '-', startedAt: startedAt.toISOString(),
      };
    });
    return [...owned, ...(await sharedServices(directory, args.host))];
  },
});

/** Roles that any number of processes share: what is not heard of is not there. */
async function sharedServices(directory: ManageDeps['directory'], host: string | undefined) {
  const heard = await Promise.all((['api', 'objectstore', 'scheduler'] as const).map((role) => directory.services(role)));
  return heard.flat().filter((record) => host === undefined || record.host === host).map((record) => ({
    host: record.host, role: record.role, zone: '-', state: 'up', enabled: true, release: record.version || '-', process: record.process, startedAt: '-',
  }));
}

export const serviceCommands: readonly ManageCommand<ManageDeps>[] = [list];
