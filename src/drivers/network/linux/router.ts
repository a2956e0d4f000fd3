// The router of a project on this host: a namespace that holds the gateway of each of its networks, the same address and MAC on every host,
// with a link to the host by which guests reach the outside. Nothing of it crosses to other hosts, which have routers of their own.
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import { addressNumber, addressText } from '../../../lib/ipv4.ts';
import type { NetworkSpec, RouterSpec } from '../driver.ts';
import { ensureOnlyAddresses, quietIPv6, readLink } from './bridge.ts';
import { bridgeMac } from './macs.ts';
import { checkAddress, checkLinkName, parseIPv4Cidr } from './names.ts';
import type { Namespaces } from './namespace.ts';
import { routerPort, uplinkName } from './project-links.ts';

const transitPairs = 2 ** 13;
const transitBase = addressNumber('169.254.64.0');

/** The host that a router is on. */
export interface RouterPlace {
  /** Runs commands of the host. */
  readonly host: Run;
  readonly namespaces: Namespaces;
}

/** After: the namespace is there with its link to the host. Returns whether it is another namespace than before. */
export async function ensureRouter({ host, namespaces }: RouterPlace, router: RouterSpec): Promise<{ created: boolean }> {
  const { created } = await namespaces.ensure(router.namespace);
  const inside = namespaces.inside(router.namespace);
  const link = checkLinkName(router.link);
  let near = await readLink(host, link);
  let far = await readLink(inside, uplinkName);
  if (near === undefined || far === undefined) {
    if (near !== undefined) await host('ip', ['link', 'delete', 'dev', link]);
    if (far !== undefined) await inside('ip', ['link', 'delete', 'dev', uplinkName]);
    await host('ip', ['link', 'add', 'name', link, 'type', 'veth', 'peer', 'name', uplinkName,
      'netns', await namespaces.linkTarget(router.namespace)]);
    [near, far] = [undefined, undefined];
  }
  const held = near?.addr_info?.find((entry) => entry.family === 'inet')?.local;
  const hostAddress = held ?? (await freeTransit(host));
  const own = addressText(addressNumber(hostAddress) + 1);
  await quietIPv6(host, link);
  if (held === undefined) await host('ip', ['address', 'add', `${hostAddress}/31`, 'dev', link]);
  await ensureOnlyAddresses(inside, uplinkName, { found: far, wanted: [{ local: own, prefixlen: 31 }] });
  if (!near?.flags.includes('UP')) await host('ip', ['link', 'set', 'dev', link, 'up']);
  if (!far?.flags.includes('UP')) await inside('ip', ['link', 'set', 'dev', uplinkName, 'up']);
  await inside('ip', ['route', 'replace', 'default', 'via', hostAddress]);
  return { created };
}

/** The lowest pair that no link of this host has. */
async function freeTransit(host: Run): Promise<string> {
  const { stdout } = await host('ip', ['-j', 'address', 'show']);
  const links = JSON.parse(stdout) as { addr_info?: { family: string; local?: string }[] }[];
  const taken = new Set(links.flatMap((link) => link.addr_info ?? []).flatMap(({ family, local }) =>
    (family === 'inet' && local !== undefined ? [addressNumber(local) - transitBase] : [])));
  const pair = Array.from({ length: transitPairs }, (_, index) => index * 2).find((offset) => !taken.has(offset));
  if (pair === undefined) throw new DriverError('failed', `this host has no room for another router: ${transitPairs} are there`);
  return addressText(transitBase + pair);
}

/** After: the router's leg in a network is on its bridge, with the gateway's address. Returns whether it had to be made. */
export async function ensureLeg({ host, namespaces }: RouterPlace, network: NetworkSpec, router: RouterSpec): Promise<{ created: boolean }> {
  const inside = namespaces.inside(router.namespace);
  const [port, leg, mac] = [routerPort(network), checkLinkName(network.bridge), bridgeMac(network.id)];
  let near = await readLink(host, port);
  let far = await readLink(inside, leg);
  const created = near === undefined || far === undefined;
  if (created) {
    if (near !== undefined) await host('ip', ['link', 'delete', 'dev', port]);
    if (far !== undefined) await inside('ip', ['link', 'delete', 'dev', leg]);
    await host('ip', ['link', 'add', 'name', port, 'mtu', String(network.mtu), 'type', 'veth',
      'peer', 'name', leg, 'mtu', String(network.mtu), 'address', mac,
      'netns', await namespaces.linkTarget(router.namespace)]);
    [near, far] = [undefined, undefined];
  }
  await quietIPv6(host, port);
  for (const [run, dev, link] of [[host, port, near], [inside, leg, far]] as const) {
    if (link !== undefined && link.mtu !== network.mtu) await run('ip', ['link', 'set', 'dev', dev, 'mtu', String(network.mtu)]);
  }
  if (far !== undefined && far.address !== mac) await inside('ip', ['link', 'set', 'dev', leg, 'address', mac]);
  const { prefix } = parseIPv4Cidr(network.cidr);
  await ensureOnlyAddresses(inside, leg, { found: far, wanted: [{ local: checkAddress(network.gateway), prefixlen: prefix }] });
  if (near?.master !== network.bridge) await host('ip', ['link', 'set', 'dev', port, 'master', network.bridge]);
  if (!far?.flags.includes('UP')) await inside('ip', ['link', 'set', 'dev', leg, 'up']);
  if (!near?.flags.includes('UP')) await host('ip', ['link', 'set', 'dev', port, 'up']);
  // What was given a new bridge is not known there; nobody else may be taken for the gateway in the meantime.
  if (near?.master !== network.bridge) await host('bridge', ['fdb', 'replace', mac, 'dev', port, 'master', 'static']);
  return { created };
}

/** After: the router has no leg in that network; one that has none left is gone, with its namespace. */
export async function removeLeg({ host, namespaces }: RouterPlace, network: NetworkSpec, router: RouterSpec): Promise<void> {
  const port = routerPort(network);
  if ((await readLink(host, port)) !== undefined) await host('ip', ['link', 'delete', 'dev', port]);
  if (!(await namespaces.exists(router.namespace))) return;
  const { stdout } = await namespaces.inside(router.namespace)('ip', ['-j', 'link', 'show']);
  const others = (JSON.parse(stdout) as { ifname: string }[]).filter(({ ifname }) => ifname !== 'lo' && ifname !== uplinkName);
  if (others.length > 0) return;
  if ((await readLink(host, checkLinkName(router.link))) !== undefined) await host('ip', ['link', 'delete', 'dev', router.link]);
  await namespaces.remove(router.namespace);
}
