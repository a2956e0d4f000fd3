// The NAT of floating addresses as text: pure, so that the table of a host and that of a router's namespace have the same. What comes for a floating
// address goes to the guest, from wherever it comes; what the guest sends to outside, or to another floating address, leaves as its own.
import { DriverError } from '../../../lib/errors.ts';
import type { FloatingAddress } from '../driver.ts';
import { checkAddress, checkLinkName } from './names.ts';

export interface FloatingRules {
  readonly maps: readonly { readonly name: string; readonly type: string; readonly elements: readonly string[] }[];
  /** Of the chain `nat hook prerouting`, and of `nat hook output` for what this host sends by itself. */
  readonly destination: readonly string[];
  /**
   * Of the chain `filter hook postrouting`: the groups of a guest decide of what this host sends to its floating address, which in `hook output` is not
   * yet seen to go to a bridge.
   */
  readonly checked: readonly string[];
  /** Of the chain `nat hook postrouting`, before what masquerades. `@bridges` is the set of the guests' bridges. */
  readonly source: readonly string[];
}

/** The name of the map from public to private addresses: what is in force can be read from it. */
export const floatingMap = 'floating';

/**
 * Always there, without addresses empty: then equal wishes of different times differ in elements only. `outside`: how rules know what goes to the
 * outside; in the table of a host whatever goes to no bridge.
 */
export function floatingRules(floating: readonly FloatingAddress[], outside = 'oifname != @bridges'): FloatingRules {
  const pairs = floating.map(checkFloating).toSorted((a, b) => (a.address < b.address ? -1 : 1));
  for (const [name, key] of [['address', (one: FloatingAddress) => one.address], ['guest', (one: FloatingAddress) => one.fixed]] as const) {
    if (new Set(pairs.map(key)).size < pairs.length) throw new DriverError('failed', `two floating addresses have the same ${name}`);
  }
  return {
    maps: [
      { name: floatingMap, type: 'type ipv4_addr : ipv4_addr', elements: pairs.map(({ address, fixed }) => `${address} : ${fixed}`) },
      { name: 'leaving', type: 'type ipv4_addr : ipv4_addr', elements: pairs.map(({ address, fixed }) => `${fixed} : ${address}`) },
    ],
    destination: [`dnat ip to ip daddr map @${floatingMap}`],
    checked: ['ct state new ct status dnat fib saddr type local oifname . ip daddr vmap @guests'],
    source: [
      `${outside} snat ip to ip saddr map @leaving`,
      'ct status dnat snat ip to ip saddr map @leaving',
      // The host itself, which speaks to a floating address from that address: the guest must answer to the host.
      ...pairs.map(({ address, bridge }) => `ip saddr ${address} oifname "${bridge}" masquerade`),
    ],
  };
}

const checkFloating = ({ address, fixed, bridge }: FloatingAddress): FloatingAddress =>
  ({ address: checkAddress(address), fixed: checkAddress(fixed), bridge: checkLinkName(bridge) });
