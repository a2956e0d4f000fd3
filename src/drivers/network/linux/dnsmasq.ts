// One dnsmasq a network: DHCP with fixed leases and the names of the guests. It is a daemon of its own, so that guests keep their leases
// while novact restarts; whoever comes next finds it in /proc by the path of its pid file and adopts it.
import { access, mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Clock } from '../../../lib/clock.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import { addressNumber } from '../../../lib/ipv4.ts';
import { isUniqueLocal, slaacAddress } from '../../../lib/ipv6.ts';
import type { DhcpHost, Neighbour, NetworkSpec } from '../driver.ts';
import { checkAddress, checkDomain, checkHostName, checkInteger, checkLinkName, checkMac, parseIPv4Cidr } from './names.ts';
import { argumentsOf, endProcess, findProcesses, signalProcess, type FoundProcess } from '../../../lib/processes.ts';

export interface DnsmasqFiles {
  readonly directory: string;
  /** Which interface was made part of the bridge by us. */
  readonly fabric: string;
  /** The network as it was plumbed. */
  readonly network: string;
  readonly hosts: string;
  readonly names: string;
  readonly leases: string;
  readonly pid: string;
}

export function dnsmasqFiles(stateDirectory: string, bridge: string): DnsmasqFiles {
  const directory = join(stateDirectory, checkLinkName(bridge));
  const file = (name: string): string => join(directory, name);
  return {
    directory, fabric: file('flat-interface'), network: file('network.json'), hosts: file('dhcp-hosts'), names: file('names'), leases: file('leases'),
    pid: file('dnsmasq.pid'),
  };
}

/** The whole command line; a running server with another one is started anew. */
export function dnsmasqArguments(network: NetworkSpec, files: DnsmasqFiles): string[] {
  const cidr = parseIPv4Cidr(network.cidr);
  const gateway = checkAddress(network.gateway);
  const domain = checkDomain(network.dnsDomain);
  const leaseSeconds = checkInteger(network.leaseSeconds, { kind: 'a lease time', min: 120, max: 31_536_000 });
  return [
    '--conf-file=', `--pid-file=${files.pid}`,
    '--bind-interfaces', `--interface=${checkLinkName(network.bridge)}`, '--except-interface=lo',
    `--dhcp-range=${cidr.address},static,${netmask(cidr.prefix)},${leaseSeconds}s`,
    `--dhcp-lease-max=${2 ** (32 - cidr.prefix)}`, '--dhcp-authoritative',
    `--dhcp-hostsfile=${files.hosts}`, `--dhcp-leasefile=${files.leases}`,
    `--dhcp-option=3,${gateway}`, `--dhcp-option=121,169.254.169.254/32,${gateway},0.0.0.0/0,${gateway}`,
    `--dhcp-option=26,${checkInteger(network.mtu, { kind: 'an MTU', min: 576, max: 65_535 })}`,
    '--no-hosts', `--addn-hosts=${files.names}`, `--domain=${domain}`, `--local=/${domain}/`, '--expand-hosts', '--domain-needed', '--bogus-priv',
    '--quiet-dhcp', '--quiet-ra', ...advertisements(network, leaseSeconds),
  ];
}

/** Guests are told the prefix, and make their addresses. A prefix that nobody outside knows brings no route to the outside. */
function advertisements({ bridge, ipv6 }: NetworkSpec, leaseSeconds: number): string[] {
  if (ipv6 === undefined) return [];
  const range = `--dhcp-range=${ipv6.replace('/64', '')},ra-only,64,${leaseSeconds}s`;
  return ['--enable-ra', range, ...(isUniqueLocal(ipv6) ? [`--ra-param=${bridge},0,0`] : [])];
}

function netmask(prefix: number): string {
  const bits = prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.');
}

/** `mac,address,name` lines, by address. */
export const renderDhcpHosts = (hosts: readonly DhcpHost[]): string =>
  byAddress(hosts).map((host) => `${checkMac(host.mac)},${checkAddress(host.address)},${checkHostName(host.hostname)}\n`).join('');

/** An /etc/hosts of the network, so that a name answers before its guest has a lease. */
export const renderNames = (hosts: readonly Neighbour[]): string =>
  byAddress(hosts).map((host) => `${checkAddress(host.address)} ${checkHostName(host.hostname)}\n`).join('');

const renderIPv6Names = (ipv6: string | undefined, hosts: readonly DhcpHost[]): string =>
  (ipv6 === undefined ? '' : byAddress(hosts).map((host) => `${slaacAddress(ipv6, checkMac(host.mac))} ${checkHostName(host.hostname)}\n`).join(''));

