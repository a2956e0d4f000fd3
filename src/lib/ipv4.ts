// IPv4 addresses as numbers, for what is counted and compared: ranges and the order of claiming.
import ipaddr from 'ipaddr.js';

/** Both ends included. */
export interface AddressRange {
  readonly first: number;
  readonly last: number;
}

export const addressNumber = (address: string): number => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);

export const addressText = (value: number): string => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');

export const isAddress = (text: string): boolean => ipaddr.IPv4.isValidFourPartDecimal(text);

/** `192.0.2.16/28`, `192.0.2.20-192.0.2.30` or one address; undefined for another text, and for a CIDR that does not begin at its first address. */
export function parseRange(text: string): AddressRange | undefined {
  const [first = '', last = first, ...more] = text.split('-');
  if (more.length > 0) return undefined;
  if (isAddress(first) && isAddress(last)) {
    const range = { first: addressNumber(first), last: addressNumber(last) };
    return range.first <= range.last ? range : undefined;
  }
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(text) || ipaddr.IPv4.networkAddressFromCIDR(text).toString() !== text.split('/')[0]) return undefined;
  const base = addressNumber(text.split('/')[0] ?? '');
  return { first: base, last: base + 2 ** (32 - Number(text.split('/')[1])) - 1 };
}

/** Of a network that was checked. */
export function rangeOfCidr(cidr: string): AddressRange {
  const range = parseRange(cidr);
  if (range === undefined) throw new Error(`${cidr} is no network`);
  return range;
}

export const rangesMeet = (one: AddressRange, other: AddressRange): boolean => one.first <= other.last && other.first <= one.last;
