// One network of a host: its bridge, what joins it with other hosts, its router if it has one, and its DHCP server. Calls about one network, or
// about networks of one router, must come one after another.
import { mkdir, rm } from 'node:fs/promises';
import type { Clock } from '../../../lib/clock.ts';
import { messageOf } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import type { Log } from '../../../lib/log.ts';
import type { DhcpHost, Neighbour, NetworkSpec } from '../driver.ts';
import { ensureBridge, removeBridge } from './bridge.ts';
import { dnsmasqFiles, endServers, ensureServer, staleLeases, type DnsmasqFiles, type EnsureServer, type Lease } from './dnsmasq.ts';
import { ensureFabric } from './fabric.ts';
import { checkAddress, checkJoined, checkLinkName, checkMac } from './names.ts';
import type { Namespaces } from './namespace.ts';
import { rememberNetwork } from './plumbed.ts';
import type { Routers } from './routers.ts';
import { removeSegment } from './segment.ts';
import { ensureBridgedFiltering, ensureForwarding } from './uplink.ts';

/** A DHCP server that is looked at. */
export interface Watched {
  readonly network: NetworkSpec;
  readonly pid: number;
  readonly files: DnsmasqFiles;
}

export interface PlumberTools {
  readonly run: Run;
  readonly log: Log;
  readonly clock: Clock;
  readonly directory: string;
  readonly namespaces: Namespaces;
  readonly routers: Routers;
  readonly watch: { add(server: Watched): void; pause(key: string): Watched | undefined };
}

export interface Plumber {
  ensure(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours: readonly Neighbour[]): Promise<void>;
  /** A server that died runs again as it was. Nothing else is looked at, so that guests wait for a moment only. */
  revive(server: Watched): Promise<void>;
  releaseLease(network: NetworkSpec, host: Lease): Promise<void>;
  remove(network: NetworkSpec): Promise<void>;
}

export function createPlumber(tools: PlumberTools): Plumber {
  const { run, log, clock, directory, namespaces, routers, watch } = tools;
  /** Where the network's gateway is. */
  const runOf = ({ router }: NetworkSpec): Run => (router === undefined ? run : namespaces.inside(router.namespace));
  /** What each server was last started or adopted with, by its pid file. */
  const served = new Map<string, EnsureServer>();

  async function serve(wanted: EnsureServer): Promise<void> {
    const { network, files } = wanted;
    served.set(files.pid, { ...wanted, anew: false });
    watch.add({ network, pid: await ensureServer(wanted, { run: runOf(network), clock }), files });
  }

  async function ensure(network: NetworkSpec, hosts: readonly DhcpHost[], neighbours: readonly Neighbour[]): Promise<void> {
    checkJoined(network);
    const files = dnsmasqFiles(directory, network.bridge);
    await mkdir(directory, { recursive: true, mode: 0o755 });
    await Promise.all([ensureBridgedFiltering(run), ensureForwarding(run, directory)]);
    const { created } = await ensureBridge(run, network);
    await rememberNetwork(files, network);
    const moved = network.router !== undefined && (await routers.ensureLeg(network, network.router));
    if (network.router === undefined) await ensureFabric(run, network, files.fabric);
    // Watching stops for the moment in which a server that is replaced has ended.
    const watched = watch.pause(files.pid);
    served.delete(files.pid);
    if (network.dhcp === false) return endServers(files, clock);
    await serve({ network, hosts, neighbours, files, anew: created || moved }).catch((error: unknown) => {
      if (watched !== undefined) watch.add(watched);
      throw error;
    });
    // A server that was dead when a lease was to end still has it, and would refuse the address to its next owner.
    for (const lease of await staleLeases(files, hosts)) await releaseLease(network, lease);
  }

  async function revive({ files }: Watched): Promise<void> {
    const wanted = served.get(files.pid);
    if (wanted !== undefined) await serve(wanted);
  }

  async function releaseLease(network: NetworkSpec, host: Lease): Promise<void> {
    const [bridge, address, mac] = [checkLinkName(network.bridge), checkAddress(host.address), checkMac(host.mac)];
    const isThere = network.router === undefined || (await namespaces.exists(network.router.namespace));
    if (isThere && network.dhcp !== false) await runOf(network)('dhcp_release', [bridge, address, mac], { okCodes: [0, 1] });
    await forgetConnections(run, { address, zone: network.segment?.id }, log);
    if (isThere && network.router !== undefined) await forgetConnections(runOf(network), { address, zone: undefined }, log);
  }

  async function remove(network: NetworkSpec): Promise<void> {
    const files = dnsmasqFiles(directory, network.bridge);
    watch.pause(files.pid);
    served.delete(files.pid);
    await endServers(files, clock);
    if (network.router !== undefined) await routers.removeLeg(network, network.router);
    if (network.segment !== undefined) await removeSegment(run, network.segment);
    await removeBridge(run, network.bridge);
    await rm(files.directory, { recursive: true, force: true });
  }

  return { ensure, revive, releaseLease, remove };
}

/** A new owner of an address must not inherit the open connections of the last one. Not vital, so a host without conntrack will do. */
async function forgetConnections(run: Run, of: { address: string; zone: number | undefined }, log: Log): Promise<void> {
  const { address, zone } = of;
  for (const direction of ['--orig-src', '--orig-dst', '--reply-src']) {
    const inZone = zone === undefined ? [] : ['--zone', String(zone)];
    await run('conntrack', ['-D', direction, address, ...inZone], { okCodes: [0, 1] }).catch((error: unknown) => {
      log.debug({ address, error: messageOf(error) }, 'connections of a freed address were not cut');
    });
  }
}
