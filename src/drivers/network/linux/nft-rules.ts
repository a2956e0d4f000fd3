// What groups let in and out as chains of nftables: pure, one chain for all ports that wish the same. Rules of IPv4 and of IPv6 never meet: each has
// its own chains, into which packets come by their addresses.
import { DriverError } from '../../../lib/errors.ts';
import type { PortSpec, TrafficRule } from '../driver.ts';
import { checkInteger, cidrText, collapseCidrs, collapseIPv6Cidrs, parseCidr, parseIPv6Cidr } from './names.ts';
import { nameAfter } from './ruleset.ts';

/** Of addresses, as nftables calls them. */
export type Family = 'ip' | 'ip6';

export interface Direction {
  readonly name: string;
  readonly rulesOf: (port: PortSpec) => readonly TrafficRule[];
  readonly render: (rules: readonly TrafficRule[]) => string[];
}

export interface SharedChains {
  readonly chains: readonly { readonly name: string; readonly rules: readonly string[] }[];
  readonly chainOf: ReadonlyMap<string, string>;
}

/** Ports with the same wish share one chain, named after it: a thousand members of one group cost one. */
export function sharedChains(ports: readonly PortSpec[], { name, rulesOf, render }: Direction): SharedChains {
  const byText = new Map<string, { name: string; rules: string[] }>();
  const chainOf = new Map<string, string>();
  // Ports of the same groups share one list, which may be long.
  const rendered = new Map<readonly TrafficRule[], { text: string; rules: string[] }>();
  for (const port of ports) {
    const wish = rulesOf(port);
    const { text, rules } = rendered.get(wish) ?? withText(render(wish));
    rendered.set(wish, { text, rules });
    if (rules.length === 0) continue;
    const known = byText.get(text) ?? { name: nameAfter(name, text), rules };
    byText.set(text, known);
    chainOf.set(port.tap, known.name);
  }
  return { chains: [...byText.values()], chainOf };
}

const withText = (rules: string[]): { text: string; rules: string[] } => ({ text: rules.join('\n'), rules });

/** The accepting rules, sorted, none twice. A rule whose sources are no one (an empty group, only addresses of the other family) is none. */
export const renderIngress = (rules: readonly TrafficRule[], family: Family = 'ip'): string[] =>
  renderRules(rules, { family, peer: `${family} saddr`, verdict: 'accept' });

/** As above: where to it was sent is asked, not where a floating address leads. What may go out still has to be let in, so it only returns. */
export const renderEgress = (rules: readonly TrafficRule[], family: Family = 'ip'): string[] =>
  renderRules(rules, { family, peer: `ct original ${family} daddr`, verdict: 'return' });

interface Rendering {
  readonly family: Family;
  readonly peer: string;
  readonly verdict: string;
}

function renderRules(rules: readonly TrafficRule[], { family, peer, verdict }: Rendering): string[] {
  const texts = rules.flatMap((rule) => {
    const peers = peersOf(rule, family);
    const protocol = renderProtocol(rule, family);
    if (peers.length === 0 || protocol === undefined) return [];
    const everyone = peers.some((one) => one.endsWith('/0'));
    return [[everyone ? '' : `${peer} ${anyOf(peers)}`, protocol, verdict].filter((part) => part !== '').join(' ')];
  });
  return [...new Set(texts)].toSorted();
}

function peersOf({ cidrs }: TrafficRule, family: Family): string[] {
  if (family === 'ip6') return collapseIPv6Cidrs(cidrs.map(parseIPv6Cidr).filter((cidr) => cidr !== undefined));
  return collapseCidrs(cidrs.map(parseCidr).filter((cidr) => cidr !== undefined)).map(cidrText);
}

export const anyOf = (items: readonly string[]): string => (items.length === 1 && items[0] !== undefined ? items[0] : `{ ${items.join(', ')} }`);

/** ICMP of IPv6 by its number, as rows and messages have it. */
const icmpv6 = '58';
const namesOfNumbers: Readonly<Record<string, 'icmp' | 'tcp' | 'udp'>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };

/** Undefined: the family has no such protocol. */
function renderProtocol(rule: TrafficRule, family: Family): string | undefined {
  const protocol = namesOfNumbers[rule.protocol] ?? rule.protocol;
  if (protocol === '-1') return '';
  if (protocol === 'icmp') return family === 'ip' ? renderIcmp(rule, 'icmp') : undefined;
  if (protocol === icmpv6) return family === 'ip6' ? renderIcmp(rule, 'icmpv6') : undefined;
  if (protocol === 'tcp' || protocol === 'udp') return renderPorts(protocol, rule);
  if (!/^\d{1,3}$/.test(protocol)) throw new DriverError('failed', `not a protocol: ${JSON.stringify(protocol)}`);
  const number = checkInteger(Number(protocol), { kind: 'a protocol', min: 0, max: 255 });
  return family === 'ip' ? `ip protocol ${number}` : `meta l4proto ${number}`;
}

function renderPorts(protocol: 'tcp' | 'udp', rule: TrafficRule): string {
  const from = rule.fromPort ?? -1;
  const to = rule.toPort ?? from;
  if (from === -1 || (from === 0 && to === 65_535)) return `meta l4proto ${protocol}`;
  checkInteger(from, { kind: 'a port', min: 0, max: 65_535 });
  checkInteger(to, { kind: 'the end of a port range', min: from, max: 65_535 });
  return `${protocol} dport ${from === to ? from : `${from}-${to}`}`;
}

function renderIcmp(rule: TrafficRule, name: 'icmp' | 'icmpv6'): string {
  const type = rule.fromPort ?? -1;
  const code = rule.toPort ?? -1;
  if (type === -1) return `meta l4proto ${name === 'icmp' ? name : icmpv6}`;
  checkInteger(type, { kind: 'an ICMP type', min: 0, max: 255 });
  checkInteger(code, { kind: 'an ICMP code', min: -1, max: 255 });
  return `${name} type ${type}${code === -1 ? '' : ` ${name} code ${code}`}`;
}
