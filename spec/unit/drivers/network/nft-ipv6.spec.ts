// Rules of IPv6 as text. What they do to frames: spec/host/network-ipv6.spec.ts.
import { describe, expect, it } from 'vitest';
import type { FirewallSpec, NetworkSpec, TrafficRule } from '../../../../src/drivers/network/driver.ts';
import { collapseIPv6Cidrs, parseIPv6Cidr } from '../../../../src/drivers/network/linux/names.ts';
import { renderFirewall } from '../../../../src/drivers/network/linux/nft.ts';
import { renderEgress, renderIngress } from '../../../../src/drivers/network/linux/nft-rules.ts';

const rule = (changes: Partial<TrafficRule>): TrafficRule => ({ protocol: 'tcp', fromPort: 22, toPort: 22, cidrs: ['0.0.0.0/0', '::/0'], ...changes });
const network: NetworkSpec = {
  id: 'net-1', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', ipv6: 'fd00:45::/64', dnsDomain: 'novalocal', mtu: 1500, leaseSeconds: 3600,
};
const wish = (of: NetworkSpec): FirewallSpec => ({
  networks: [of], metadataPort: 8775,
  ports: [{ instanceId: 'i-1', tap: 'nv1', bridge: 'novact0', mac: '02:16:3e:00:00:01', address: '10.45.0.2', ingress: [rule({})], egress: [] }],
});
const rendered = (of: NetworkSpec): string => renderFirewall(wish(of), { matchesBridges: true, uplink: undefined });

describe('N14: rules', () => {
  it.each<[TrafficRule, string[], string[]]>([
    [rule({}), ['tcp dport 22 accept'], ['tcp dport 22 accept']],
    [rule({ cidrs: ['fd00::/8'] }), [], ['ip6 saddr fd00::/8 tcp dport 22 accept']],
    [rule({ cidrs: ['10.0.0.0/8'] }), ['ip saddr 10.0.0.0/8 tcp dport 22 accept'], []],
    [rule({ protocol: 'icmp', fromPort: 8, toPort: -1 }), ['icmp type 8 accept'], []],
    [rule({ protocol: '58', fromPort: 128, toPort: 0 }), [], ['icmpv6 type 128 icmpv6 code 0 accept']],
    [rule({ protocol: '58', fromPort: -1, toPort: -1 }), [], ['meta l4proto 58 accept']],
    [rule({ protocol: '47' }), ['ip protocol 47 accept'], ['meta l4proto 47 accept']],
    [rule({ protocol: '-1' }), ['accept'], ['accept']],
  ])('of each family are in chains of their own: %j', (one, four, six) => {
    expect([renderIngress([one]), renderIngress([one], 'ip6')]).toEqual([four, six]);
  });

  it('of what goes out ask for where to it was sent', () => {
    expect(renderEgress([rule({ cidrs: ['2001:db8::/32'] })], 'ip6')).toEqual(['ct original ip6 daddr 2001:db8::/32 tcp dport 22 return']);
  });

  it('say nothing twice: ranges that are within others are left out', () => {
    const given = ['fd00:45::7/128', 'fd00:45::/64', 'fd00:45:0:1::/64', 'fd00:45::1/64', '2001:db8::1', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128'];
    expect(collapseIPv6Cidrs(given.flatMap((cidr) => parseIPv6Cidr(cidr) ?? []))).toEqual([
      '2001:db8::1', 'fd00:45::/64', 'fd00:45:0:1::/64', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff',
    ]);
    expect(parseIPv6Cidr('10.0.0.0/8')).toBeUndefined();
    for (const wrong of ['::/129', 'fe80::1%eth0/64', 'x', '::/0/0']) expect(() => parseIPv6Cidr(wrong), wrong).toThrow('not a CIDR');
  });

  it('know a guest by the two addresses that follow from its MAC, and are not there without IPv6', () => {
    const text = rendered(network);
    for (const address of ['fd00:45::16:3eff:fe00:1', 'fe80::16:3eff:fe00:1']) {
      expect(text).toContain(`"nv1" . ${address}`);
      expect(text).toContain(`"novact0" . ${address} : goto ingress6_`);
      expect(text).toContain(`"novact0" . ${address} : jump silent6`);
    }
    const { ipv6: _none, ...without } = network;
    expect(rendered(without)).not.toMatch(/ip6|icmpv6/);
  });

  it('are refused for a network that has a router or is joined, and for what is no /64', () => {
    for (const wrong of [{ flatInterface: 'up0' }, { ipv6: 'fd00:45::/48' }, { ipv6: 'fd00:45::/64; drop' }]) {
      expect(() => rendered({ ...network, ...wrong }), JSON.stringify(wrong)).toThrow(/IPv6/);
    }
  });
});
