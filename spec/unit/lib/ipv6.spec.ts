// IPv6 addresses that follow from a MAC and a prefix.
import { describe, expect, it } from 'vitest';
import { gatewayAddress, isNetwork64, isUniqueLocal, linkLocalAddress, slaacAddress } from '../../../src/lib/ipv6.ts';

describe('N14: addresses that guests make for themselves', () => {
  it('are of the prefix and the MAC with one bit turned, as RFC 4291 has it', () => {
    expect(slaacAddress('fd00:45::/64', '02:16:3e:00:00:01')).toBe('fd00:45::16:3eff:fe00:1');
    expect(slaacAddress('2001:db8:1:2::/64', '34:56:78:9a:bc:de')).toBe('2001:db8:1:2:3656:78ff:fe9a:bcde');
    expect(linkLocalAddress('02:16:3e:12:34:56')).toBe('fe80::16:3eff:fe12:3456');
    expect(gatewayAddress('fd00:45::/64')).toBe('fd00:45::1');
  });

  it('are of a whole /64 in its shortest form', () => {
    for (const text of ['fd00:45::/64', '2001:db8::/64']) expect(isNetwork64(text), text).toBe(true);
    const others = ['fd00:45::/48', 'fd00:45::1/64', 'FD00:45::/64', 'fd00:45:0:0::/64', '10.0.0.0/24', 'x', ''];
    for (const text of others) expect(isNetwork64(text), text).toBe(false);
    expect(['fd00:45::/64', 'fc12::/64', '2001:db8::/64'].map(isUniqueLocal)).toEqual([true, true, false]);
  });
});
