// Rules for the interface that joins the bridges of several hosts. What belongs to one host stays there: its gateway, DHCP and metadata. What
// enters was bound to its MAC and address at its own host, so here is checked what a stranger on the wire could still pretend: to be a guest
// of this host, a gateway, or from elsewhere than the network. The host itself crosses by an address and a MAC of its own, for which its
// gateway's, the same everywhere, are exchanged on the way.
import type { NetworkSpec, PortSpec } from '../driver.ts';
import { bridgeMac, hostMac } from './macs.ts';

/** A network whose bridge is joined with others. */
export interface Joined {
  readonly bridge: string;
  readonly cidr: string;
  readonly gateway: string;
  readonly flatInterface: string;
  readonly gatewayMac: string;
  /** Undefined: the host itself speaks with guests of this host only. */
  readonly own: { readonly address: string; readonly mac: string } | undefined;
}

/** The joined among networks that were checked. */
export function joinedNetworks(networks: readonly NetworkSpec[]): Joined[] {
  return networks.flatMap(({ id, bridge, cidr, gateway, flatInterface, hostAddress }) => {
    if (flatInterface === undefined) return [];
    const own = hostAddress === undefined ? undefined : { address: hostAddress, mac: hostMac(hostAddress) };
    return [{ bridge, cidr, gateway, flatInterface, gatewayMac: bridgeMac(id), own }];
  });
}

/** What is neither for a guest of this host nor for this host may only cross the bridge; the rules at its own host decide. */
export const forwardAcross = (joined: readonly Joined[]): string[] =>
  joined.map(({ bridge, cidr }) => `iifname "${bridge}" oifname "${bridge}" ip daddr ${cidr} accept`);

/** To guests of other hosts the host speaks too, and they decide. */
export const outputAcross = (joined: readonly Joined[]): string[] =>
  joined.flatMap(({ bridge, cidr, own }) => (own === undefined ? [] : [`oifname "${bridge}" ip daddr ${cidr} accept`]));

/** The gateway's address is that of every host: an answer to it would stay where it was given. */
export const sourceAcross = (joined: readonly Joined[]): string[] =>
  joined.flatMap(({ bridge, cidr, gateway, own }) => (own === undefined ? [] : [
    `oifname "${bridge}" ip saddr ${gateway} udp sport 67 accept`,
    `oifname "${bridge}" ip saddr ${gateway} ip daddr ${cidr} snat ip to ${own.address}`,
  ]));

export interface BridgeRules {
  readonly sets: readonly { readonly name: string; readonly type: string; readonly elements: readonly string[] }[];
  readonly chains: readonly { readonly name: string; readonly rules: readonly string[] }[];
}

const macs = 'ff:ff:ff:00:00:00';
const known = '{ 02:16:3d:00:00:00, 02:16:3e:00:00:00 }';
const manyReceivers = 'ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 drop';
/** A guest that moved says so by a RARP (0x8035), for switches on the way. */
const moved = 'ether type 0x8035 accept';

/** For the bridge family; empty without joined networks. */
export function fabricRules(joined: readonly Joined[], ports: readonly PortSpec[]): BridgeRules {
  if (joined.length === 0) return { sets: [], chains: [] };
  const settled = ports.filter((port) => port.isMoving !== true);
  const local = joined.flatMap(({ bridge, flatInterface }) => settled.filter((port) => port.bridge === bridge).map((port) => ({ flatInterface, port })));
  return {
    sets: [
      { name: 'fabrics', type: 'type ifname', elements: joined.map(({ flatInterface }) => `"${flatInterface}"`) },
      { name: 'local_macs', type: 'type ifname . ether_addr', elements: local.map(({ flatInterface, port }) => `"${flatInterface}" . ${port.mac}`) },
      { name: 'local_addresses', type: 'type ifname . ipv4_addr', elements: local.map(({ flatInterface, port }) => `"${flatInterface}" . ${port.address}`) },
    ],
    chains: [
      { name: 'from_fabric', rules: fromFabric(joined) },
      { name: 'arp_from_fabric', rules: arpFromFabric(joined) },
      { name: 'to_fabric', rules: toFabric(joined) },
      { name: 'arp_to_fabric', rules: arpToFabric(joined) },
    ],
  };
}

/** A host's own address has the same MAC for guests here and elsewhere: one that moves to another host keeps what it knows. */
export const arpToGuests = (joined: readonly Joined[]): string[] =>
  joined.flatMap(({ own }) => (own === undefined ? [] : [`arp saddr ip ${own.address} arp saddr ether set ${own.mac} ether saddr set ${own.mac}`]));

