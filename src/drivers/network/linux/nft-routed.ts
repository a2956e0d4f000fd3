// The host's rules for networks of projects, whose gateway is in a namespace and whose members may be on other hosts. A router crosses to them
// by a MAC of its own host in the place of the gateway's, which is the same on all; it asks for neighbours there without naming itself, so that
// no guest elsewhere takes it for its gateway.
import { DriverError } from '../../../lib/errors.ts';
import type { NetworkSpec, PortSpec } from '../driver.ts';
import { bridgeMac } from './macs.ts';
import { checkMac } from './names.ts';
import type { BridgeRules } from './nft-fabric.ts';
import { routerLinkPrefix, routerPort, segmentLink, segmentOf, transitRange } from './project-links.ts';

/** A network of a project, as rules name its parts. */
export interface Routed {
  readonly bridge: string;
  readonly cidr: string;
  readonly gateway: string;
  readonly gatewayMac: string;
  /** The router's end on the bridge. */
  readonly port: string;
  /** The link to the other hosts. */
  readonly link: string;
  /** What the router crosses with. */
  readonly crossingMac: string;
  /** Of all networks of its router. */
  readonly inside: readonly string[];
  /** Of its connections, so that equal addresses of two projects are not taken for each other's. */
  readonly zone: number;
}

/** The routed among networks that were checked. */
export function routedNetworks(networks: readonly NetworkSpec[]): Routed[] {
  const routed = networks.flatMap((network) => {
    const { id, bridge, cidr, gateway, router } = network;
    if (router === undefined) return [];
    const segment = segmentOf(network);
    const inside = networks.filter((other) => other.router?.id === router.id).map((other) => other.cidr);
    return [{
      bridge, cidr, gateway, inside, gatewayMac: bridgeMac(id), port: routerPort(network), link: segmentLink(segment),
      crossingMac: checkMac(router.mac), zone: segment.id,
    }];
  });
  if (new Set(routed.map(({ zone }) => zone)).size < routed.length) throw new DriverError('failed', 'two networks of projects have the same segment');
  return routed;
}

/** Bridged frames are tracked too: apart for each network. */
export const zoneRules = (routed: readonly Routed[]): string[] => (routed.length === 0 ? [] : [
  'type filter hook prerouting priority raw; policy accept;',
  `ct zone set iifname map { ${routed.map(({ bridge, zone }) => `"${bridge}" : ${zone}`).join(', ')} }`,
]);

/** Leases are given whatever a guest's groups say. That nobody else answers for the DHCP server, the bridge sees to. */
export const answersOfRouters = (routed: readonly Routed[]): string[] =>
  routed.map(({ bridge, gateway }) => `iifname "${bridge}" oifname "${bridge}" ip saddr ${gateway} udp sport 67 udp dport 68 accept`);

/** What is not for a guest of this host only crosses the bridge: to the router, or to another host, whose rules decide. */
export const forwardRouted = (routed: readonly Routed[]): string[] => routed.map(({ bridge }) => `iifname "${bridge}" oifname "${bridge}" accept`);

/** The guests of this host behind routers. */
export const membersOf = (routed: readonly Routed[], ports: readonly PortSpec[]): string[] => {
  const bridges = new Set(routed.map(({ bridge }) => bridge));
  return ports.filter(({ bridge }) => bridges.has(bridge)).map(({ bridge, address }) => `"${bridge}" . ${address}`);
};

/**
 * What routers send each other between subnets is seen here in one direction only, the answer coming by the router of the other host: tracking takes it
 * for invalid. Whether it may, the host of its receiver decides.
 */
export const crossRouted = (routed: readonly Routed[]): string[] => routed.map(({ bridge }) =>
  `iifname "${bridge}" oifname "${bridge}" iifname . ip saddr != @members oifname . ip daddr != @members accept`);

/** Routers reach the outside through the host, and nothing of the host itself. */
export const inputFromRouters = (routed: readonly Routed[]): string[] => (routed.length === 0 ? [] : [
  `iifname "${routerLinkPrefix}*" ct state established,related accept`,
  `iifname "${routerLinkPrefix}*" drop`,
]);

export const sourceOfRouters = (routed: readonly Routed[], leaves: string): string[] =>
  (routed.length === 0 ? [] : [`ip saddr ${transitRange} ${leaves} masquerade`]);

const macs = 'ff:ff:ff:00:00:00';
const known = '{ 02:16:3d:00:00:00, 02:16:3e:00:00:00 }';
const manyReceivers = 'ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop';
/** A guest that moved says so by a RARP (0x8035). */
const moved = 'ether type 0x8035 accept';

