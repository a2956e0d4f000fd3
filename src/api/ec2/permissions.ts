// Security group rules as clients write them (flat parameters of Nova's age, or IpPermissions) and as AWS shows them.
import ipaddr from 'ipaddr.js';
import type { RuleSpec, RuleWithSource, SecurityGroupRule } from '../../db/security-groups.ts';
import type { TagText } from '../../db/tags.ts';
import { fail } from './action.ts';

/** A group that a rule refers to, as the client names it. */
export interface GivenGroup {
  readonly GroupId?: string | undefined;
  readonly GroupName?: string | undefined;
  readonly UserId?: string | undefined;
  readonly Description?: string | undefined;
}

export interface GivenPermission {
  readonly IpProtocol?: string | undefined;
  readonly FromPort?: number | undefined;
  readonly ToPort?: number | undefined;
  readonly IpRanges?: readonly { readonly CidrIp?: string | undefined; readonly Description?: string | undefined }[] | undefined;
  readonly Ipv6Ranges?: readonly { readonly CidrIpv6?: string | undefined; readonly Description?: string | undefined }[] | undefined;
  readonly PrefixListIds?: readonly unknown[] | undefined;
  readonly UserIdGroupPairs?: readonly GivenGroup[] | undefined;
}

export interface GivenRules {
  readonly IpPermissions?: readonly GivenPermission[] | undefined;
  readonly IpProtocol?: string | undefined;
  readonly FromPort?: number | undefined;
  readonly ToPort?: number | undefined;
  readonly CidrIp?: string | undefined;
  readonly SourceSecurityGroupName?: string | undefined;
  readonly SourceSecurityGroupOwnerId?: string | undefined;
}

const namedProtocols: Readonly<Record<string, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmpv6', all: '-1' };
const everywhere = '0.0.0.0/0';
/** In rows it has its number, which roles of 0.2.0 know, too. */
const icmpv6 = '58';
export const shownProtocol = (protocol: string): string => (protocol === icmpv6 ? 'icmpv6' : protocol);

/** A rule's range under the name that it has by its family. */
export const showCidr = (cidr: string | null): { readonly CidrIpv4?: string | undefined; readonly CidrIpv6?: string } =>
  (cidr?.includes(':') === true ? { CidrIpv6: cidr } : { CidrIpv4: cidr ?? undefined });

/** Where boto 2 and euca2ools end, and clients begin that always say a source, and that take a group's name for an EC2-Classic group. */
const modernVersion = '2016-11-15';
export const isModern = (version: string): boolean => version >= modernVersion;

/** The permissions of a request, whatever their form. A flat source group without a protocol means all of tcp, udp and icmp. */
function permissionsOf(input: GivenRules): readonly GivenPermission[] {
  if (input.IpPermissions !== undefined && input.IpPermissions.length > 0) return input.IpPermissions;
  const { SourceSecurityGroupName: name, SourceSecurityGroupOwnerId: owner, IpProtocol, FromPort, ToPort, CidrIp } = input;
  const UserIdGroupPairs = name === undefined || name === '' ? undefined : [{ GroupName: name, UserId: owner }];
  if (UserIdGroupPairs !== undefined && (IpProtocol === undefined || IpProtocol === '')) {
    return [
      { IpProtocol: 'tcp', FromPort: 0, ToPort: 65_535, UserIdGroupPairs },
      { IpProtocol: 'udp', FromPort: 0, ToPort: 65_535, UserIdGroupPairs },
      { IpProtocol: 'icmp', FromPort: -1, ToPort: -1, UserIdGroupPairs },
    ];
  }
  const IpRanges = CidrIp === undefined || CidrIp === '' ? undefined : [{ CidrIp }];
  return [{ IpProtocol, FromPort, ToPort, IpRanges, UserIdGroupPairs }];
}

export interface ReadRulesOptions {
  readonly version: string;
  /** The id of a group that is referred to; throws when there is none. */
  readonly groupId: (given: GivenGroup) => Promise<string>;
}

