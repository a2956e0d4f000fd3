// Checks and normal forms of what comes into rules and command lines from outside this driver. Nothing is rendered that did not pass
// here, so no value can end a rule and begin another.
import ipaddr from 'ipaddr.js';
import { DriverError } from '../../../lib/errors.ts';
import { addressNumber } from '../../../lib/ipv4.ts';
import { isNetwork64 } from '../../../lib/ipv6.ts';
import type { NetworkSpec } from '../driver.ts';

const linkNamePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,14}$/;
const macPattern = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/;
const hostNamePattern = /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)$/;

/** An IPv4 network: its first address and the length of its prefix. */
export interface Cidr {
  readonly address: string;
  readonly prefix: number;
}

function refuse(kind: string, value: unknown): never {
  throw new DriverError('failed', `not ${kind}: ${JSON.stringify(value)?.slice(0, 80)}`);
}

export const checkLinkName = (name: string): string => (linkNamePattern.test(name) ? name : refuse('a name of a network interface', name));

export function checkMac(mac: string): string {
  const lower = mac.toLowerCase();
  return macPattern.test(lower) ? lower : refuse('a MAC address', mac);
}

export const checkAddress = (address: string): string =>
  ipaddr.IPv4.isValidFourPartDecimal(address) ? address : refuse('an IPv4 address', address);

/** One label: what may stand in a line of the DHCP server's files. */
export const checkHostName = (name: string): string => (hostNamePattern.test(name) ? name : refuse('a host name', name));

export const checkDomain = (domain: string): string =>
  domain.length <= 200 && domain.split('.').every((label) => hostNamePattern.test(label)) ? domain : refuse('a domain name', domain);

/** What joins a network with other hosts; one with IPv6 is joined with none, and the host is its gateway. */
export function checkJoined(network: Partial<Pick<NetworkSpec, 'flatInterface' | 'hostAddress' | 'ipv6' | 'router'>>): void {
  const { flatInterface, hostAddress, ipv6, router } = network;
  if (flatInterface !== undefined) checkLinkName(flatInterface);
  if (hostAddress !== undefined) checkAddress(hostAddress);
  if (ipv6 === undefined) return;
  if (!isNetwork64(ipv6)) refuse('an IPv6 network of /64', ipv6);
  if (router === undefined && flatInterface === undefined) return;
  throw new DriverError('unsupported', 'IPv6 ends at the host: behind routers and between hosts there is none');
}

export const checkInteger = (value: number, limits: { kind: string; min: number; max: number }): number =>
  Number.isInteger(value) && value >= limits.min && value <= limits.max ? value : refuse(limits.kind, value);

/** The network that an IPv4 CIDR names, host bits cleared; undefined for a well-formed IPv6 one. */
export function parseCidr(cidr: string): Cidr | undefined {
  const [address, prefixText = '32', rest] = cidr.split('/');
  if (address === undefined || rest !== undefined || !/^\d{1,3}$/.test(prefixText)) return refuse('a CIDR', cidr);
  const prefix = Number(prefixText);
  if (address.includes(':') && !address.includes('%') && ipaddr.IPv6.isValid(address) && prefix <= 128) return undefined;
  if (!ipaddr.IPv4.isValidFourPartDecimal(address) || prefix > 32) return refuse('a CIDR', cidr);
  return { address: ipaddr.IPv4.networkAddressFromCIDR(`${address}/${prefix}`).toString(), prefix };
}

/** The first address and the prefix that an IPv6 CIDR names; undefined for a well-formed IPv4 one. */
export function parseIPv6Cidr(cidr: string): IPv6Cidr | undefined {
  const [address = '', prefix = '128'] = cidr.split('/');
  if (parseCidr(cidr) !== undefined) return undefined;
  return { first: numberOf(ipaddr.IPv6.networkAddressFromCIDR(`${address}/${prefix}`)), prefix: Number(prefix) };
}

/** An IPv6 network: its first address as a number, and the length of its prefix. */
export interface IPv6Cidr {
  readonly first: bigint;
  readonly prefix: number;
}

const numberOf = (address: ipaddr.IPv6): bigint => BigInt(`0x${Buffer.from(address.toByteArray()).toString('hex')}`);

/** As `collapseCidrs`, as text. */
export function collapseIPv6Cidrs(cidrs: readonly IPv6Cidr[]): string[] {
  const sorted = cidrs.toSorted((a, b) => (a.first === b.first ? a.prefix - b.prefix : a.first < b.first ? -1 : 1));
  const kept: IPv6Cidr[] = [];
  let coveredBefore = 0n;
  for (const cidr of sorted) {
    if (cidr.first < coveredBefore) continue;
    kept.push(cidr);
    coveredBefore = cidr.first + 2n ** BigInt(128 - cidr.prefix);
  }
  return kept.map(({ first, prefix }) => {
    const bytes = [...Buffer.from(first.toString(16).padStart(32, '0'), 'hex')];
    const text = new ipaddr.IPv6(bytes).toRFC5952String();
    return prefix === 128 ? text : `${text}/${prefix}`;
  });
}

export function parseIPv4Cidr(cidr: string): Cidr {
  return parseCidr(cidr) ?? refuse('an IPv4 CIDR', cidr);
}

export const cidrText = (cidr: Cidr): string => (cidr.prefix === 32 ? cidr.address : `${cidr.address}/${cidr.prefix}`);

/** The same addresses with nothing said twice: nft refuses a set whose ranges overlap. Sorted. */
export function collapseCidrs(cidrs: readonly Cidr[]): Cidr[] {
  const sorted = cidrs
    .map((cidr) => ({ cidr, first: addressNumber(cidr.address) }))
    .toSorted((a, b) => a.first - b.first || a.cidr.prefix - b.cidr.prefix);
  const kept: Cidr[] = [];
  let coveredBefore = 0;
  for (const { cidr, first } of sorted) {
    if (first < coveredBefore) continue;
    kept.push(cidr);
    coveredBefore = first + 2 ** (32 - cidr.prefix);
  }
  return kept;
}
