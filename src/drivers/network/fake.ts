// A network in memory: what was ensured can be looked at, and its DHCP server can be made to die. It refuses what the real one refuses,
// by the same checks, so that a wish that could not be rendered does not pass here either.
import { DriverError } from '../../lib/errors.ts';
import type { DhcpHost, FirewallSpec, Neighbour, NetworkDriver, NetworkSpec } from './driver.ts';
import { dnsmasqArguments, dnsmasqFiles, renderDhcpHosts, renderNames } from './linux/dnsmasq.ts';
import { checkAddress, checkJoined, checkLinkName, checkMac } from './linux/names.ts';
import { checkNamespace } from './linux/namespace.ts';
import { renderFirewall, tableName } from './linux/nft.ts';
import { renderRouter } from './linux/nft-router.ts';
import { segmentOf } from './linux/project-links.ts';

export interface FakeServedNetwork {
  readonly network: NetworkSpec;
  readonly hosts: readonly DhcpHost[];
  readonly neighbours: readonly Neighbour[];
  readonly dhcpAlive: boolean;
}

export interface FakeNetworkHost {
  /** By network id: what is served. */
  readonly networks: ReadonlyMap<string, FakeServedNetwork>;
  /** Undefined: no rules. */
  readonly firewall: FirewallSpec | undefined;
  /** The addresses whose leases were ended, in order. */
  readonly released: readonly string[];
}

export interface FakeNetwork extends NetworkDriver {
  readonly host: FakeNetworkHost;
  /** The network's DHCP server dies, as if somebody had killed it, and runs again. */
  killDhcp(networkId: string): void;
  /** The next call of that method fails with this. */
  failNext(method: 'ensureNetwork' | 'releaseLease' | 'applyFirewall' | 'removeNetwork' | 'removeAll', error: Error): void;
}

type Listener = Parameters<NetworkDriver['subscribe']>[0];

export function createFakeNetwork(): FakeNetwork {
  const networks = new Map<string, FakeServedNetwork>();
  const released: string[] = [];
  const listeners = new Set<Listener>();
  const failures = new Map<string, Error>();
  let firewall: FirewallSpec | undefined;

  function mayFail(method: string): void {
    const error = failures.get(method);
    failures.delete(method);
    if (error !== undefined) throw error;
  }
  return {
    info: { name: 'fake', plumbs: false },
    host: {
      networks,
      released,
      get firewall() {
        return firewall;
      },
    },
    probe: async () => undefined,
    async ensureNetwork(network, hosts, neighbours = []) {
      mayFail('ensureNetwork');
      checkWish(network, hosts, neighbours);
      networks.set(network.id, { network, hosts: [...hosts], neighbours: [...neighbours], dhcpAlive: network.dhcp !== false });
    },
    async releaseLease(network, host) {
      mayFail('releaseLease');
      released.push(checkLease(network, host));
    },
    async applyFirewall(wanted) {
      mayFail('applyFirewall');
      checkFirewall(wanted);
      firewall = wanted;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    plumbed: async () => [...networks.values()].map((entry) => entry.network),
    async removeNetwork(network) {
      mayFail('removeNetwork');
      networks.delete(network.id);
    },
    async removeAll(removed) {
      mayFail('removeAll');
      for (const network of removed) networks.delete(network.id);
      firewall = undefined;
    },
    async close() {
      listeners.clear();
    },
    killDhcp(networkId) {
      if (!entryOf(networks, networkId).dhcpAlive) throw new DriverError('notFound', `no DHCP server of ${networkId}`);
      for (const listener of listeners) listener({ type: 'dhcpDied', networkId });
    },
    failNext(method, error) {
      failures.set(method, error);
    },
  };
}

function checkLease(network: NetworkSpec, host: DhcpHost): string {
  checkLinkName(network.bridge);
  checkMac(host.mac);
  return checkAddress(host.address);
}

function entryOf(networks: ReadonlyMap<string, FakeServedNetwork>, networkId: string): FakeServedNetwork {
  const entry = networks.get(networkId);
  if (entry === undefined) throw new DriverError('notFound', `no network ${networkId}`);
  return entry;
}

function checkFirewall(wanted: FirewallSpec): void {
  renderFirewall(wanted, { matchesBridges: true, uplink: undefined });
  for (const network of wanted.networks) {
    if (network.router !== undefined) renderRouter({ networks: [network], metadataPort: wanted.metadataPort, floating: [] }, tableName);
  }
}

function checkWish(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours: readonly Neighbour[]): void {
  checkJoined(network);
  if (network.router !== undefined) {
    checkNamespace(network.router.namespace);
    segmentOf(network);
  }
  dnsmasqArguments(network, dnsmasqFiles('/', network.bridge));
  renderDhcpHosts(hosts);
  renderNames([...hosts, ...neighbours]);
}