/** Checked rules, one for each protocol, ports and source. */
export async function readRules(input: GivenRules, options: ReadRulesOptions): Promise<RuleSpec[]> {
  const specs: RuleSpec[] = [];
  for (const permission of permissionsOf(input)) {
    if ((permission.PrefixListIds?.length ?? 0) > 0) fail('UnsupportedOperation', 'Rules for prefix lists are not supported.');
    const { ports, ranges } = { ports: readPorts(permission), ranges: rangesOf(permission, options.version) };
    for (const range of ranges) {
      specs.push({ ...ports, cidr: canonicalCidr(range.CidrIp ?? ''), sourceGroupId: null, description: readDescription(range.Description) });
    }
    for (const { CidrIpv6 = '', Description } of permission.Ipv6Ranges ?? []) {
      specs.push({ ...ports, cidr: canonicalIPv6Cidr(CidrIpv6), sourceGroupId: null, description: readDescription(Description) });
    }
    for (const pair of permission.UserIdGroupPairs ?? []) {
      specs.push({ ...ports, cidr: null, sourceGroupId: await options.groupId(pair), description: readDescription(pair.Description) });
    }
  }
  if (new Set(specs.map(ruleKey)).size < specs.length) fail('InvalidParameterValue', 'The same permission must not appear multiple times');
  return specs;
}

/** Clients of Nova's age leave the CIDR out when they mean everywhere. Later ones never do so on purpose. */
function rangesOf(permission: GivenPermission, version: string): readonly { CidrIp?: string | undefined; Description?: string | undefined }[] {
  const ranges = permission.IpRanges ?? [];
  if (ranges.length + (permission.Ipv6Ranges?.length ?? 0) + (permission.UserIdGroupPairs?.length ?? 0) > 0) return ranges;
  if (isModern(version)) fail('MissingParameter', 'Either a CIDR block (CidrIp) or a source security group is required.');
  return [{ CidrIp: everywhere }];
}

function readPorts({ IpProtocol = '', FromPort, ToPort }: GivenPermission): Pick<RuleSpec, 'protocol' | 'fromPort' | 'toPort'> {
  const given = IpProtocol.toLowerCase();
  if (given === '') fail('MissingParameter', 'The request must contain the parameter ipProtocol');
  const protocol = Object.hasOwn(namedProtocols, given) ? (namedProtocols[given] ?? given) : given;
  if (protocol === 'tcp' || protocol === 'udp') return { protocol, ...portRange(FromPort, ToPort) };
  if (protocol === 'icmp') return { protocol, ...icmpType(FromPort, ToPort) };
  if (protocol === 'icmpv6') return { protocol: icmpv6, ...icmpType(FromPort, ToPort) };
  if (protocol === '-1' || (/^\d{1,3}$/.test(protocol) && Number(protocol) <= 255)) {
    return { protocol: protocol === '-1' ? protocol : String(Number(protocol)), fromPort: -1, toPort: -1 };
  }
  return fail('InvalidParameterValue', `Invalid value '${IpProtocol.slice(0, 60)}' for IP protocol. Unknown protocol.`);
}

function portRange(from: number | undefined, to: number | undefined): { fromPort: number; toPort: number } {
  if (from === undefined || to === undefined) {
    return fail('InvalidParameterValue', "Invalid value 'Must specify both from and to ports with TCP/UDP.' for portRange.");
  }
  for (const port of [from, to]) if (port < 0 || port > 65_535) fail('InvalidParameterValue', `TCP/UDP port (${port}) out of range`);
  if (from > to) fail('InvalidParameterValue', `Invalid TCP/UDP port range (${from}:${to})`);
  return { fromPort: from, toPort: to };
}

function icmpType(type = -1, code = -1): { fromPort: number; toPort: number } {
  if (type < -1 || type > 255) fail('InvalidParameterValue', `ICMP type (${type}) out of range`);
  if (code < -1 || code > 255) fail('InvalidParameterValue', `ICMP code (${code}) out of range`);
  if (type === -1 && code !== -1) fail('InvalidParameterValue', 'ICMP code must be -1 when the ICMP type is -1');
  return { fromPort: type, toPort: code };
}

/** With the bits of hosts taken off: `100.68.0.18/18` is `100.68.0.0/18`. */
export function canonicalCidr(text: string): string {
  const match = /^(\d{1,3}(?:\.\d{1,3}){3})\/(\d{1,2})$/.exec(text);
  const [, address = '', bits = ''] = match ?? [];
  if (match === null || Number(bits) > 32 || !ipaddr.IPv4.isValidFourPartDecimal(address)) {
    return fail('InvalidParameterValue', `CIDR block ${text.slice(0, 60)} is malformed`);
  }
  return `${ipaddr.IPv4.networkAddressFromCIDR(text).toString()}/${Number(bits)}`;
}

