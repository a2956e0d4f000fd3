// The text of the rules: what opens, what is refused to be written, and that equal wishes give equal texts.
import { array, assert, integer, nat, property, tuple } from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { FirewallSpec, TrafficRule, NetworkSpec, PortSpec } from '../../../../src/drivers/network/driver.ts';
import { collapseCidrs, parseCidr, type Cidr } from '../../../../src/drivers/network/linux/names.ts';
import { addressNumber } from '../../../../src/lib/ipv4.ts';
import { renderFirewall } from '../../../../src/drivers/network/linux/nft.ts';
import { renderIngress } from '../../../../src/drivers/network/linux/nft-rules.ts';

const network: NetworkSpec = {
  id: 'net-1', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', dnsDomain: 'novalocal', mtu: 1500, leaseSeconds: 3600,
};
const rule = (changes: Partial<TrafficRule> = {}): TrafficRule => ({ protocol: 'tcp', fromPort: 22, toPort: 22, cidrs: ['0.0.0.0/0'], ...changes });
const port = (n: number, changes: Partial<PortSpec> = {}): PortSpec => ({
  instanceId: `i-${n}`, tap: `nv${n}`, bridge: 'novact0', mac: `02:16:3e:00:00:${String(n).padStart(2, '0')}`, address: `10.45.0.${n + 1}`, ingress: [], ...changes,
});
const wish = (ports: readonly PortSpec[], changes: Partial<FirewallSpec> = {}): FirewallSpec => ({ networks: [network], ports, metadataPort: 8775, ...changes });
const context = { matchesBridges: true, uplink: undefined };
const render = (firewall: FirewallSpec): string => renderFirewall(firewall, context);

/** How many of the CIDRs hold the address. */
const covers = (list: readonly Cidr[], address: number): number =>
  list.filter(({ address: first, prefix }) => address >= addressNumber(first) && address < addressNumber(first) + 2 ** (32 - prefix)).length;

describe('ingress rules', () => {
  it.each([
    [rule(), 'tcp dport 22 accept'],
    [rule({ toPort: 25, cidrs: ['10.0.0.7/32'] }), 'ip saddr 10.0.0.7 tcp dport 22-25 accept'],
    [rule({ protocol: 'udp', cidrs: ['10.0.0.0/8', '192.0.2.0/24'] }), 'ip saddr { 10.0.0.0/8, 192.0.2.0/24 } udp dport 22 accept'],
    [rule({ fromPort: 0, toPort: 65_535 }), 'meta l4proto tcp accept'],
    [rule({ fromPort: undefined, toPort: undefined }), 'meta l4proto tcp accept'],
    [rule({ protocol: '6' }), 'tcp dport 22 accept'],
    [rule({ protocol: '-1', fromPort: -1, toPort: -1 }), 'accept'],
    [rule({ protocol: 'icmp', fromPort: -1, toPort: -1 }), 'meta l4proto icmp accept'],
    [rule({ protocol: 'icmp', fromPort: 8, toPort: -1 }), 'icmp type 8 accept'],
    [rule({ protocol: 'icmp', fromPort: 3, toPort: 4 }), 'icmp type 3 icmp code 4 accept'],
    [rule({ protocol: '47', fromPort: -1, toPort: -1 }), 'ip protocol 47 accept'],
    [rule({ cidrs: ['10.1.2.3/8'] }), 'ip saddr 10.0.0.0/8 tcp dport 22 accept'],
    [rule({ cidrs: ['10.0.0.0/8', '10.1.0.0/16', '10.0.0.0/8'] }), 'ip saddr 10.0.0.0/8 tcp dport 22 accept'],
  ])('%j is written %s', (ingress, text) => {
    expect(renderIngress([ingress])).toEqual([text]);
  });

  it('a rule for nobody, or for IPv6 alone, opens nothing', () => {
    expect(renderIngress([rule({ cidrs: [] }), rule({ cidrs: ['::/0', 'fd00::1/128'] })])).toEqual([]);
  });

  it.each([
    { cidrs: ['0.0.0.0/0; accept'] }, { cidrs: ['10.0.0.0/33'] }, { cidrs: ['10.0.0/8'] }, { cidrs: [''] }, { cidrs: ['::1/129'] }, { fromPort: 70_000 }, { fromPort: 1.5 },
    { fromPort: 30 }, { fromPort: Number.NaN }, { protocol: 'tcp }' as 'tcp' }, { protocol: '256' as const }, { protocol: 'icmp' as const, fromPort: 300 },
  ])('%j is refused', (changes) => {
    expect(() => renderIngress([rule(changes)])).toThrow(/^not /);
  });
});

