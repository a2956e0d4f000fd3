// The network of a Linux host: a bridge and a dnsmasq for each network, and novact's own nftables tables for all of them. Every method
// looks at what is there and changes only what differs; calls about one network, and about the firewall, go one after another.
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError, messageOf } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { DhcpHost, FirewallSpec, Neighbour, NetworkDriver, NetworkSpec, Segment } from '../driver.ts';
import { endConnections, floatingChange, floatingInForce } from './floating.ts';
import { ledByRouters, routedFloatingChange } from './floating-routed.ts';
import { createNamespaces } from './namespace.ts';
import { renderFirewall, renderRemoval, tableName } from './nft.ts';
import { plumbedNetworks } from './plumbed.ts';
import { createPlumber } from './plumber.ts';
import { createRouters } from './routers.ts';
import { probeVlan, probeVxlan } from './segment.ts';
import { ensureBridgedFiltering, foreignDropNotices, matchesBridges, restoreForwarding } from './uplink.ts';
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
  const firewall = createFirewall(settings);
  const namespaces = createNamespaces({ machine: settings.machine ?? run, clock, log });
  const routers = createRouters({ run, namespaces, log });

  const outside = { run, log, uplink: settings.uplink };
  let led: ReturnType<typeof ledByRouters> = [];

  const plumber = createPlumber({ run, log, clock, directory, namespaces, routers, watch });
  /** Networks of one router share its namespace. */
  const turnOf = ({ bridge, router }: NetworkSpec): string => router?.namespace ?? bridge;

  async function ensureNetwork(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours: readonly Neighbour[]): Promise<void> {
    await plumber.ensure(network, hosts, neighbours);
    // Addresses that waited for the router's link.
    if (network.router !== undefined && led.length > 0) await inTurn('led ', async () => (await routedFloatingChange(outside, led)).arrive());
  }

  async function applyFirewall(wanted: FirewallSpec): Promise<void> {
    led = ledByRouters(wanted);
    const change = await routedFloatingChange(outside, led);
    await change.leave();
    await firewall.apply(ofHost(wanted));
    for (const router of routers.changed(wanted)) await inTurn(router.namespace, () => routers.applyRules(router));
    if (led.length > 0) await inTurn('led ', async () => (await routedFloatingChange(outside, led)).arrive());
  }

  async function removeAll(networks: readonly NetworkSpec[]): Promise<void> {
    const known = new Map([...networks, ...(await plumbedNetworks(directory))].map((network) => [network.bridge, network]));
    await (await routedFloatingChange(outside, [])).leave();
    for (const network of known.values()) await plumber.remove(network);
    await firewall.remove();
    await restoreForwarding(run, directory);
    await rm(directory, { recursive: true, force: true });
  }

  return {
    info: { name: 'linux', plumbs: true },
    probe: (segments) => probe(run, segments),
    ensureNetwork: (network, hosts, neighbours = []) => inTurn(turnOf(network), () => ensureNetwork(network, hosts, neighbours)),
    releaseLease: (network, host) => inTurn(turnOf(network), () => plumber.releaseLease(network, host)),
    applyFirewall: (wanted) => inTurn('firewall ', () => applyFirewall(wanted)),
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

async function probe(run: Run, segments: Segment['kind'] | undefined): Promise<void> {
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
  if (segments === 'vlan') await probeVlan(run);
  if (segments === 'vxlan') await probeVxlan(run);
}

/** Floating addresses of guests behind a router are not the host's own. */
function ofHost(wanted: FirewallSpec): FirewallSpec {
  const routed = new Set(wanted.networks.flatMap(({ bridge, router }) => (router === undefined ? [] : [bridge])));
  return { ...wanted, floating: (wanted.floating ?? []).filter(({ bridge }) => !routed.has(bridge)) };
}

/** The live tables as nft prints them, without counters: tells whether somebody else changed or flushed them. */
function createFirewall(settings: LinuxNetworkSettings): { apply(wanted: FirewallSpec): Promise<void>; remove(): Promise<void> } {
  const { run, log } = settings;
  let applied: { text: string; live: string } | undefined;
  let canMatchBridges: boolean | undefined;

  async function live(): Promise<string | undefined> {
    const lists = await Promise.all(['inet', 'bridge'].map((family) => run('nft', ['-s', 'list', 'table', family, tableName], { okCodes: [0, 1] })));
    if (lists.some((list) => list.code !== 0)) return undefined;
    return createHash('sha256').update(lists.map((list) => list.stdout).join('')).digest('hex');
  }
  async function replace(text: string, floating: ReadonlyMap<string, string>, { ports, networks }: FirewallSpec): Promise<void> {
    if (applied?.text === text) log.warn({}, "novact's firewall rules were changed by somebody else; putting them back");
    applied = undefined;
    const before = await floatingInForce(run, tableName);
    await run('nft', ['-f', '-'], { input: text });
    await endConnections(run, log, { before, now: floating });
    const now = await live();
    if (now !== undefined) applied = { text, live: now };
    log.info({ ports: ports.length, networks: networks.length, floating: floating.size }, 'firewall applied');
  }
  return {
    async apply(wanted) {
      if (canMatchBridges === undefined) {
        canMatchBridges = await matchesBridges(run);
        for (const notice of await foreignDropNotices(run)) log.warn({}, notice);
      }
      const floating = new Map((wanted.floating ?? []).map(({ address, fixed }) => [address, fixed]));
      const text = renderFirewall(wanted, { matchesBridges: canMatchBridges, uplink: settings.uplink });
      const change = await floatingChange({ run, log, uplink: settings.uplink }, [...floating.keys()]);
      await change.leave();
      if (applied?.text !== text || applied.live !== (await live())) await replace(text, floating, wanted);
      await change.arrive();
    },
    async remove() {
      applied = undefined;
      await (await floatingChange({ run, log }, [])).leave();
      await run('nft', ['-f', '-'], { input: renderRemoval() });
    },
  };
}

/** Runs what is given under one key one after another; a failure does not stop the next. */
function createTurns(): <T>(key: string, work: () => Promise<T>) => Promise<T> {
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
