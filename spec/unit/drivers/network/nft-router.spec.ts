// The rules inside a router as text: what a network without a route to everywhere may not do, and that nothing is said of one that has it.
import { describe, expect, it } from 'vitest';
import type { NetworkSpec } from '../../../../src/drivers/network/driver.ts';
import { renderRouter } from '../../../../src/drivers/network/linux/nft-router.ts';

const network = (n: number, changes: Partial<NetworkSpec> = {}): NetworkSpec => ({
  id: `net-${n}`, bridge: `nvbrx500${n}`, cidr: `10.0.${n}.0/24`, gateway: `10.0.${n}.1`, dnsDomain: 'novalocal', mtu: 1450, leaseSeconds: 3600, ...changes,
});
const render = (...networks: readonly NetworkSpec[]): string => renderRouter({ networks, metadataPort: 8775, floating: [] }, 'novact');
const drops = (text: string): string[] => text.split('\n').map((line) => line.trim()).filter((line) => line.endsWith(' drop'));

describe('the way out of a network', () => {
  it('is not mentioned where it leads everywhere', () => {
    expect(drops(render(network(1), network(2)))).toEqual(['iifname . ip daddr != { "nvbrx5001" . 10.0.1.1, "nvbrx5002" . 10.0.2.1 } drop']);
  });

  it('is closed in both directions, and to floating addresses of neighbours, before open connections are let pass', () => {
    const text = render(network(1), network(2, { outside: [] }));
    const closed = [
      'iifname "nvbrx5002" oifname "uplink" drop', 'iifname "uplink" oifname "nvbrx5002" drop', 'iifname "nvbrx5002" ct direction original ct status dnat drop',
    ];
    expect(drops(text).slice(1)).toEqual(closed);
    const forward = text.slice(text.indexOf('chain forward'));
    expect(forward.indexOf('dnat drop')).toBeLessThan(forward.indexOf('established'));
  });

  it('is open to what its routes say, however they overlap', () => {
    expect(drops(render(network(1, { outside: ['198.51.100.0/24', '198.51.100.128/25', '203.0.113.7/32'] }))).slice(1)).toEqual([
      'iifname "nvbrx5001" oifname "uplink" ip daddr != { 198.51.100.0/24, 203.0.113.7 } drop',
      'iifname "uplink" oifname "nvbrx5001" ip saddr != { 198.51.100.0/24, 203.0.113.7 } drop',
      'iifname "nvbrx5001" ct direction original ct status dnat ct original ip daddr != { 198.51.100.0/24, 203.0.113.7 } drop',
    ]);
  });

  it('that is no range is refused', () => {
    expect(() => render(network(1, { outside: ['0.0.0.0/0 accept'] }))).toThrow('not a CIDR');
  });
});