/** For the bridge family; empty without networks of projects. */
export function routedRules(routed: readonly Routed[], ports: readonly PortSpec[]): BridgeRules {
  if (routed.length === 0) return { sets: [], chains: [] };
  const settled = ports.filter((port) => port.isMoving !== true);
  const local = routed.flatMap(({ bridge, link }) => settled.filter((port) => port.bridge === bridge).map((port) => ({ link, port })));
  return {
    sets: [
      { name: 'routers', type: 'type ifname', elements: routed.map(({ port }) => `"${port}"`) },
      { name: 'segments', type: 'type ifname', elements: routed.map(({ link }) => `"${link}"`) },
      { name: 'segment_macs', type: 'type ifname . ether_addr', elements: local.map(({ link, port }) => `"${link}" . ${port.mac}`) },
      { name: 'segment_addresses', type: 'type ifname . ipv4_addr', elements: local.map(({ link, port }) => `"${link}" . ${port.address}`) },
    ],
    chains: [
      { name: 'from_segment', rules: fromSegment(routed) },
      { name: 'arp_from_segment', rules: arpFromSegment(routed) },
      { name: 'to_segment', rules: toSegment(routed) },
      { name: 'arp_to_segment', rules: arpToSegment(routed) },
    ],
  };
}

/** Before what is said of guests' ports. */
export const fromRouted = (routed: readonly Routed[]): string[] =>
  (routed.length === 0 ? [] : ['iifname @routers accept', 'iifname @segments goto from_segment']);
export const toRouted = (routed: readonly Routed[]): string[] =>
  (routed.length === 0 ? [] : ['oifname @routers accept', 'oifname @segments goto to_segment']);

const fromSegment = (routed: readonly Routed[]): string[] => [
  `ether saddr & ${macs} != ${known} drop`,
  'iifname . ether saddr @segment_macs drop',
  ...routed.flatMap(({ link, gatewayMac, crossingMac }) => [
    `iifname "${link}" ether daddr ${gatewayMac} drop`,
    `iifname "${link}" ether saddr ${crossingMac} drop`,
  ]),
  moved,
  'ether type arp goto arp_from_segment',
  'ether type != ip drop',
  manyReceivers,
  'udp sport 67 drop',
  'udp dport 67 drop',
  'iifname . ip saddr @segment_addresses drop',
  ...routed.flatMap(({ link, cidr, gateway, inside }) => [
    `iifname "${link}" ip saddr ${gateway} drop`,
    `iifname "${link}" ip daddr ${gateway} drop`,
    `iifname "${link}" ip saddr != { ${inside.join(', ')} } drop`,
    `iifname "${link}" ip daddr != ${cidr} drop`,
  ]),
];

const arpFromSegment = (routed: readonly Routed[]): string[] => [
  `arp saddr ether & ${macs} != ${known} drop`,
  'iifname . arp saddr ether @segment_macs drop',
  'iifname . arp saddr ip @segment_addresses drop',
  ...routed.flatMap(({ link, cidr, gateway, gatewayMac, crossingMac }) => [
    `iifname "${link}" arp saddr ip ${gateway} drop`,
    `iifname "${link}" arp daddr ip ${gateway} drop`,
    `iifname "${link}" arp saddr ip != { 0.0.0.0, ${cidr} } drop`,
    `iifname "${link}" arp daddr ip != { 0.0.0.0, ${cidr} } drop`,
    // The answer to what this host's router asked.
    `iifname "${link}" ether daddr ${crossingMac} ether daddr set ${gatewayMac}`,
  ]),
];

const toSegment = (routed: readonly Routed[]): string[] => [
  ...routed.map(({ link, gatewayMac }) => `oifname "${link}" ether daddr ${gatewayMac} drop`),
  moved,
  'ether type arp goto arp_to_segment',
  'ether type != ip drop',
  manyReceivers,
  'udp sport 67 drop',
  'udp dport 67 drop',
  ...routed.flatMap(({ link, gateway, gatewayMac, crossingMac }) => [
    `oifname "${link}" ip saddr ${gateway} drop`,
    `oifname "${link}" ip daddr ${gateway} drop`,
    `oifname "${link}" ether saddr ${gatewayMac} ether saddr set ${crossingMac}`,
  ]),
];

const arpToSegment = (routed: readonly Routed[]): string[] => routed.flatMap(({ link, gateway, gatewayMac, crossingMac }) => [
  `oifname "${link}" arp daddr ip ${gateway} drop`,
  `oifname "${link}" ether saddr ${gatewayMac} arp operation != request drop`,
  `oifname "${link}" ether saddr ${gatewayMac} arp saddr ip set 0.0.0.0 arp saddr ether set ${crossingMac} ether saddr set ${crossingMac}`,
  `oifname "${link}" arp saddr ip ${gateway} drop`,
]);
