// Puts an instance on its network, and takes it off. The database says what should be; bridge, DHCP and rules of this host follow from it.
import { claimPort, releasePort } from '../../db/instance-ports.ts';
import { dhcpHostsOfNetwork, hostsNamingGroupsOf, portOfInstance } from '../../db/networks.ts';
import { DriverError } from '../../lib/errors.ts';
import { ensured } from './coalesce.ts';
import type { NetworkTree } from './actor.ts';
import type { NetworkHost } from './host.ts';

export interface PortAnswer {
  readonly bridge: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

/** Idempotent: an instance that has an address keeps it. The rules are in force before this returns. */
export async function ensurePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<PortAnswer> {
  const [network] = host.networks;
  if (network === undefined) throw new DriverError('unsupported', `host ${host.name} has no network`);
  const claimed = await claimPort(host.db, { networkId: network.id, instanceId, host: host.name, now: host.clock.date() });
  if (claimed === 'elsewhere') throw new DriverError('notFound', `the instance ${instanceId} is not on ${host.name}, or is to end`);
  if (claimed === undefined) throw new DriverError('failed', `no free address in ${network.cidr}`);
  await Promise.all([ensureBoth(host, tree, network.id), tellOthers(host, instanceId)]);
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) throw new DriverError('notFound', `the instance ${instanceId} has no port`);
  return { bridge: network.bridge, tap: port.tap, mac: port.mac, address: port.address };
}

/** The address is free, and its lease is ended, when this returns; of an instance that lives elsewhere by now nothing is left here. */
export async function removePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<void> {
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) return;
  const network = host.networks.find((candidate) => candidate.id === port.networkId);
  // The lease ends before the address is free: a new owner must not meet the old lease.
  if (network !== undefined) await host.driver.releaseLease(network, { mac: port.mac, address: port.address, hostname: instanceId });
  await releasePort(host.db, { instanceId, host: host.name, now: host.clock.date() });
  await Promise.all([network === undefined ? null : ensureBoth(host, tree, network.id), tellOthers(host, instanceId)]);
}

/** For an instance that lives on another host now, or does not come after all. Of one that lives here only the rules are ensured. */
export async function leavePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<void> {
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) return;
  const network = host.networks.find((candidate) => candidate.id === port.networkId);
  if (network === undefined) return;
  const stays = (await dhcpHostsOfNetwork(host.db, { host: host.name, networkId: network.id })).some(({ hostname }) => hostname === instanceId);
  if (!stays) await host.driver.releaseLease(network, { mac: port.mac, address: port.address, hostname: instanceId });
  await ensureBoth(host, tree, network.id);
}

async function ensureBoth(host: NetworkHost, tree: NetworkTree, networkId: string): Promise<void> {
  const bridge = tree.networks.get(networkId);
  await Promise.all([bridge === undefined ? null : ensured(host, bridge), ensured(host, tree.firewall)]);
}

/** Hosts whose rules name a group of the instance hear of it at once; only on joined networks can they have met it at all. */
async function tellOthers(host: NetworkHost, instanceId: string): Promise<void> {
  if (host.tellHosts === undefined || !host.networks.some((network) => network.flatInterface !== undefined)) return;
  try {
    const { hosts, groupIds } = await hostsNamingGroupsOf(host.db, instanceId);
    const others = hosts.filter((name) => name !== host.name);
    if (others.length > 0) host.tellHosts(others, groupIds);
  } catch (error) {
    host.log.warn({ instanceId, err: error }, 'other hosts were not told of a member that came or went');
  }
}
