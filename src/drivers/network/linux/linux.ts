// The network of a Linux host: a bridge and a dnsmasq for each network, and novact's own nftables tables for all of them. Every method
// looks at what is there and changes only what differs; calls about one network, and about the firewall, go one after another.
import { rm } from 'node:fs/promises';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { DhcpHost, Neighbour, NetworkDriver, NetworkSpec, ProbedSegments } from '../driver.ts';
import { createFirewall, type InTurn } from './firewall.ts';
import { createNamespaces } from './namespace.ts';
import { plumbedNetworks } from './plumbed.ts';
import { createPlumber } from './plumber.ts';
import { createRouters } from './routers.ts';
import { probeVlan, probeVxlan } from './segment.ts';
import { ensureBridgedFiltering, foreignDropNotices, restoreForwarding } from './uplink.ts';
import { createWatch } from './watch.ts';

export interface LinuxNetworkSettings {
  /** Bound to a network namespace where the host lives in one. */
  readonly run: Run;
  /** Of the machine, outside of that namespace: for the routers, which have their own. Default: `run`. */
  readonly machine?: Run;
  readonly log: Log;
  readonly clock: Clock;
  /** A folder of this driver's own: made when it is missing, removed by `removeAll`. */
  readonly stateDirectory: string;
  /** Masquerade only what leaves by this interface, where floating addresses are, too. Default: any that is no bridge of novact's, as routes say. */
  readonly uplink?: string | undefined;
  /** How often each DHCP server is looked at. Default 300: one that died is back within a second. */
  readonly watchMs?: number;
}

export interface LinuxNetwork extends NetworkDriver {
  /** What in the host's own firewall will stop guests, with the remedy; empty: nothing. For `doctor` and the log. */
  foreignDropNotices(): Promise<readonly string[]>;
}

const packages: Readonly<Record<string, string>> = {
  ip: 'iproute2', bridge: 'iproute2', nft: 'nftables', dnsmasq: 'dnsmasq-base', dhcp_release: 'dnsmasq-utils', arping: 'iputils-arping',
  nsenter: 'util-linux', perl: 'perl-base',
};

export function createLinuxNetwork(settings: LinuxNetworkSettings): LinuxNetwork {
  const { run, log, clock } = settings;
  const directory = settings.stateDirectory;
  const inTurn = createTurns();
  const watch = createWatch({
    clock, log, everyMs: settings.watchMs ?? 300, revive: (server) => inTurn(turnOf(server.network), () => plumber.revive(server)),
  });
  const namespaces = createNamespaces({ machine: settings.machine ?? run, clock, log });
  const routers = createRouters({ run, namespaces, log });

  const firewall = createFirewall({ ...settings, routers, inTurn });
  const plumber = createPlumber({ run, log, clock, directory, namespaces, routers, watch });
  /** Networks of one router share its namespace. */
  const turnOf = ({ bridge, router }: NetworkSpec): string => router?.namespace ?? bridge;

  async function ensureNetwork(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours: readonly Neighbour[]): Promise<void> {
    await plumber.ensure(network, hosts, neighbours);
    // Addresses that waited for the router's link.
    if (network.router !== undefined) await firewall.arriveByRouters();
  }

  async function removeAll(networks: readonly NetworkSpec[]): Promise<void> {
    const known = new Map([...networks, ...(await plumbedNetworks(directory))].map((network) => [network.bridge, network]));
    await firewall.leaveAddresses();
    for (const network of known.values()) await plumber.remove(network);
    await firewall.removeRules();
    await restoreForwarding(run, directory);
    await rm(directory, { recursive: true, force: true });
  }

  return {
    info: { name: 'linux', plumbs: true },
    probe: (segments) => probe(run, segments),
    ensureNetwork: (network, hosts, neighbours = []) => inTurn(turnOf(network), () => ensureNetwork(network, hosts, neighbours)),
    releaseLease: (network, host) => inTurn(turnOf(network), () => plumber.releaseLease(network, host)),
    applyFirewall: (wanted) => inTurn('firewall ', () => firewall.apply(wanted)),
    plumbed: () => plumbedNetworks(directory),
    removeNetwork: (network) => inTurn(turnOf(network), () => plumber.remove(network)),
    subscribe: watch.subscribe,
    removeAll: (networks) => inTurn('firewall ', () => removeAll(networks)),
    async close() {
      watch.close();
    },
    foreignDropNotices: () => foreignDropNotices(run),
  };
}

async function probe(run: Run, segments: ProbedSegments | undefined): Promise<void> {
  for (const [command, from] of Object.entries(packages)) {
    const { code } = await run('sh', ['-c', `command -v ${command}`], { okCodes: [0, 1, 127] });
    if (code !== 0) throw new DriverError('unsupported', `${command} is not installed; try: apt-get install ${from}`);
  }
  const identity = await run('id', ['-u']);
  if (identity.stdout.trim() !== '0') throw new DriverError('unsupported', 'bridges, DHCP and firewall rules need root; start novact as root');
  await ensureBridgedFiltering(run);
  await run('nft', ['list', 'tables']).catch((error: unknown) => {
    throw new DriverError('unsupported', `nftables does not work here: ${messageOf(error)}; try: modprobe nf_tables`, { cause: error });
  });
  if (segments?.kind === 'vlan') await probeVlan(run, segments.interface);
  if (segments?.kind === 'vxlan') await probeVxlan(run);
}

/** Runs what is given under one key one after another; a failure does not stop the next. */
function createTurns(): InTurn {
  const last = new Map<string, Promise<unknown>>();
  return (key, work) => {
    const turn = (last.get(key) ?? Promise.resolve()).then(work, work);
    last.set(key, turn);
    const tidy = () => {
      if (last.get(key) === turn) last.delete(key);
    };
    turn.then(tidy, tidy);
    return turn;
  };
}
