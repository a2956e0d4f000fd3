// One network of one host, as its actor ensures it: plumbed as long as the database wants it here, and taken away after that.
import { dhcpHostsOfNetwork, neighboursOfNetwork } from '../../db/networks.ts';
import type { NetworkSpec } from '../../drivers/network/driver.ts';
import type { NetworkHost } from './host.ts';

/** The work of the network's actor. After a hint, it is done only if something has changed since it was done last. */
export function ensurerOf(host: NetworkHost, networkId: string): (isHint: boolean) => Promise<void> {
  let done: string | undefined;
  return async (isHint) => {
    const network = (await host.networks()).find((one) => one.id === networkId);
    if (network === undefined) {
      done = undefined;
      return takeAway(host, networkId);
    }
    const where = { host: host.name, networkId };
    const isJoined = network.flatInterface !== undefined || network.router !== undefined;
    const [hosts, neighbours] = await Promise.all([dhcpHostsOfNetwork(host.db, where), isJoined ? neighboursOfNetwork(host.db, where) : []]);
    const wish = JSON.stringify({ network, hosts, neighbours });
    if (isHint && wish === done) return;
    done = undefined;
    await host.driver.ensureNetwork(network, hosts, neighbours);
    await host.onPlumbed?.(network);
    done = wish;
  };
}

async function takeAway(host: NetworkHost, networkId: string): Promise<void> {
  const plumbed: NetworkSpec | undefined = (await host.driver.plumbed()).find((one) => one.id === networkId);
  if (plumbed === undefined) return;
  await host.onRemoved?.(networkId);
  await host.driver.removeNetwork(plumbed);
  host.log.info({ network: networkId }, 'a network without members here was taken away');
}