describe('the whole', () => {
  it('does not depend on the order of the wish', () => {
    const ports = [port(1, { ingress: [rule(), rule({ protocol: 'icmp' })] }), port(2), port(3, { ingress: [rule({ protocol: 'icmp' }), rule()] })];
    expect(render(wish(ports.toReversed()))).toBe(render(wish(ports)));
  });

  it('ports with the same rules share a chain, those without are closed', () => {
    const text = render(wish([port(1, { ingress: [rule()] }), port(2, { ingress: [rule()] }), port(3)]));
    expect(text.match(/chain ingress_/g)).toHaveLength(1);
    expect(text).toMatch(/"novact0" . 10.45.0.2 : goto ingress_[0-9a-f]{32},/);
    expect(text).toContain('"novact0" . 10.45.0.4 : goto closed');
  });

  it('replaces its own two tables in one transaction and names no other', () => {
    const text = render(wish([port(1)]));
    expect(text.startsWith('table inet novact\ndelete table inet novact\ntable bridge novact\ndelete table bridge novact\n')).toBe(true);
    expect([...text.matchAll(/table (\w+ \w+)/g)].every((match) => /^(inet|bridge) novact$/.test(match[1] ?? ''))).toBe(true);
    expect(text).not.toContain('flush');
  });

  it('an uplink narrows what is masqueraded; a kernel without ibrname knows strangers by their names', () => {
    const text = renderFirewall(wish([]), { matchesBridges: false, uplink: 'eth0' });
    expect(text).toContain('ip saddr 10.45.0.0/20 ip daddr != 10.45.0.0/20 oifname "eth0" masquerade');
    expect(text).toContain('iifname "nv*" goto from_guest');
    expect(render(wish([]))).toContain('meta ibrname "novact0" goto from_guest');
  });

  it.each<[string, Partial<PortSpec>]>([
    ['a tap with a quote', { tap: 'nv1" accept' }], ['a long tap', { tap: 'nv12345678901234' }], ['a MAC', { mac: '02:16:3e:00:00' }], ['an address', { address: '10.45.0.2 }' }],
    ['an octal address', { address: '010.45.0.2' }], ['a bridge without a network', { bridge: 'br9' }],
  ])('%s is refused', (_, changes) => {
    expect(() => render(wish([port(1, changes)]))).toThrow();
  });

  it('two ports with one address or one tap are refused, and a bad gateway, bridge or port too', () => {
    expect(() => render(wish([port(1), port(2, { address: '10.45.0.2' })]))).toThrow('same address');
    expect(() => render(wish([port(1), port(2, { tap: 'nv1' })]))).toThrow('same tap');
    expect(() => render(wish([], { networks: [{ ...network, gateway: '10.45.0.1; x' }] }))).toThrow('not an IPv4 address');
    expect(() => render(wish([], { networks: [{ ...network, bridge: 'a b' }] }))).toThrow('not a name');
    expect(() => render(wish([], { metadataPort: 0 }))).toThrow('not a port');
  });
});

describe('collapsing CIDRs', () => {
  const cidr = tuple(nat({ max: 255 }), nat({ max: 255 }), integer({ min: 4, max: 32 })).map(([a, b, prefix]) => parseCidr(`10.0.${a}.${b}/${prefix}`));
  const cidrs = array(cidr, { maxLength: 12 });

  it('keeps exactly the addresses, each in one CIDR', () => {
    assert(property(cidrs, nat({ max: 65_535 }), (some, offset) => {
      const list = some.filter((one) => one !== undefined);
      const address = addressNumber('10.0.0.0') + offset;
      const collapsed = collapseCidrs(list);
      return covers(collapsed, address) === Math.min(1, covers(list, address));
    }));
  });
});

describe('what a guest may send', () => {
  it('costs nothing while it is all, and one chain for all who have the same rules', () => {
    expect(renderFirewall(wish([port(1), port(2)]), context)).not.toMatch(/chain egress|jump/);
    const egress = [rule({ cidrs: ['10.0.0.0/8'] })];
    const text = renderFirewall(wish([port(1, { egress }), port(2, { egress: [...egress] }), port(3, { egress: [] })]), context);
    expect(text.match(/chain egress_/g)).toHaveLength(1);
    expect(text).toContain('ct original ip daddr 10.0.0.0/8 tcp dport 22 return');
    expect(text).toContain('"novact0" . 10.45.0.4 : jump silent');
  });
});

describe('floating addresses', () => {
  const floating = { address: '192.0.2.9', fixed: '10.45.0.2', bridge: 'novact0' };

  it('lead in, out, and from this host itself', () => {
    const text = renderFirewall(wish([port(1)], { floating: [floating] }), context);
    expect(text).toContain('elements = { 192.0.2.9 : 10.45.0.2 }');
    expect(text).toContain('elements = { 10.45.0.2 : 192.0.2.9 }');
    expect(text.match(/dnat ip to ip daddr map @floating/g)).toHaveLength(2);
    expect(text.indexOf('snat ip to ip saddr map @leaving')).toBeLessThan(text.indexOf('masquerade\n  }'));
  });

  it.each([
    [[floating, { ...floating, fixed: '10.45.0.3' }]], [[floating, { ...floating, address: '192.0.2.10' }]], [[{ ...floating, address: '192.0.2.9; drop' }]],
    [[{ ...floating, bridge: 'a b' }]],
  ])('%j is refused', (wrong) => {
    expect(() => renderFirewall(wish([port(1)], { floating: wrong }), context)).toThrow(expect.objectContaining({ name: 'DriverError' }) as Error);
  });
});
