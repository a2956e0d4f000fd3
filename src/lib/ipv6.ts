// IPv6 addresses that follow from what is known, so that nobody has to give or keep them.
import ipaddr from 'ipaddr.js';

/** The address that a guest makes for itself of a network's /64 and of its MAC (EUI-64), as Linux does without privacy extensions. */
export function slaacAddress(cidr: string, mac: string): string {
  const [first = 0, ...rest] = mac.split(':').map((part) => Number.parseInt(part, 16));
  return join(cidr, [first ^ 2, ...rest.slice(0, 2), 0xff, 0xfe, ...rest.slice(2)]);
}

/** What it has on every link, whatever the network. */
export const linkLocalAddress = (mac: string): string => slaacAddress('fe80::/64', mac);

/** The first address of a network: its gateway's. */
export const gatewayAddress = (cidr: string): string => join(cidr, [0, 0, 0, 0, 0, 0, 0, 1]);

/** Is the prefix one that nobody outside knows a way to (fc00::/7)? */
export const isUniqueLocal = (cidr: string): boolean => prefixOf(cidr).range() === 'uniqueLocal';

/** `fd00:45::/64`: a whole /64 in its shortest form, as each network has one. */
export const isNetwork64 = (text: string): boolean =>
  ipaddr.IPv6.isValidCIDR(text) && text === `${prefixOf(text).toRFC5952String()}/64` && prefixOf(text).toByteArray().slice(8).every((byte) => byte === 0);

const prefixOf = (cidr: string): ipaddr.IPv6 => ipaddr.IPv6.parseCIDR(cidr)[0];

const join = (cidr: string, host: readonly number[]): string => new ipaddr.IPv6([...prefixOf(cidr).toByteArray().slice(0, 8), ...host]).toRFC5952String();
