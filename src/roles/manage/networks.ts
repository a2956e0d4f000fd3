// `novact manage network …`: which networks there are, and those of projects ahead of their first launch.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { projectNetworksOf } from '../../config/settings.ts';
import { deleteUnusedNetwork, findProjectId, usesOfNetworks } from '../../db/network-admin.ts';
import { defaultNetworkOf, ensureDefaultNetworkOf } from '../../db/project-networks.ts';
import { SetupError } from '../../lib/errors.ts';
import type { ManageDeps } from './deps.ts';

const lookUp = 'See: novact manage network list';

const list = manageCommand<ManageDeps>()({
  category: 'network', verb: 'list', text: 'All networks: whose they are, what carries them, and how many addresses are taken.', positional: [],
  args: z.object({}),
  async run(deps) {
    return (await usesOfNetworks(deps.db)).map(({ network, project, addresses, claimed, reserved }) => ({
      id: network.id, project: project ?? '(all)', manager: network.manager, segment: network.segment ?? '-', cidr: network.cidr, gateway: network.gateway,
      bridge: network.bridge, router: network.routerId ?? '-', addresses: `${claimed}/${addresses - reserved}`,
    }));
  },
});

const create = manageCommand<ManageDeps>()({
  category: 'network', verb: 'create', text: 'Makes the network of a project ahead of its first launch, with another range than the usual one if you wish.',
  positional: ['project'],
  args: z.object({
    project: z.string().min(1).max(255).describe('Name or id of the project.'),
    cidr: z.string().optional().describe('Its range, from /16 to /29. Default: the setting project_range.'),
  }),
  async run(deps, args) {
    const policy = projectNetworksOf(deps.settings);
    if (policy === undefined) {
      const { networkManager } = deps.settings;
      throw new SetupError(`with the network manager ${networkManager} all projects share one network`, 'Set NOVACT_NETWORK_MANAGER to vlan or vxlan.');
    }
    const projectId = await findProjectId(deps.db, args.project);
    if (projectId === undefined) throw new SetupError(`there is no project ${args.project}`, lookUp);
    const known = await defaultNetworkOf(deps.db, projectId);
    if (known !== undefined) throw new SetupError(`${args.project} has the network ${known.id} (${known.cidr}) already`, lookUp);
    const network = await ensureDefaultNetworkOf(deps.db, projectId, { ...policy, cidr: args.cidr ?? policy.cidr }, deps.clock.date());
    if (network === undefined) {
      const { min, max } = policy.segments;
      throw new SetupError(`all numbers from ${min} to ${max} are taken`, `Delete a network that is not used, or widen ${policy.manager}_range.`);
    }
    return `${network.id}: ${network.cidr}, ${network.manager} ${network.segment}`;
  },
});

const remove = manageCommand<ManageDeps>()({
  category: 'network', verb: 'delete', text: 'Takes a network of a project away that no instance is on.', positional: ['network'],
  args: z.object({ network: z.string().min(1).max(63).describe('Its id.') }),
  async run(deps, args) {
    const refused = await deleteUnusedNetwork(deps.db, args.network);
    if (refused !== undefined) throw new SetupError(refused.refusal, lookUp);
    return `${args.network} is gone`;
  },
});

export const networkCommands: readonly ManageCommand<ManageDeps>[] = [list, create, remove];
