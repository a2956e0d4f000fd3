// One bridge a network, with the gateway's address where the host is the gateway. A bridge is known as novact's by the alias of its link; one
// that has another, or none, is left alone, whatever its name.
import { DriverError } from '../../../lib/errors.ts';
import type { Run } from '../../../lib/exec.ts';
import { gatewayAddress } from '../../../lib/ipv6.ts';
import type { NetworkSpec } from '../driver.ts';
import { bridgeMac, switchMac } from './macs.ts';
import { checkAddress, checkInteger, checkLinkName, parseIPv4Cidr } from './names.ts';
import { readSwitch, writeSwitch } from './uplink.ts';

export interface Link {
  readonly ifname?: string;
  readonly address: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly link_type?: string;
  /** The bridge that it is part of. */
  readonly master?: string;
  /** Of a VLAN: what carries it. */
  readonly link?: string;
  readonly linkinfo?: { readonly info_kind?: string; readonly info_data?: LinkData };
  readonly addr_info?: readonly {
    readonly family: string; readonly local: string; readonly prefixlen: number; readonly scope?: string; readonly metric?: number;
  }[];
}

/** Of bridges, of VLANs (`id`), of VXLANs. */
interface LinkData {
  readonly nf_call_iptables?: number;
  readonly nf_call_ip6tables?: number;
  readonly forward_delay?: number;
  readonly id?: number;
  readonly port?: number;
  readonly local?: string;
}

const aliasPrefix = 'novact ';

export async function readLink(run: Run, name: string): Promise<Link | undefined> {
  const { code, stdout } = await run('ip', ['-j', '-d', 'address', 'show', 'dev', name], { okCodes: [0, 1] });
  if (code !== 0) return undefined;
  return (JSON.parse(stdout) as Link[])[0];
}

/** Returns whether the bridge had to be made: whoever listens on an old one of that name must start again. */
export async function ensureBridge(run: Run, network: NetworkSpec): Promise<{ created: boolean }> {
  const name = checkLinkName(network.bridge);
  const prefix = parseIPv4Cidr(network.cidr).prefix;
  const mtu = checkInteger(network.mtu, { kind: 'an MTU', min: 576, max: 65_535 });
  const found = await readLink(run, name);
  if (found !== undefined) checkOwn(name, found);
  const isGateway = network.router === undefined;
  const mac = isGateway ? bridgeMac(network.id) : switchMac(network.id);
  if (found === undefined) await run('ip', ['link', 'add', 'name', name, 'address', mac, 'mtu', String(mtu), 'type', 'bridge', ...bridgeOptions]);
  const alias = `${aliasPrefix}${network.id}`;
  if (found?.ifalias !== alias) await run('ip', ['link', 'set', 'dev', name, 'alias', alias]);
  if (found !== undefined) await mendLink(run, name, { found, mac, mtu });
  await (network.ipv6 === undefined ? quietIPv6(run, name) : speakIPv6(run, name));
  const own = network.hostAddress === undefined ? [] : [{ local: checkAddress(network.hostAddress), prefixlen: 32 }];
  const wanted = isGateway ? [{ local: checkAddress(network.gateway), prefixlen: prefix }, ...own] : [];
  await ensureOnlyAddresses(run, name, { found, wanted });
  if (!found?.flags.includes('UP')) await run('ip', ['link', 'set', 'dev', name, 'up']);
  if (network.ipv6 !== undefined) await ensureIPv6Address(run, name, { found, wanted: `${gatewayAddress(network.ipv6)}/64` });
  return { created: found === undefined };
}

const bridgeOptions = ['forward_delay', '0', 'nf_call_iptables', '1', 'nf_call_ip6tables', '1'];

/** Takes away a bridge of novact's. One of others with that name stays. */
export async function removeBridge(run: Run, name: string): Promise<void> {
  const found = await readLink(run, checkLinkName(name));
  if (found?.ifalias?.startsWith(aliasPrefix)) await run('ip', ['link', 'delete', 'dev', name]);
}

function checkOwn(name: string, link: Link): void {
  if (link.linkinfo?.info_kind !== 'bridge' || !link.ifalias?.startsWith(aliasPrefix)) {
    const remedy = `choose another name for the network's bridge, or remove it (ip link delete ${name})`;
    throw new DriverError('failed', `there is an interface ${name} that is not novact's: ${remedy}`);
  }
}

async function mendLink(run: Run, name: string, wanted: { found: Link; mac: string; mtu: number }): Promise<void> {
  const { found, mac, mtu } = wanted;
  if (found.address !== mac) await run('ip', ['link', 'set', 'dev', name, 'address', mac]);
  if (found.mtu !== mtu) await run('ip', ['link', 'set', 'dev', name, 'mtu', String(mtu)]);
  const data = found.linkinfo?.info_data;
  const isRight = data?.nf_call_iptables === 1 && data.nf_call_ip6tables === 1 && data.forward_delay === 0;
  if (!isRight) await run('ip', ['link', 'set', 'dev', name, 'type', 'bridge', ...bridgeOptions]);
}

const quietSwitches = [['accept_ra', '0'], ['disable_ipv6', '1']] as const;

const speakingSwitches = [['accept_ra', '0'], ['disable_ipv6', '0']] as const;

/** Where there is no IPv6, the host must not answer by a link-local address that no rule thinks of. */
export const quietIPv6 = (run: Run, link: string): Promise<void> => ensureSwitches(run, link, quietSwitches);

const speakIPv6 = (run: Run, link: string): Promise<void> => ensureSwitches(run, link, speakingSwitches);

async function ensureSwitches(run: Run, link: string, switches: typeof quietSwitches | typeof speakingSwitches): Promise<void> {
  const folder = `/proc/sys/net/ipv6/conf/${link}`;
  const values = await Promise.all(switches.map(([name]) => readSwitch(run, `${folder}/${name}`)));
  for (const [index, [name, value]] of switches.entries()) {
    if (values[index] !== undefined && values[index] !== value) await writeSwitch(run, `${folder}/${name}`, value);
  }
}

/** Nobody else can have it, so nothing waits until that was found out. */
async function ensureIPv6Address(run: Run, name: string, { found, wanted }: { found: Link | undefined; wanted: string }): Promise<void> {
  const held = (found?.addr_info ?? []).filter(({ family, scope }) => family === 'inet6' && scope === 'global').map((one) => `${one.local}/${one.prefixlen}`);
  for (const other of held.filter((one) => one !== wanted)) await run('ip', ['-6', 'address', 'delete', other, 'dev', name]);
  if (!held.includes(wanted)) await run('ip', ['-6', 'address', 'add', wanted, 'dev', name, 'nodad']);
}

interface Held {
  readonly local: string;
  readonly prefixlen: number;
}

/** In this order: the kernel and dnsmasq take the first for the gateway. */
export async function ensureOnlyAddresses(run: Run, name: string, { found, wanted }: { found: Link | undefined; wanted: readonly Held[] }): Promise<void> {
  const text = (entry: Held): string => `${entry.local}/${entry.prefixlen}`;
  const held = (found?.addr_info ?? []).filter((entry) => entry.family === 'inet').map(text);
  const texts = wanted.map(text);
  const firstWrong = texts.findIndex((entry, index) => held.filter((one) => texts.includes(one))[index] !== entry);
  const right = firstWrong === -1 ? texts : texts.slice(0, firstWrong);
  for (const entry of held) {
    if (!right.includes(entry)) await run('ip', ['address', 'delete', entry, 'dev', name]);
  }
  for (const entry of texts) {
    if (!right.includes(entry)) await run('ip', ['address', 'add', entry, 'dev', name]);
  }
}
