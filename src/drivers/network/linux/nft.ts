// Renders the wanted firewall of a host: novact's own two tables, whole. Pure and deterministic, so that equal wishes give equal tables. The size of
// the rules grows with distinct groups, not with ports: what belongs to a port is an element of a set.
import { DriverError } from '../../../lib/errors.ts';
import { addressNumber } from '../../../lib/ipv4.ts';
import type { FirewallSpec, NetworkSpec, PortSpec } from '../driver.ts';
import { floatingRules, type FloatingRules } from './nft-floating.ts';
import {
  answersOfRouters, crossRouted, forwardRouted, fromRouted, inputFromRouters, membersOf, routedNetworks, routedRules, sourceOfRouters, toRouted, zoneRules,
  type Routed,
} from './nft-routed.ts';
import { arpToGuests, fabricRules, forwardAcross, joinedNetworks, outputAcross, sourceAcross, toHostFromGuests, type Joined } from './nft-fabric.ts';
import { ipv6Bridge, ipv6Hosts, ipv6Inet } from './nft-ipv6.ts';
import { anyOf, renderEgress, renderIngress, sharedChains } from './nft-rules.ts';
import { chainOf, mapOf, renderTables, setOf, type Table } from './ruleset.ts';
import { checkAddress, checkInteger, checkJoined, checkLinkName, checkMac, cidrText, collapseCidrs, parseIPv4Cidr } from './names.ts';

/** What a firewall's text depends on besides the wish. */
export interface NftContext {
  /** The kernel can match the bridge of a frame (`meta ibrname`), so that a strange interface on a bridge of ours can be refused. */
  readonly matchesBridges: boolean;
  /** Masquerade only what leaves by this interface. Default: by any that is no bridge of ours. */
  readonly uplink: string | undefined;
}

export const tableName = 'novact';

/** Both tables as one text, in the place of whatever was there. */
export const renderFirewall = (firewall: FirewallSpec, context: NftContext): string => renderTables(firewallTables(firewall, context));

export function firewallTables(firewall: FirewallSpec, context: NftContext): Table[] {
  const networks = sortedUnique(firewall.networks.map(checkNetwork), (network) => network.bridge, 'bridge');
  const ports = sortedUnique(firewall.ports.map((port) => checkPort(port, networks)), (port) => port.tap, 'tap');
  sortedUnique(ports, (port) => `${port.bridge} ${port.address}`, 'address');
  sortedUnique(joinedNetworks(networks), (joined) => joined.flatInterface, 'flat interface');
  checkInteger(firewall.metadataPort, { kind: 'a port', min: 1, max: 65_535 });
  const floating = floatingRules(firewall.floating ?? []);
  return [inetTable({ networks, ports, floating, metadataPort: firewall.metadataPort }, context.uplink), bridgeTable(networks, ports, context)];
}

/** Empty ones of the same names. */
export const noTables: readonly Table[] = [table('inet', []), table('bridge', [])];

function checkNetwork(network: NetworkSpec): NetworkSpec {
  checkLinkName(network.bridge);
  checkAddress(network.gateway);
  checkJoined(network);
  return { ...network, cidr: cidrText(parseIPv4Cidr(network.cidr)) };
}

function checkPort(port: PortSpec, networks: readonly NetworkSpec[]): PortSpec {
  if (!networks.some((network) => network.bridge === port.bridge)) {
    throw new DriverError('failed', `port of ${port.instanceId}: no network has the bridge ${port.bridge}`);
  }
  return { ...port, tap: checkLinkName(port.tap), mac: checkMac(port.mac), address: checkAddress(port.address) };
}