const byAddress = <T extends Neighbour>(hosts: readonly T[]): T[] => hosts.toSorted((a, b) => addressNumber(a.address) - addressNumber(b.address));

/** All servers, of any start of novact, that were given this pid file; there should be one. */
export const findServers = (files: DnsmasqFiles): Promise<FoundProcess[]> => findProcesses((args) => isServer(args, `--pid-file=${files.pid}`));

const isServer = (args: readonly string[], pidFile: string): boolean => args[0]?.endsWith('dnsmasq') === true && args.includes(pidFile);

export const serverLives = async (pid: number, files: DnsmasqFiles): Promise<boolean> => isServer(await argumentsOf(pid), `--pid-file=${files.pid}`);

export interface EnsureServer {
  readonly network: NetworkSpec;
  readonly hosts: readonly DhcpHost[];
  /** Instances on other hosts: their names resolve, their DHCP is none of ours. */
  readonly neighbours: readonly Neighbour[];
  readonly files: DnsmasqFiles;
  /** Start anew even if the running server looks right: its bridge is another one now. */
  readonly anew: boolean;
}

/** After: exactly one server with these arguments runs and knows these hosts. Returns its process id. */
export async function ensureServer(wanted: EnsureServer, tools: { run: Run; clock: Clock }): Promise<number> {
  const { files, network } = wanted;
  const args = dnsmasqArguments(network, files);
  const hosts = renderDhcpHosts(wanted.hosts);
  const names = renderNames([...wanted.hosts, ...wanted.neighbours]) + renderIPv6Names(network.ipv6, wanted.hosts);
  await mkdir(files.directory, { recursive: true, mode: 0o755 });
  await checkReachable(files.directory);
  const changed = [await replaceFile(files.hosts, hosts), await replaceFile(files.names, names)].includes(true);
  const servers = await findServers(files);
  const right = wanted.anew ? undefined : servers.find((server) => server.args.slice(1).join('\0') === args.join('\0'));
  for (const server of servers) if (server !== right) await endProcess(server, tools.clock);
  if (right === undefined) return startServer({ args, files }, tools);
  // A change whose signal was lost with a killed novact must not stay unknown: the first look after a start always signals.
  if (changed || !signalled.has(right.pid)) signalProcess(right.pid, 'SIGHUP');
  signalled.add(right.pid);
  return right.pid;
}

export type Lease = Pick<DhcpHost, 'mac' | 'address'>;

/** Leases that the server remembers of guests that it is not to serve: nobody answered when they were ended. */
export async function staleLeases({ leases }: DnsmasqFiles, hosts: readonly DhcpHost[]): Promise<Lease[]> {
  const text = await readFile(leases, 'utf8').catch(() => ''); // none was given yet
  const served = new Set(hosts.map(({ mac, address }) => `${mac} ${address}`));
  return text.split('\n').flatMap((line) => {
    const [, mac, address] = /^\d+ (\S+) (\S+) /.exec(line) ?? [];
    return mac === undefined || address === undefined || served.has(`${mac} ${address}`) ? [] : [{ mac, address }];
  });
}

/** Servers that this process has started or told to read their files again. */
const signalled = new Set<number>();

async function startServer(server: { args: readonly string[]; files: DnsmasqFiles }, tools: { run: Run; clock: Clock }): Promise<number> {
  // The command ends when the daemon has bound its sockets, so there is nothing to wait for.
  await tools.run('dnsmasq', server.args);
  const pid = Number((await readFile(server.files.pid, 'utf8')).trim());
  if (!(await serverLives(pid, server.files))) throw new DriverError('failed', `dnsmasq for ${server.files.directory} ended as soon as it was started`);
  signalled.add(pid);
  return pid;
}

/** After: no server runs, of any start of novact. */
export async function endServers(files: DnsmasqFiles, clock: Clock): Promise<void> {
  for (const server of await findServers(files)) await endProcess(server, clock);
}

/** dnsmasq gives up root and then reads its files again and again: every folder above them must let others pass. */
async function checkReachable(directory: string): Promise<void> {
  for (let folder = directory; folder !== dirname(folder); folder = dirname(folder)) {
    if (((await stat(folder)).mode & 0o001) === 0) {
      throw new DriverError('unsupported', `dnsmasq cannot read ${directory}, because ${folder} is closed to other users; mend it with: chmod o+x ${folder}`);
    }
  }
}

/** Whole or not at all; returns whether anything changed. */
export async function replaceFile(path: string, content: string): Promise<boolean> {
  const old = await access(path).then(() => readFile(path, 'utf8'), () => undefined);
  if (old === content) return false;
  await writeFile(`${path}.new`, content, { mode: 0o644 });
  await rename(`${path}.new`, path);
  return true;
}
