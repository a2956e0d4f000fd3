// Firewalls of hosts that differ in everything that rules depend on, and what nft prints of rules in a form that tells whether they are the same.
import type { FirewallSpec, NetworkSpec, PortSpec, TrafficRule } from '../../src/drivers/network/driver.ts';
import type { Run } from '../../src/lib/exec.ts';
import type { Random } from './random-values.ts';

const flat: NetworkSpec = {
  id: 'net-1', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', dnsDomain: 'novalocal', mtu: 1400, leaseSeconds: 3600,
};
const routed = (number: number): NetworkSpec => ({
  ...flat, id: `net-r${number}`, bridge: `nvbrx500${number}`, cidr: '10.0.0.0/24', gateway: '10.0.0.1',
  router: { id: `vpc-${number}`, namespace: `novact-h1-vpc-${number}`, link: `nvt${number}`, mac: `02:16:3d:00:00:0${number}` },
  segment: { kind: 'vxlan', id: 5_000 + number, port: 4_789, local: '192.0.2.11', peers: ['192.0.2.12'] },
});
const networks: readonly NetworkSpec[] = [
  flat, { ...flat, ipv6: 'fd00:45::/64' },
  { ...flat, id: 'net-2', bridge: 'novact1', cidr: '10.46.0.0/24', gateway: '10.46.0.1', flatInterface: 'guests0', hostAddress: '10.46.0.2' },
  routed(1), routed(2),
];

const tcp = (port: number, ...cidrs: string[]): TrafficRule => ({ protocol: 'tcp', fromPort: port, toPort: port, cidrs });
const groups: readonly (readonly TrafficRule[])[] = [
  [], [tcp(22, '0.0.0.0/0', '::/0')], [tcp(22, '10.0.0.7/32'), tcp(80, '10.0.0.0/8', '192.168.0.0/16')],
  [{ protocol: '-1', fromPort: -1, toPort: -1, cidrs: ['0.0.0.0/0'] }], [{ protocol: 'icmp', fromPort: 8, toPort: -1, cidrs: ['0.0.0.0/0'] }],
  [{ protocol: 'udp', fromPort: 1_000, toPort: 2_000, cidrs: ['10.45.0.0/20', 'fd00:45::/64'] }, tcp(443, '0.0.0.0/0')],
];

/** Some networks, some guests on them, in some groups. */
export function randomFirewall(random: Random): FirewallSpec {
  const some = networks.filter(({ ipv6 }) => ipv6 === undefined).filter(() => random() < 0.7);
  const chosen = some.map((network) => (network === flat && random() < 0.3 ? (networks[1] ?? flat) : network));
  const pick = <T>(from: readonly T[]): T | undefined => from[Math.floor(random() * from.length)];
  const ports = chosen.flatMap((network) => Array.from({ length: 12 }, (_, n) => n).filter(() => random() < 0.6).map((n): PortSpec => {
    const egress = random() < 0.6 ? undefined : pick(groups);
    const place = networks.findIndex(({ bridge }) => bridge === network.bridge);
    return {
      instanceId: `i-${place}-${n}`, tap: `nv${place}x${n}`, bridge: network.bridge, mac: `02:16:3e:00:0${place}:0${n.toString(16)}`,
      address: `${network.gateway.replace(/1$/, '')}${10 + n}`, ingress: pick(groups) ?? [], isMoving: random() < 0.1,
      ...(egress === undefined ? {} : { egress }),
    };
  }));
  const floating = ports.filter(({ bridge }) => bridge === 'novact0').filter(() => random() < 0.3)
    .map(({ address, bridge }) => ({ address: address.replace('10.45.0', '192.0.2'), fixed: address, bridge }));
  return { networks: chosen, ports, floating, metadataPort: random() < 0.9 ? 8_775 : 8_776 };
}

/** So many ports in ten groups of a hundred rules, `turn` of which each port is in the next one. */
export function largeFirewall(count: number, turn = 0): FirewallSpec {
  const many = Array.from({ length: 10 }, (_, group) => Array.from({ length: 100 }, (_each, n): TrafficRule => (
    { protocol: n % 2 === 0 ? 'tcp' : 'udp', fromPort: 1_000 + n * 10, toPort: 1_005 + n * 10, cidrs: [`10.${group}.${n}.0/24`] })));
  const hex = (value: number): string => value.toString(16).padStart(2, '0');
  const ports = Array.from({ length: count }, (_, n): PortSpec => ({
    instanceId: `i-${n}`, tap: `nvbench${n}`, bridge: flat.bridge, mac: `02:16:3e:ff:${hex(n >> 8)}:${hex(n & 255)}`,
    address: `10.45.${1 + Math.floor(n / 250)}.${1 + (n % 250)}`, ingress: many[(n + turn) % 10] ?? [],
  }));
  return { networks: [flat], ports, metadataPort: 8_775 };
}

/** What is in force of novact's, whatever the order in which it came. */
export async function rulesInForce(run: Run): Promise<string> {
  const lists = await Promise.all(['inet', 'bridge'].map((family) => run('nft', ['-s', 'list', 'table', family, 'novact'])));
  return lists.map(({ stdout }) => inOrder(stdout)).join('');
}

function inOrder(listing: string): string {
  const sorted = listing.replaceAll(/elements = \{([^}]*)\}/g, (_, list: string) =>
    `elements = { ${list.split(',').map((element) => element.trim().replaceAll(/\s+/g, ' ')).toSorted().join(', ')} }`);
  const [head = '', ...parts] = sorted.replace(/\n\}\n$/, '').split(/\n+(?=\t(?:set|map|chain) )/);
  return `${[head, ...parts.map((part) => part.trimEnd()).toSorted()].join('\n')}\n`;
}
