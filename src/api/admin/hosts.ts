// The Admin API's hosts, instance types and VPNs.
import { usesOfHosts } from '../../db/host-admin.ts';
import { listHosts } from '../../db/hosts.ts';
import { listInstanceTypes } from '../../db/instance-types.ts';
import { listVolumeHosts } from '../../db/volume-hosts.ts';
import { volumeCounts } from '../../db/volumes.ts';
import { listVpns, vpnClients } from '../../db/vpns.ts';
import type { Call } from '../ec2/action.ts';
import { adminAction } from './action.ts';

const upOrDown = (isUp: boolean): string => (isUp ? 'up' : 'down');

/** Every host that runs guests or keeps volumes; of what it does not do, there is no state. */
async function hostsOf({ db, directory }: Call) {
  const [computes, volumes, uses, counts] = await Promise.all([listHosts(db), listVolumeHosts(db), usesOfHosts(db), volumeCounts(db)]);
  const heard = new Set((await directory.services('volume')).map(({ host }) => host));
  const names = [...new Set([...computes, ...volumes].map(({ name }) => name))].toSorted();
  return names.map((hostname) => {
    const compute = computes.find(({ name }) => name === hostname);
    return {
      hostname,
      instanceCount: uses.filter((use) => use.host === hostname).reduce((sum, use) => sum + use.instances, 0),
      volumeCount: counts.get(hostname) ?? 0,
      compute: compute && upOrDown(compute.downSince === null),
      volume: volumes.some(({ name }) => name === hostname) ? upOrDown(heard.has(hostname)) : undefined,
    };
  });
}

export const hostActions = [
  adminAction({
    name: 'DescribeHosts',
    doc: 'All hosts: how many instances and volumes are there, and whether their services are heard of.',
    errors: [],
    handle: async (call) => ({ hosts: await hostsOf(call) }),
  }),
  adminAction({
    name: 'DescribeHost',
    doc: 'One host.',
    errors: ['NoSuchEntity'],
    async handle(call, input) {
      const found = (await hostsOf(call)).find(({ hostname }) => hostname === input.Name);
      return found ?? call.fail('NoSuchEntity', `The host ${input.Name.slice(0, 60)} cannot be found.`);
    },
  }),
  adminAction({
    name: 'DescribeInstanceTypes',
    doc: 'The instance types. The flavor id is the place in their order.',
    errors: [],
    handle: async ({ db }) => ({
      instanceTypeSet: (await listInstanceTypes(db)).map(({ name, memoryMiB, cores, rootGiB }, index) => (
        { name, memoryMb: memoryMiB, vcpus: cores, diskGb: rootGiB, flavorId: index + 1 }
      )),
    }),
  }),
  adminAction({
    name: 'StartVpn',
    doc: 'Makes a way into a project\'s network. It needs no instance: the id is the VPN\'s own.',
    errors: ['IncorrectState', 'NoSuchEntity'],
    async handle(call, input) {
      const { id, name } = await call.auth.requireProject(input.Project);
      const known = (await listVpns(call.db)).find(({ vpn }) => vpn.projectId === id);
      return { instanceId: known?.vpn.id ?? (await call.operator.startVpn(name)) };
    },
  }),
  adminAction({
    name: 'DescribeVpns',
    doc: 'The VPNs of all projects. One runs while the network role of its host is heard of.',
    errors: [],
    async handle({ db, directory }) {
      const heard = new Set((await directory.services('network')).map(({ host }) => host));
      return {
        items: (await listVpns(db)).map(({ vpn }) => ({
          projectId: vpn.projectId, publicIp: vpn.address, publicPort: vpn.port, instanceId: vpn.id, createdAt: vpn.createdAt,
          internalIp: vpnClients(vpn), state: heard.has(vpn.host) ? 'running' : 'down',
        })),
      };
    },
  }),
];