function canonicalIPv6Cidr(text: string): string {
  const [address = '', bits = ''] = text.split('/');
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > 128 || !ipaddr.IPv6.isValid(address) || address.includes('%')) {
    return fail('InvalidParameterValue', `CIDR block ${text.slice(0, 60)} is malformed`);
  }
  return `${ipaddr.IPv6.networkAddressFromCIDR(`${address}/${Number(bits)}`).toRFC5952String()}/${Number(bits)}`;
}

export function readDescription(text: string | undefined): string | null {
  if (text === undefined || text === '') return null;
  if (text.length > 255 || !/^[\w .:/()#,@[\]+=&;{}!$*-]*$/.test(text)) {
    fail('InvalidParameterValue',
      'Invalid rule description. Valid descriptions are strings less than 256 characters from the following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*');
  }
  return text;
}

/** Two rules with the same key allow the same. */
export const ruleKey = (rule: Omit<RuleSpec, 'description'>): string =>
  [rule.protocol, rule.fromPort, rule.toPort, rule.cidr ?? '', rule.sourceGroupId ?? ''].join(' ');

/** As in AWS's messages: `peer: 10.0.0.0/8, TCP, from port: 22, to port: 22, ALLOW`. */
export function ruleText(rule: Omit<RuleSpec, 'description'>): string {
  const protocol = rule.protocol === '-1' ? 'ALL' : shownProtocol(rule.protocol).toUpperCase();
  return `peer: ${rule.cidr ?? rule.sourceGroupId}, ${protocol}, from port: ${rule.fromPort}, to port: ${rule.toPort}, ALLOW`;
}

interface ShownPermission {
  IpProtocol: string;
  FromPort?: number;
  ToPort?: number;
  IpRanges: { CidrIp: string; Description?: string | undefined }[];
  Ipv6Ranges: { CidrIpv6: string; Description?: string | undefined }[];
  PrefixListIds: never[];
  UserIdGroupPairs: { GroupId: string; GroupName?: string | undefined; UserId: string; Description?: string | undefined }[];
}

/**
 * Rules of one direction, those with the same protocol and ports together. Modern clients (Terraform) take a pair with a name for one
 * of EC2-Classic and compare names instead of ids, so only old ones are told it.
 */
export function showPermissions(rules: readonly RuleWithSource[], version: string): ShownPermission[] {
  const byPorts = new Map<string, ShownPermission>();
  for (const rule of rules) {
    const key = `${rule.protocol} ${rule.fromPort} ${rule.toPort}`;
    const hasPorts = ['tcp', 'udp', 'icmp', icmpv6].includes(rule.protocol);
    const permission: ShownPermission = byPorts.get(key) ?? {
      IpProtocol: shownProtocol(rule.protocol),
      ...(hasPorts ? { FromPort: rule.fromPort, ToPort: rule.toPort } : {}),
      IpRanges: [],
      Ipv6Ranges: [],
      PrefixListIds: [],
      UserIdGroupPairs: [],
    };
    byPorts.set(key, permission);
    const Description = rule.description ?? undefined;
    if (rule.cidr?.includes(':') === true) permission.Ipv6Ranges.push({ CidrIpv6: rule.cidr, Description });
    else if (rule.cidr !== null) permission.IpRanges.push({ CidrIp: rule.cidr, Description });
    if (rule.source !== undefined) {
      const GroupName = isModern(version) ? undefined : rule.source.name;
      permission.UserIdGroupPairs.push({ GroupId: rule.source.id, GroupName, UserId: rule.source.projectId, Description });
    }
  }
  return [...byPorts.values()];
}

/** One rule, in the flat form of DescribeSecurityGroupRules. */
export function showRule(
  rule: SecurityGroupRule & { readonly source?: RuleWithSource['source'] }, at: { readonly owner: string; readonly region: string }, tags: readonly TagText[],
) {
  return {
    SecurityGroupRuleId: rule.id,
    GroupId: rule.groupId,
    GroupOwnerId: at.owner,
    IsEgress: rule.direction === 'egress',
    IpProtocol: shownProtocol(rule.protocol),
    FromPort: rule.fromPort,
    ToPort: rule.toPort,
    ...showCidr(rule.cidr),
    ReferencedGroupInfo: rule.sourceGroupId === null ? undefined : { GroupId: rule.sourceGroupId, UserId: rule.source?.projectId ?? at.owner },
    Description: rule.description ?? undefined,
    Tags: [...tags],
    SecurityGroupRuleArn: `arn:aws:ec2:${at.region}:${at.owner}:security-group-rule/${rule.id}`,
  };
}
