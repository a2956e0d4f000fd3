// Puts an instance on its network, and takes it off. The database says what should be; bridge, DHCP and rules of this host follow from it.
import { claimPort, releasePort } from '../../db/instance-ports.ts';
import { dhcpHostsOfNetwork, hostsNamingGroupsOf, portOfInstance, type InstancePort } from '../../db/networks.ts';
import { peersOfInstance } from '../../db/project-networks.ts';
import { DriverError } from '../../lib/errors.ts';
import { ensured } from './coalesce.ts';
import type { ReplyTo } from '../runtime/actor.ts';
import type { NetworkMessage, NetworkTree } from './actor.ts';
import type { NetworkHost } from './host.ts';

const ensureTimeoutMs = 25_000;

export interface PortAnswer {
  readonly bridge: string;
  readonly tap: string;
  readonly mac: string;
  readonly address: string;
}

/** Idempotent: an instance that has an address keeps it. The rules are in force before this returns. */
export async function ensurePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<PortAnswer> {
  const claimed = await claimPort(host.db, { instanceId, host: host.name, now: host.clock.date() });
  if (claimed === 'elsewhere') throw new DriverError('notFound', `the instance ${instanceId} is not on ${host.name}, or is to end`);
  if (claimed === 'noNetwork') throw new DriverError('unsupported', `there is no network that ${instanceId} could be on`);
  if (claimed === 'full') throw new DriverError('failed', `no free address on the network of ${instanceId}`);
  await Promise.all([ensureBoth(host, tree, claimed.networkId), tellOthers(host, instanceId)]);
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) throw new DriverError('notFound', `the instance ${instanceId} has no port`);
  return { bridge: port.bridge, tap: port.tap, mac: port.mac, address: port.address };
}

/** The address is free, and its lease is ended, when this returns; of an instance that lives elsewhere by now nothing is left here. */
export async function removePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<void> {
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) return;
  // The lease ends before the address is free: a new owner must not meet the old lease.
  await releaseLease(host, port);
  const others = await othersOf(host, instanceId);
  await releasePort(host.db, { instanceId, host: host.name, now: host.clock.date() });
  others();
  await ensureBoth(host, tree, port.networkId);
}

/** For an instance that lives on another host now, or does not come after all. Of one that lives here only the rules are ensured. */
export async function leavePort(host: NetworkHost, tree: NetworkTree, instanceId: string): Promise<void> {
  const port = await portOfInstance(host.db, instanceId);
  if (port === undefined) return;
  const stays = (await dhcpHostsOfNetwork(host.db, { host: host.name, networkId: port.networkId })).some(({ hostname }) => hostname === instanceId);
  if (!stays) await releaseLease(host, port);
  await ensureBoth(host, tree, port.networkId);
}

/** A network that is not plumbed here has given no lease. */
async function releaseLease(host: NetworkHost, { networkId, mac, address, instanceId }: InstancePort): Promise<void> {
  const network = (await host.driver.plumbed()).find((one) => one.id === networkId);
  if (network !== undefined) await host.driver.releaseLease(network, { mac, address, hostname: instanceId });
}

async function ensureBoth(host: NetworkHost, tree: NetworkTree, networkId: string): Promise<void> {
  const wish = (replyTo: ReplyTo<null>): NetworkMessage => ({ type: 'ensureNetwork', networkId, replyTo });
  await Promise.all([host.system.ask(tree.self, wish, { timeoutMs: ensureTimeoutMs }), ensured(host, tree.firewall)]);
}

/**
 * Hosts whose rules name a group of the instance hear of it at once, and so do those that have other members of its project's networks: they
 * must know where to find it.
 */
async function tellOthers(host: NetworkHost, instanceId: string): Promise<void> {
  (await othersOf(host, instanceId))();
}

/** Who is to be told, asked while the instance still has its address. */
async function othersOf(host: NetworkHost, instanceId: string): Promise<() => void> {
  const tell = host.tellHosts;
  if (tell === undefined) return () => undefined;
  try {
    const [{ hosts, groupIds }, peers] = await Promise.all([hostsNamingGroupsOf(host.db, instanceId), peersOfInstance(host.db, instanceId)]);
    const others = [...new Set([...hosts, ...peers])].filter((name) => name !== host.name);
    return () => (others.length > 0 ? tell(others, groupIds) : undefined);
  } catch (error) {
    host.log.warn({ instanceId, err: error }, 'other hosts were not told of a member that came or went');
    return () => undefined;
  }
}
