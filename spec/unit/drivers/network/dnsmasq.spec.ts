// The command line and the files of the DHCP server.
import { describe, expect, it } from 'vitest';
import type { NetworkSpec } from '../../../../src/drivers/network/driver.ts';
import { bridgeMac } from '../../../../src/drivers/network/linux/macs.ts';
import { dnsmasqArguments, dnsmasqFiles, renderDhcpHosts, renderNames } from '../../../../src/drivers/network/linux/dnsmasq.ts';

const network: NetworkSpec = {
  id: 'net-1', bridge: 'novact0', cidr: '10.45.0.0/20', gateway: '10.45.0.1', dnsDomain: 'novalocal', mtu: 1450, leaseSeconds: 3600,
};
const files = dnsmasqFiles('/state', 'novact0');
const host = (n: number) => ({ mac: `02:16:3E:00:00:0${n}`, address: `10.45.0.${n}`, hostname: `i-${n}` });

describe('the command line', () => {
  it('gives fixed leases only, as many as the network has addresses, and is bound to its bridge', () => {
    const args = dnsmasqArguments(network, files);
    expect(args).toEqual(expect.arrayContaining([
      '--conf-file=', '--bind-interfaces', '--interface=novact0', '--except-interface=lo', '--dhcp-range=10.45.0.0,static,255.255.240.0,3600s',
      '--dhcp-lease-max=4096', '--dhcp-option=121,169.254.169.254/32,10.45.0.1,0.0.0.0/0,10.45.0.1', '--dhcp-option=26,1450',
      '--dhcp-hostsfile=/state/novact0/dhcp-hosts', '--pid-file=/state/novact0/dnsmasq.pid', '--domain=novalocal', '--local=/novalocal/',
    ]));
    expect(new Set(args).size).toBe(args.length);
  });

  it.each<Partial<NetworkSpec>>([
    { bridge: '../x' }, { gateway: '10.45.0.1,x' }, { dnsDomain: 'a b' }, { dnsDomain: '/x/' }, { mtu: 10 }, { leaseSeconds: 1 }, { cidr: '10.45.0.0/40' }, { cidr: 'fd00::/64' },
  ])('%j is refused', (changes) => {
    expect(() => dnsmasqArguments({ ...network, ...changes }, files)).toThrow(/^not /);
  });
});

describe('the files', () => {
  it('hosts are listed by address, whatever their order', () => {
    expect(renderDhcpHosts([host(9), host(2)])).toBe('02:16:3e:00:00:02,10.45.0.2,i-2\n02:16:3e:00:00:09,10.45.0.9,i-9\n');
    expect(renderNames([host(9), host(2)])).toBe('10.45.0.2 i-2\n10.45.0.9 i-9\n');
    expect(renderDhcpHosts([])).toBe('');
  });

  it.each([{ hostname: 'a,b' }, { hostname: 'a\n02' }, { hostname: '' }, { mac: 'x' }, { address: '10.45.0.2,set:x' }])('%j is refused', (changes) => {
    expect(() => renderDhcpHosts([{ ...host(1), ...changes }])).toThrow(/^not /);
  });
});

describe('the MAC of a bridge', () => {
  it('stays the same, and is never one of a guest', () => {
    expect(bridgeMac('net-1')).toBe(bridgeMac('net-1'));
    expect(bridgeMac('net-1')).not.toBe(bridgeMac('net-2'));
    expect(bridgeMac('net-1')).toMatch(/^02:16:3f(:[0-9a-f]{2}){3}$/);
  });
});
