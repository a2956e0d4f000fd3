// The rules of joined networks as text: nothing of them without a flat interface, all values checked, and the order of the wish does not matter.
import { describe, expect, it } from 'vitest';
import type { NetworkSpec, PortSpec } from '../../../../src/drivers/network/driver.ts';
import { hostMac } from '../../../../src/drivers/network/linux/macs.ts';
import { renderFirewall } from '../../../../src/drivers/network/linux/nft.ts';

const network: NetworkSpec = {
  id: 'net-1', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', dnsDomain: 'novalocal', mtu: 1500, leaseSeconds: 3600,
};
const port = (n: number): PortSpec => ({
  instanceId: `i-${n}`, tap: `nv${n}`, bridge: 'novact0', mac: `02:16:3e:00:00:0${n}`, address: `10.45.0.${n + 1}`, ingress: [],
});
const render = (changes: Partial<NetworkSpec>, ports: readonly PortSpec[] = [port(1), port(2)]): string =>
  renderFirewall({ networks: [{ ...network, ...changes }], ports, metadataPort: 8775 }, { matchesBridges: true, uplink: undefined });

describe('the rules of a joined network', () => {
  it('are not there without a flat interface', () => {
    const text = render({});
    expect(text).not.toContain('fabric');
    expect(text).not.toContain('snat ip to 10.');
    expect(text).not.toContain('iifname "novact0" oifname "novact0"');
  });

  it('let the host itself cross only by an address of its own', () => {
    const alone = render({ flatInterface: 'eth1' });
    expect(alone).not.toContain('snat ip to 10.');
    expect(alone).toMatch(/chain output \{[^}]*vmap @guests\n +drop/);
    const own = render({ flatInterface: 'eth1', hostAddress: '10.45.0.9' });
    expect(own).toContain('oifname "novact0" ip saddr 10.45.0.1 ip daddr 10.45.0.0/20 snat ip to 10.45.0.9');
    expect(own).toContain(`ether saddr set ${hostMac('10.45.0.9')}`);
  });

  it('do not depend on the order of the wish', () => {
    const changes = { flatInterface: 'eth1', hostAddress: '10.45.0.9' };
    expect(render(changes, [port(2), port(1)])).toBe(render(changes, [port(1), port(2)]));
  });

  it.each([
    { flatInterface: 'eth1" accept' }, { flatInterface: 'eth1', hostAddress: '10.45.0.9; accept' }, { flatInterface: '' },
  ])('%j is refused', (changes) => {
    expect(() => render(changes)).toThrow(/^not /);
  });

  it('one interface joins one network', () => {
    const networks = [{ ...network, flatInterface: 'eth1' }, { ...network, id: 'net-2', bridge: 'novact1', flatInterface: 'eth1' }];
    expect(() => renderFirewall({ networks, ports: [], metadataPort: 8775 }, { matchesBridges: true, uplink: undefined })).toThrow('same flat interface: eth1');
  });

  it('hosts of one network never share a MAC', () => {
    expect(hostMac('10.45.0.9')).toBe('02:16:3d:2d:00:09');
    expect(hostMac('10.45.15.254')).toBe('02:16:3d:2d:0f:fe');
  });
});
