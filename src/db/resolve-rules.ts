// The rules of security groups as a firewall wants them: groups that rules name are resolved to the addresses of their members.
import { asc, eq, inArray } from 'drizzle-orm';
import { groupBy } from '../lib/group-by.ts';
import { slaacAddress } from '../lib/ipv6.ts';
import type { Queryable } from './db.ts';
import { instances, instanceSecurityGroups } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';

export type RuleProtocol = 'tcp' | 'udp' | 'icmp' | '-1' | `${number}`;

export interface ResolvedRule {
  readonly protocol: RuleProtocol;
  readonly fromPort: number;
  readonly toPort: number;
  readonly cidrs: readonly string[];
}

/** Allows all, whoever it is. */
export const isAll = ({ protocol, cidr }: RuleRow): boolean => protocol === '-1' && cidr === '0.0.0.0/0';

/** Rules that are alike get one list; `routerId` says behind which router the addresses of members are looked for. */
export function createResolver(members: ReadonlyMap<string, readonly string[]>): (rows: readonly RuleRow[], routerId: string | null) => ResolvedRule[] {
  const resolved = new Map<string, ResolvedRule[]>();
  return (rows, routerId) => {
    const texts = rows.map(({ protocol, fromPort, toPort, cidr, sourceGroupId }) => [protocol, fromPort, toPort, cidr, sourceGroupId].join(' '));
    const wish = `${routerId ?? ''} ${texts.toSorted().join()}`;
    const known = resolved.get(wish) ?? resolveRules(rows, (groupId) => members.get(placeOf(groupId, routerId)) ?? []);
    resolved.set(wish, known);
    return known;
  };
}

/** Behind another router the same address is somebody else. */
const placeOf = (groupId: string | null, routerId: string | null): string => `${groupId ?? ''} ${routerId ?? ''}`;

interface RuleRow {
  readonly protocol: string;
  readonly fromPort: number;
  readonly toPort: number;
  readonly cidr: string | null;
  readonly sourceGroupId: string | null;
}

export async function membersOfGroups(db: Queryable, groupIds: readonly string[]): Promise<Map<string, string[]>> {
  const members = new Map<string, string[]>();
  if (groupIds.length === 0) return members;
  const { routerId, ipv6Cidr } = networks;
  const rows = await db.select({ groupId: instanceSecurityGroups.groupId, address: fixedAddresses.address, routerId, ipv6Cidr, mac: instances.mac })
    .from(instanceSecurityGroups).innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instanceSecurityGroups.instanceId))
    .innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId))
    .where(inArray(instanceSecurityGroups.groupId, [...new Set(groupIds)])).orderBy(asc(fixedAddresses.position));
  for (const [place, group] of groupBy(rows, (row) => placeOf(row.groupId, row.routerId))) members.set(place, group.flatMap(cidrsOf));
  return members;
}

/** All addresses that a member has. */
const cidrsOf = ({ address, ipv6Cidr, mac }: { readonly address: string; readonly ipv6Cidr: string | null; readonly mac: string }): string[] =>
  [`${address}/32`, ...(ipv6Cidr === null ? [] : [`${slaacAddress(ipv6Cidr, mac)}/128`])];

/** One rule for each protocol and range, with all its sources. A rule whose source is a group without members has none. */
function resolveRules(rows: readonly RuleRow[], membersOf: (groupId: string | null) => readonly string[]): ResolvedRule[] {
  const byRange = new Map<string, { rule: Omit<ResolvedRule, 'cidrs'>; cidrs: Set<string> }>();
  for (const row of rows) {
    const sources = row.cidr !== null ? [row.cidr] : membersOf(row.sourceGroupId);
    const key = `${row.protocol} ${row.fromPort} ${row.toPort}`;
    const entry = byRange.get(key) ?? { rule: { protocol: row.protocol as RuleProtocol, fromPort: row.fromPort, toPort: row.toPort }, cidrs: new Set() };
    for (const source of sources) entry.cidrs.add(source);
    byRange.set(key, entry);
  }
  return [...byRange.entries()].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, { rule, cidrs }]) => ({ ...rule, cidrs: [...cidrs].toSorted() }));
}