function sortedUnique<T>(items: readonly T[], key: (item: T) => string, what: string): T[] {
  const byKey = new Map<string, T>();
  for (const item of items) {
    if (byKey.has(key(item))) throw new DriverError('failed', `two parts of a firewall have the same ${what}: ${key(item)}`);
    byKey.set(key(item), item);
  }
  return [...byKey.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}

type Checked = Pick<FirewallSpec, 'networks' | 'ports' | 'metadataPort'> & { readonly floating: FloatingRules };

function inetTable({ networks, ports, floating, metadataPort }: Checked, uplink: string | undefined): Table {
  const incoming = sharedChains(ports, { name: 'ingress', rulesOf: (port) => port.ingress, render: (rules) => renderIngress(rules) });
  const bounded = ports.filter((port) => port.egress !== undefined);
  const outgoing = sharedChains(bounded, { name: 'egress', rulesOf: (port) => port.egress ?? [], render: (rules) => renderEgress(rules) });
  const guests = ports.map((port) => `"${port.bridge}" . ${port.address} : goto ${incoming.chainOf.get(port.tap) ?? 'closed'}`);
  const senders = bounded.map((port) => `"${port.bridge}" . ${port.address} : jump ${outgoing.chainOf.get(port.tap) ?? 'silent'}`);
  // Those without a router of their own: their gateway is this host.
  const shared = networks.filter((network) => network.router === undefined);
  const routed = routedNetworks(networks);
  const inside = collapseCidrs(shared.map((network) => parseIPv4Cidr(network.cidr))).map(cidrText);
  const joined = joinedNetworks(networks);
  const six = ipv6Inet(networks, ipv6Hosts(networks, ports));
  const leaves = uplink === undefined ? 'oifname != @bridges' : `oifname "${checkLinkName(uplink)}"`;
  return table('inet', [
    set('bridges', 'type ifname', networks.map((network) => `"${network.bridge}"`)),
    set('gateways', 'type ifname . ipv4_addr', shared.map((network) => `"${network.bridge}" . ${network.gateway}`)),
    set('served', 'type ifname . ipv4_addr', networks.map((network) => `"${network.bridge}" . ${network.gateway}`)),
    ...(routed.length === 0 ? [] : [set('members', 'type ifname . ipv4_addr', membersOf(routed, ports))]),
    map('guests', 'type ifname . ipv4_addr : verdict', guests),
    ...floating.maps.map(mapOf),
    map('senders', 'type ifname . ipv4_addr : verdict', senders),
    ...six.sets.map(setOf),
    ...six.maps.map(mapOf),
    chain('closed', ['drop']),
    chain('silent', [...alwaysSent, 'drop']),
    ...incoming.chains.map(({ name, rules }) => chain(name, [...rules, 'drop'])),
    ...outgoing.chains.map(({ name, rules }) => chain(name, [...alwaysSent, ...rules, 'drop'])),
    ...six.chains.map(chainOf),
    ...(routed.length === 0 ? [] : [chain('zones', zoneRules(routed))]),
    chain('prerouting', [
      'type nat hook prerouting priority dstnat; policy accept;',
      ...shared.map((network) => `iifname "${network.bridge}" ip daddr 169.254.169.254 tcp dport 80 dnat ip to ${network.gateway}:${metadataPort}`),
      ...floating.destination,
    ]),
    chain('destination', ['type nat hook output priority -100; policy accept;', ...floating.destination]),
    chain('checked', ['type filter hook postrouting priority filter; policy accept;', ...floating.checked]),
    chain('postrouting', [
      'type nat hook postrouting priority srcnat; policy accept;',
      ...floating.source,
      ...sourceAcross(joined),
      ...(inside.length === 0 ? [] : [`ip saddr ${anyOf(inside)} ip daddr != ${anyOf(inside)} ${leaves} masquerade`]),
      ...sourceOfRouters(routed, leaves),
    ]),
    chain('input', inputRules({ metadataPort, routed, six: six.input })),
    chain('forward', forwardRules(joined, routed, six.forward)),
    chain('output', [
      'type filter hook output priority filter; policy accept;',
      'oifname != @bridges accept',
      'ct state established,related accept',
      'udp sport 67 udp dport 68 accept',
      'oifname . ip daddr vmap @guests',
      ...outputAcross(joined),
      ...six.output,
      'drop',
    ]),
  ]);
}

const forwardRules = (joined: readonly Joined[], routed: readonly Routed[], six: readonly string[]): string[] => [
  'type filter hook forward priority filter; policy accept;',
  'iifname != @bridges oifname != @bridges accept',
  'ct state established,related accept',
  ...crossRouted(routed),
  'ct state invalid drop',
  ...answersOfRouters(routed),
  ...six,
  'iifname . ip saddr vmap @senders',
  'oifname . ip daddr vmap @guests',
  ...forwardAcross(joined),
  ...forwardRouted(routed),
  'oifname @bridges drop',
];

/** What guests may reach of the host itself: DHCP, DNS and metadata at their own gateway, and its echo. */
const inputRules = ({ metadataPort, routed, six }: { metadataPort: number; routed: readonly Routed[]; six: readonly string[] }): string[] => [
  'type filter hook input priority filter; policy accept;',
  ...inputFromRouters(routed),
  'iifname != @bridges accept',
  'ct state established,related accept',
  'ct state invalid drop',
  'udp sport 68 udp dport 67 accept',
  ...six,
  'iifname . ip daddr != @gateways drop',
  'meta l4proto { tcp, udp } th dport 53 accept',
  `tcp dport ${metadataPort} accept`,
  'icmp type echo-request accept',
  'drop',
];

/** What a gateway that is not this host itself serves its guests: no group is asked. */
const alwaysSent = ['iifname . ip daddr @served return', 'ip daddr 169.254.169.254 return'];

/**
 * Anti-spoofing where a frame enters: whoever comes in by a port speaks with its own MAC and address or not at all. Only ARP and IPv4 pass;
 * DHCP answers come from the host alone. Where a frame leaves: a guest gets what is for its own MAC and address, never what is for another.
 * Interfaces of our bridges (where the kernel cannot match them: named as ours) that are not, not yet or not any more wished for are
 * deaf and mute.
 */
function bridgeTable(networks: readonly NetworkSpec[], ports: readonly PortSpec[], context: NftContext): Table {
  const bridges = anyOf(networks.map((network) => `"${network.bridge}"`));
  const matches = context.matchesBridges && networks.length > 0;
  const byAddress = ports.toSorted((a, b) => addressNumber(a.address) - addressNumber(b.address));
  const joined = joinedNetworks(networks);
  const fabric = fabricRules(joined, byAddress);
  const hasFabric = fabric.chains.length > 0;
  const routed = routedNetworks(networks);
  const segments = routedRules(routed, byAddress);
  const six = ipv6Bridge(ipv6Hosts(networks, byAddress));
  return table('bridge', [
    set('taps', 'type ifname', ports.map((port) => `"${port.tap}"`)),
    set('macs', 'type ifname . ether_addr', ports.map((port) => `"${port.tap}" . ${port.mac}`)),
    set('addresses', 'type ifname . ipv4_addr', byAddress.map((port) => `"${port.tap}" . ${port.address}`)),
    ...[...fabric.sets, ...segments.sets, ...six.sets].map(setOf),
    ...six.maps.map(mapOf),
    ...[...fabric.chains, ...segments.chains, ...six.chains].map(chainOf),
    chain('prerouting', [
      'type filter hook prerouting priority -200; policy accept;',
      ...(hasFabric ? ['iifname @fabrics goto from_fabric'] : []),
      ...fromRouted(routed),
      'iifname @taps goto from_guest',
      matches ? `meta ibrname ${bridges} goto from_guest` : 'iifname "nv*" goto from_guest',
    ]),
    chain('from_guest', [
      'iifname . ether saddr != @macs drop',
      'ether type arp goto arp_from_guest',
      ...(hasFabric || routed.length > 0 ? ['ether type 0x8035 accept'] : []),
      ...six.fromGuest,
      'ether type != ip drop',
      'ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept',
      'iifname . ip saddr != @addresses drop',
      'udp sport 67 drop',
      ...toHostFromGuests(joined),
    ]),
    chain('arp_from_guest', [
      'iifname . arp saddr ether != @macs drop',
      'arp operation request arp saddr ip 0.0.0.0 accept',
      'iifname . arp saddr ip != @addresses drop',
      ...toHostFromGuests(joined),
    ]),
    chain('postrouting', [
      'type filter hook postrouting priority -200; policy accept;',
      ...(hasFabric ? ['oifname @fabrics goto to_fabric'] : []),
      ...toRouted(routed),
      'oifname @taps goto to_guest',
      matches ? `meta obrname ${bridges} drop` : 'oifname "nv*" drop',
    ]),
    chain('to_guest', [
      ...arpToGuests(joined),
      'ether type arp accept',
      ...six.toGuest,
      'ether type != ip drop',
      'udp sport 67 udp dport 68 accept',
      'oifname . ether daddr != @macs drop',
      'oifname . ip daddr != @addresses drop',
    ]),
  ]);
}

function table(family: Table['family'], parts: Table['parts']): Table {
  return { family, name: tableName, parts };
}

const chain = (name: string, rules: readonly string[]) => chainOf({ name, rules });
const set = (name: string, type: string, elements: readonly string[]) => setOf({ name, type, elements });
const map = (name: string, type: string, elements: readonly string[]) => mapOf({ name, type, elements });