export const toHostFromGuests = (joined: readonly Joined[]): string[] =>
  joined.flatMap(({ gatewayMac, own }) => (own === undefined ? [] : [`ether daddr ${own.mac} meta pkttype set host ether daddr set ${gatewayMac}`]));

const fromFabric = (joined: readonly Joined[]): string[] => [
  `ether saddr & ${macs} != ${known} drop`,
  'iifname . ether saddr @local_macs drop',
  ...joined.flatMap(({ flatInterface, gatewayMac, own }) => [
    `iifname "${flatInterface}" ether daddr ${gatewayMac} drop`,
    ...(own === undefined ? [] : [`iifname "${flatInterface}" ether saddr ${own.mac} drop`]),
  ]),
  moved,
  'ether type arp goto arp_from_fabric',
  'ether type != ip drop',
  manyReceivers,
  'udp sport 67 drop',
  'udp dport 67 drop',
  'iifname . ip saddr @local_addresses drop',
  ...joined.flatMap(({ flatInterface, cidr, gateway, own }) => [
    `iifname "${flatInterface}" ip saddr { ${[gateway, ...(own === undefined ? [] : [own.address])].join(', ')} } drop`,
    `iifname "${flatInterface}" ip daddr ${gateway} drop`,
    `iifname "${flatInterface}" ip saddr != ${cidr} drop`,
    `iifname "${flatInterface}" ip daddr != ${cidr} drop`,
  ]),
  ...joined.flatMap(toOwnHost),
];

const arpFromFabric = (joined: readonly Joined[]): string[] => [
  `arp saddr ether & ${macs} != ${known} drop`,
  'iifname . arp saddr ether @local_macs drop',
  'iifname . arp saddr ip @local_addresses drop',
  ...joined.flatMap(({ flatInterface, cidr, gateway, own }) => [
    `iifname "${flatInterface}" arp saddr ip { ${[gateway, ...(own === undefined ? [] : [own.address])].join(', ')} } drop`,
    `iifname "${flatInterface}" arp daddr ip ${gateway} drop`,
    `iifname "${flatInterface}" arp saddr ip != { 0.0.0.0, ${cidr} } drop`,
    `iifname "${flatInterface}" arp daddr ip != ${cidr} drop`,
  ]),
  ...joined.flatMap(toOwnHost),
];

/** The bridge takes for itself only what has its own MAC, which is the gateway's. */
const toOwnHost = ({ flatInterface, gatewayMac, own }: Joined): string[] =>
  own === undefined ? [] : [`iifname "${flatInterface}" ether daddr ${own.mac} meta pkttype set host ether daddr set ${gatewayMac}`];

const toFabric = (joined: readonly Joined[]): string[] => [
  ...joined.map(({ flatInterface, gatewayMac }) => `oifname "${flatInterface}" ether daddr ${gatewayMac} drop`),
  moved,
  'ether type arp goto arp_to_fabric',
  'ether type != ip drop',
  manyReceivers,
  'udp sport 67 drop',
  'udp dport 67 drop',
  ...joined.flatMap(({ flatInterface, gateway, gatewayMac, own }) => [
    `oifname "${flatInterface}" ip saddr ${gateway} drop`,
    `oifname "${flatInterface}" ip daddr ${gateway} drop`,
    ...(own === undefined ? [`oifname "${flatInterface}" ether saddr ${gatewayMac} drop`] : [
      `oifname "${flatInterface}" ether saddr ${gatewayMac} ip saddr != ${own.address} drop`,
      `oifname "${flatInterface}" ether saddr ${gatewayMac} ether saddr set ${own.mac}`,
    ]),
  ]),
];

const arpToFabric = (joined: readonly Joined[]): string[] =>
  joined.flatMap(({ flatInterface, gateway, gatewayMac, own }) => [
    `oifname "${flatInterface}" arp saddr ip ${gateway} drop`,
    `oifname "${flatInterface}" arp daddr ip ${gateway} drop`,
    ...(own === undefined ? [`oifname "${flatInterface}" ether saddr ${gatewayMac} drop`] : [
      `oifname "${flatInterface}" ether saddr ${gatewayMac} arp saddr ip != ${own.address} drop`,
      `oifname "${flatInterface}" ether saddr ${gatewayMac} arp saddr ether set ${own.mac} ether saddr set ${own.mac}`,
    ]),
  ]);
