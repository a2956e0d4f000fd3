// A network in memory: what was ensured can be looked at, and its DHCP server can be made to die. It refuses what the real one refuses,
// by the same checks, so that a wish that could not be rendered does not pass here either.
import { DriverError } from '../../lib/errors.ts';
import type { DhcpHost, FirewallSpec, NetworkDriver, NetworkSpec } from './driver.ts';
import { dnsmasqArguments, dnsmasqFiles, renderDhcpHosts } from './linux/dnsmasq.ts';
import { checkAddress, checkLinkName, checkMac } from './linux/names.ts';
import { renderFirewall } from './linux/nft.ts';

export interface FakeNetworkHost {
  /** By network id: what is served. */
  readonly networks: ReadonlyMap<string, { readonly network: NetworkSpec; readonly hosts: readonly DhcpHost[]; readonly dhcpAlive: boolean }>;
  /** Undefined: no rules. */
  readonly firewall: FirewallSpec | undefined;
  /** The addresses whose leases were ended, in order. */
  readonly released: readonly string[];
}

export interface FakeNetwork extends NetworkDriver {
  readonly host: FakeNetworkHost;
  /** The network's DHCP server dies, as if somebody had killed it. */
  killDhcp(networkId: string): void;
  /** The next call of that method fails with this. */
  failNext(method: 'ensureNetwork' | 'releaseLease' | 'applyFirewall' | 'removeAll', error: Error): void;
}

type Listener = Parameters<NetworkDriver['subscribe']>[0];

export function createFakeNetwork(): FakeNetwork {
  const networks = new Map<string, { network: NetworkSpec; hosts: readonly DhcpHost[]; dhcpAlive: boolean }>();
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
    async ensureNetwork(network, hosts) {
      mayFail('ensureNetwork');
      dnsmasqArguments(network, dnsmasqFiles('/', network.bridge));
      renderDhcpHosts(hosts);
      networks.set(network.id, { network, hosts: [...hosts], dhcpAlive: true });
    },
    async releaseLease(network, host) {
      mayFail('releaseLease');
      checkLinkName(network.bridge);
      checkMac(host.mac);
      released.push(checkAddress(host.address));
    },
    async applyFirewall(wanted) {
      mayFail('applyFirewall');
      renderFirewall(wanted, { matchesBridges: true, uplink: undefined });
      firewall = wanted;
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
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
      const entry = networks.get(networkId);
      if (entry === undefined) throw new DriverError('notFound', `no network ${networkId}`);
      entry.dhcpAlive = false;
      for (const listener of listeners) listener({ type: 'dhcpDied', networkId });
    },
    failNext(method, error) {
      failures.set(method, error);
    },
  };
}
