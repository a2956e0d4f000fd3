// IPv6 of networks that have it, beside the rules of IPv4. A guest speaks with the two addresses that follow from its MAC and no others, says of no
// other address that it is its own, and is no router. Neighbours find each other whatever groups say; all else the groups decide.
import { gatewayAddress, linkLocalAddress, slaacAddress } from '../../../lib/ipv6.ts';
import type { NetworkSpec, PortSpec } from '../driver.ts';
import type { BridgeRules } from './nft-fabric.ts';
import { renderEgress, renderIngress, sharedChains } from './nft-rules.ts';
import { nameAfter } from './ruleset.ts';
import ipaddr from 'ipaddr.js';

/** A port of a network that has IPv6, with its addresses. */
export interface IPv6Host {
  readonly port: PortSpec;
  readonly addresses: readonly [string, string];
}

/** Of networks and ports that were checked. */
export function ipv6Hosts(networks: readonly NetworkSpec[], ports: readonly PortSpec[]): IPv6Host[] {
  const cidrs = new Map(networks.map(({ bridge, ipv6 }) => [bridge, ipv6]));
  return ports.flatMap((port) => {
    const cidr = cidrs.get(port.bridge);
    return cidr === undefined ? [] : [{ port, addresses: [slaacAddress(cidr, port.mac), linkLocalAddress(port.mac)] }];
  });
}

type Sets = BridgeRules['sets'];

export interface InetRules {
  readonly sets: Sets;
  readonly maps: Sets;
  readonly chains: BridgeRules['chains'];
  readonly input: readonly string[];
  readonly forward: readonly string[];
  readonly output: readonly string[];
}

const neighbours = 'icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert }';

/** Empty without such networks, so that their absence changes no text. */
export function ipv6Inet(networks: readonly NetworkSpec[], hosts: readonly IPv6Host[]): InetRules {
  const served = networks.flatMap(({ bridge, ipv6 }) => (ipv6 === undefined ? [] : [`"${bridge}" . ${gatewayAddress(ipv6)}`]));
  if (served.length === 0) return { sets: [], maps: [], chains: [], input: [], forward: [], output: [] };
  const ports = hosts.map(({ port }) => port);
  const bounded = ports.filter((port) => port.egress !== undefined);
  const incoming = sharedChains(ports, { name: 'ingress6', rulesOf: (port) => port.ingress, render: (rules) => renderIngress(rules, 'ip6') });
  const outgoing = sharedChains(bounded, { name: 'egress6', rulesOf: (port) => port.egress ?? [], render: (rules) => renderEgress(rules, 'ip6') });
  const each = (verdictOf: (port: PortSpec) => string | undefined): string[] => hosts.flatMap(({ port, addresses }) => {
    const verdict = verdictOf(port);
    return verdict === undefined ? [] : addresses.map((address) => `"${port.bridge}" . ${address} : ${verdict}`);
  });
  return {
    sets: [{ name: 'gateways6', type: 'type ifname . ipv6_addr', elements: served }],
    maps: [
      { name: 'guests6', type: 'type ifname . ipv6_addr : verdict', elements: each(({ tap }) => `goto ${incoming.chainOf.get(tap) ?? 'closed'}`) },
      {
        name: 'senders6', type: 'type ifname . ipv6_addr : verdict',
        elements: each(({ tap, egress }) => (egress === undefined ? undefined : `jump ${outgoing.chainOf.get(tap) ?? 'silent6'}`)),
      },
    ],
    chains: [
      { name: 'silent6', rules: [...alwaysSent, 'drop'] },
      ...incoming.chains.map(({ name, rules }) => ({ name, rules: [...rules, 'drop'] })),
      ...outgoing.chains.map(({ name, rules }) => ({ name, rules: [...alwaysSent, ...rules, 'drop'] })),
    ],
    input: [
      'icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } accept',
      'meta nfproto ipv6 iifname . ip6 daddr != @gateways6 drop',
      'icmpv6 type echo-request accept',
    ],
    forward: [`${neighbours} accept`, 'iifname . ip6 saddr vmap @senders6', 'oifname . ip6 daddr vmap @guests6'],
    output: ['icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept', 'oifname . ip6 daddr vmap @guests6'],
  };
}

/** What a gateway serves. */
const alwaysSent = ['iifname . ip6 daddr @gateways6 return'];

export interface FrameRules extends BridgeRules {
  readonly maps: Sets;
  readonly fromGuest: readonly string[];
  readonly toGuest: readonly string[];
}

export function ipv6Bridge(hosts: readonly IPv6Host[]): FrameRules {
  if (hosts.length === 0) return { sets: [], maps: [], chains: [], fromGuest: [], toGuest: [] };
  const held = hosts.flatMap(({ port, addresses }) => addresses.map((one) => `"${port.tap}" . ${one}`));
  return {
    sets: [
      { name: 'taps6', type: 'type ifname', elements: hosts.map(({ port }) => `"${port.tap}"`) },
      { name: 'addresses6', type: 'type ifname . ipv6_addr', elements: held },
    ],
    maps: [{ name: 'claims6', type: 'type ifname : verdict', elements: hosts.map(({ port }) => `"${port.tap}" : jump ${claimsOf(port)}`) }],
    chains: [
      ...hosts.map(({ port, addresses }) => ({ name: claimsOf(port), rules: [...addresses.map((one) => `${target} ${hexOf(one)} return`), 'drop'] })),
      { name: 'ip6_from_guest', rules: fromGuest },
      { name: 'ip6_to_guest', rules: toGuest },
    ],
    fromGuest: ['ether type ip6 goto ip6_from_guest'],
    toGuest: ['ether type ip6 goto ip6_to_guest'],
  };
}

const claimsOf = ({ tap }: PortSpec): string => nameAfter('claims6', tap);

/** The address that a neighbour solicitation or advertisement is about. */
const target = '@th,64,128';
const hexOf = (address: string): string => `0x${Buffer.from(ipaddr.IPv6.parse(address).toByteArray()).toString('hex')}`;

/** Who looks whether an address is free, or for a router, has none yet. */
const fromGuest = [
  'iifname != @taps6 drop',
  'icmpv6 type { nd-router-advert, nd-redirect } drop',
  'udp sport 547 drop',
  'icmpv6 type nd-neighbor-advert iifname vmap @claims6',
  'ip6 saddr :: icmpv6 type nd-neighbor-solicit iifname vmap @claims6',
  'ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld2-listener-report } accept',
  'iifname . ip6 saddr != @addresses6 drop',
];

/** Advertisements of routers come from this host alone: those of guests were dropped where they entered. */
const toGuest = [
  'ip6 daddr ff02::/16 icmpv6 type { nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } accept',
  'oifname . ether daddr != @macs drop',
  'oifname . ip6 daddr != @addresses6 drop',
];
