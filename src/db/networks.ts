// Networks, their addresses, and what a host must make real of them: the DHCP entries and ports of its instances, with the rules of
// their security groups resolved to addresses.
import { and, asc, eq, inArray, isNotNull, isNull, ne, or, sql, type SQL } from 'drizzle-orm';
import ipaddr from 'ipaddr.js';
import { SetupError } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import { newId, tapName } from '../lib/ids.ts';
import type { Db, Queryable, Tx } from './db.ts';
import { createResolver, isAll, membersOfGroups, type ResolvedRule } from './resolve-rules.ts';
import { instances, instanceSecurityGroups, securityGroupRules } from './schema/instances.ts';
import { fixedAddresses, networks } from './schema/networks.ts';
import { isUniqueViolation } from './unique-violation.ts';

export type Network = typeof networks.$inferSelect;

export interface NewNetwork {
  readonly name: string;
  /** `flat-dhcp` … */
  readonly manager: string;
  /** `10.45.0.0/20`. */
  readonly cidr: string;
  /** Default: the first address. */
  readonly gateway?: string;
  readonly bridge: string;
  readonly mtu: number;
  /** `fd00:45::/64`. */
  readonly ipv6Cidr?: string | undefined;
  /** Addresses not to be given to instances, beside the network's, the gateway's and the broadcast one. */
  readonly reserved?: readonly string[];
}

/** Larger networks would be a million rows and one broadcast domain; smaller ones have no room for a gateway and two guests. */
const prefixLimits = { min: 16, max: 29 };

/** Makes a network and a row for each of its addresses. One of that name is returned as it is. */
export async function createNetwork(db: Db, wanted: NewNetwork, now: Date): Promise<Network> {
  const { base, size } = checkCidr(wanted.cidr);
  const gateway = wanted.gateway ?? nthAddress(base, 1);
  return db.transaction(async (tx) => {
    const [made] = await tx.insert(networks)
      .values({ ...pick(wanted), id: newId('net'), gateway, createdAt: now })
      .onConflictDoNothing({ target: networks.name }).returning();
    if (made === undefined) {
      const [existing] = await tx.select().from(networks).where(eq(networks.name, wanted.name));
      if (existing === undefined) throw new Error(`network ${wanted.name} is there and is not`);
      return existing;
    }
    await insertAddresses(tx, { networkId: made.id, base, size, reserved: [gateway, ...(wanted.reserved ?? [])] });
    return made;
  });
}

/** A row for each address, in one statement. The first and the last one, and those named, are for no instance. */
export async function insertAddresses(tx: Queryable, of: { networkId: string; base: string; size: number; reserved: readonly string[] }): Promise<void> {
  const { networkId, base, size, reserved } = of;
  await tx.execute(sql`
    insert into ${fixedAddresses} (network_id, address, position, reserved)
    select ${networkId}::text, host(${base}::inet + n), n,
           n in (0, ${size - 1}::int) or host(${base}::inet + n) in (${sql.join(reserved.map((address) => sql`${address}::text`), sql`, `)})
    from generate_series(0, ${size - 1}::int) as n`);
  // Until the server finds the time by itself, it would look through all of them for each claim.
  await tx.execute(sql`analyze ${fixedAddresses}`);
}

const pick = ({ name, manager, cidr, bridge, mtu, ipv6Cidr }: NewNetwork) => ({ name, manager, cidr, bridge, mtu, ipv6Cidr });

/** Gives a network IPv6 that had none, or another prefix: its instances have other addresses from then on. */
export async function setIPv6(db: Queryable, networkId: string, ipv6Cidr: string): Promise<void> {
  await db.update(networks).set({ ipv6Cidr }).where(eq(networks.id, networkId));
}

/** Throws a SetupError for what is no network of a useful size. */
export function checkCidr(cidr: string): { base: string; size: number } {
  const remedy = `Use an IPv4 network of /${prefixLimits.min} to /${prefixLimits.max}, such as 10.45.0.0/20.`;
  if (!ipaddr.IPv4.isValidCIDRFourPartDecimal(cidr)) throw new SetupError(`${cidr} is not an IPv4 network`, remedy);
  const prefix = Number(cidr.split('/')[1]);
  const base = ipaddr.IPv4.networkAddressFromCIDR(cidr).toString();
  if (base !== cidr.split('/')[0]) throw new SetupError(`${cidr} is not a network: its first address is ${base}`, remedy);
  if (prefix < prefixLimits.min || prefix > prefixLimits.max) throw new SetupError(`the network ${cidr} is too large or too small`, remedy);
  return { base, size: 2 ** (32 - prefix) };
}

export function nthAddress(base: string, n: number): string {
  const value = base.split('.').reduce((sum, part) => sum * 256 + Number(part), 0) + n;
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}

export const listNetworks = (db: Queryable): Promise<Network[]> => db.select().from(networks).orderBy(asc(networks.name));

/** The name of the network that projects share under a flat manager. */
export const sharedNetworkName = 'default';

/** Undefined: no network role has started yet. */
export async function findSharedNetwork(db: Queryable): Promise<Network | undefined> {
  const [row] = await db.select().from(networks).where(eq(networks.name, sharedNetworkName));
  return row;
}

/** The network of all instances that are on none of their project's. */
export async function sharedNetworkId(db: Queryable): Promise<string | undefined> {
  return (await findSharedNetwork(db))?.id;
}

/** Takes the network away, its addresses with it. */
export async function deleteNetwork(db: Queryable, networkId: string): Promise<void> {
  await db.delete(networks).where(eq(networks.id, networkId));
}

/** Rules of other hosts may name a freed address until their next look at the database: so long nobody else gets it, while there are others. */
const quarantineMs = 60_000;

/**
 * Gives an instance the lowest free address, in one statement that never waits for another instance's claim; addresses that were freed just
 * now come last. An instance that has one keeps it. Undefined: the network is full. Of two claims for one instance at the same moment, the
 * later one answers with what the first got; inside a transaction it fails instead, as that one has lost its ground.
 */
export async function claimAddress(db: Queryable, claim: { networkId: string; instanceId: string; now: Date }): Promise<{ address: string } | undefined> {
  try {
    return await claimOnce(db, claim);
  } catch (error) {
    if (!isUniqueViolation(error)) throw error;
    return claimOnce(db, claim);
  }
}

/** Keeps a network from being taken away until the transaction ends. Null: the shared one, which stays. False: it is gone. */
export async function holdNetwork(tx: Tx, networkId: string | null): Promise<boolean> {
  if (networkId === null) return true;
  const [row] = await tx.select({ id: networks.id }).from(networks).where(eq(networks.id, networkId)).for('key share');
  return row !== undefined;
}

interface Wish {
  readonly networkId: string;
  readonly address: string;
}

const isAddress = ({ networkId, address }: Wish) => and(eq(fixedAddresses.networkId, networkId), eq(fixedAddresses.address, address));

/** Keeps an address from being claimed by others until the transaction ends. False: it is taken, or not for instances. */
export async function holdAddress(tx: Tx, wish: Wish): Promise<boolean> {
  const isFree = and(isNull(fixedAddresses.instanceId), eq(fixedAddresses.reserved, false));
  const [row] = await tx.select({ address: fixedAddresses.address }).from(fixedAddresses).where(and(isAddress(wish), isFree)).for('update');
  return row !== undefined;
}

/** The address that is held becomes the instance's. */
export async function claimWished(tx: Tx, claim: Wish & { readonly instanceId: string; readonly now: Date }): Promise<void> {
  await tx.update(fixedAddresses).set({ instanceId: claim.instanceId, claimedAt: claim.now }).where(isAddress(claim));
}

async function claimOnce(db: Queryable, claim: { networkId: string; instanceId: string; now: Date }): Promise<{ address: string } | undefined> {
  const { networkId, instanceId, now } = claim;
  const held = sql`${fixedAddresses.networkId} = ${networkId} and ${fixedAddresses.instanceId} = ${instanceId}`;
  const own = sql`select ${fixedAddresses.address} from ${fixedAddresses} where ${held} limit 1`;
  const lowestFree = (condition: SQL) => sql`
    select ${fixedAddresses.address} from ${fixedAddresses}
    where ${fixedAddresses.networkId} = ${networkId} and ${fixedAddresses.instanceId} is null and not ${fixedAddresses.reserved} ${condition}
    order by ${fixedAddresses.position} limit 1 for update skip locked`;
  const before = sql.param(new Date(now.getTime() - quarantineMs), fixedAddresses.claimedAt);
  const rested = lowestFree(sql`and (${fixedAddresses.claimedAt} is null or ${fixedAddresses.claimedAt} < ${before})`);
  const [row] = await db.update(fixedAddresses)
    .set({
      instanceId,
      // An address that is held keeps the time of its claim; a free one has that of its freeing.
      claimedAt: sql`case when ${fixedAddresses.instanceId} is null then ${sql.param(now, fixedAddresses.claimedAt)} else ${fixedAddresses.claimedAt} end`,
    })
    .where(and(
      eq(fixedAddresses.networkId, networkId),
      sql`${fixedAddresses.address} = coalesce((${own}), (${rested}), (${lowestFree(sql``)}))`,
    ))
    .returning({ address: fixedAddresses.address });
  return row;
}

/** After: the instance has no address. Returns those that it had. */
export async function releaseAddress(db: Queryable, instanceId: string, now: Date): Promise<string[]> {
  const rows = await db.update(fixedAddresses).set({ instanceId: null, claimedAt: now }).where(eq(fixedAddresses.instanceId, instanceId))
    .returning({ address: fixedAddresses.address });
  return rows.map((row) => row.address);
}

/** The holder of a host's own address on a network: no instance has such an id. */
const hostHolder = (host: string): string => `host ${host}`;

/** The address by which a host speaks with guests of other hosts; it keeps the one it has. Undefined: the network is full. */
export async function claimHostAddress(db: Queryable, claim: { networkId: string; host: string; now: Date }): Promise<string | undefined> {
  const { networkId, host, now } = claim;
  return (await claimAddress(db, { networkId, instanceId: hostHolder(host), now }))?.address;
}

/** For a host that is taken out of the cloud. */
export const releaseHostAddress = (db: Queryable, host: string, now: Date): Promise<string[]> => releaseAddress(db, hostHolder(host), now);

/** The addresses of these instances, by instance. */
export async function addressesOfInstances(db: Queryable, instanceIds: readonly string[]): Promise<Map<string, string>> {
  if (instanceIds.length === 0) return new Map();
  const rows = await db.select({ instanceId: fixedAddresses.instanceId, address: fixedAddresses.address }).from(fixedAddresses)
    .where(inArray(fixedAddresses.instanceId, [...instanceIds]));
  return new Map(rows.map((row) => [row.instanceId ?? '', row.address]));
}

export interface InstancePort {
  readonly instanceId: string;
  readonly networkId: string;
  readonly tap: string;
  readonly bridge: string;
  readonly mac: string;
  readonly address: string;
}

const portColumns = {
  instanceId: instances.id,
  networkId: networks.id,
  bridge: networks.bridge,
  mac: instances.mac,
  address: fixedAddresses.address,
  migratingTo: instances.migratingTo,
  routerId: networks.routerId,
};

type PortRow = Omit<InstancePort, 'tap'> & { readonly migratingTo: string | null; readonly routerId: string | null };

const withTap = ({ migratingTo: _notOfThePort, routerId: _norThis, ...row }: PortRow): InstancePort => ({ ...row, tap: tapName(row.instanceId) });

const selectPorts = (db: Queryable) =>
  db.select(portColumns).from(instances)
    .innerJoin(fixedAddresses, eq(fixedAddresses.instanceId, instances.id))
    .innerJoin(networks, eq(networks.id, fixedAddresses.networkId));

/** Placed on that host, or on its way there, and not terminated, with an address. */
const livesOn = (host: string) => and(or(eq(instances.host, host), eq(instances.migratingTo, host)), ne(instances.state, 'terminated'));

/** Undefined: the instance has no address, or does not exist. */
export async function portOfInstance(db: Queryable, instanceId: string): Promise<InstancePort | undefined> {
  const [row] = await selectPorts(db).where(eq(instances.id, instanceId)).limit(1);
  return row === undefined ? undefined : withTap(row);
}

export interface NetworkMember {
  readonly mac: string;
  readonly address: string;
  /** The instance id. */
  readonly hostname: string;
}

/** Whom the DHCP server of a network on this host serves: the instances placed here that have an address. */
export async function dhcpHostsOfNetwork(db: Queryable, where: { host: string; networkId: string }): Promise<NetworkMember[]> {
  const rows = await selectPorts(db).where(and(livesOn(where.host), eq(networks.id, where.networkId))).orderBy(asc(fixedAddresses.position));
  return rows.map((row) => ({ mac: row.mac, address: row.address, hostname: row.instanceId }));
}

/** The instances of a network on other hosts. */
export async function neighboursOfNetwork(db: Queryable, where: { host: string; networkId: string }): Promise<Omit<NetworkMember, 'mac'>[]> {
  const notComing = or(isNull(instances.migratingTo), ne(instances.migratingTo, where.host));
  const elsewhere = and(
    eq(networks.id, where.networkId), isNotNull(instances.host), ne(instances.host, where.host), notComing, ne(instances.state, 'terminated'),
  );
  const rows = await selectPorts(db).where(elsewhere).orderBy(asc(fixedAddresses.position));
  return rows.map((row) => ({ address: row.address, hostname: row.instanceId }));
}

export interface HostPort extends InstancePort {
  readonly isMoving: boolean;
  readonly ingress: readonly ResolvedRule[];
  /** Undefined: it may send whatever it likes, as most do. */
  readonly egress: readonly ResolvedRule[] | undefined;
}

/**
 * The ports of the instances placed on a host, each with the rules of all its groups. A rule that names a group stands for the addresses that
 * the group's members have now, on whatever host they are. Three queries, whatever the number of ports; and ports with equal rules share one
 * list, for it may name every member of a large group.
 */
export async function portsOfHost(db: Queryable, host: string): Promise<HostPort[]> {
  const ports = await selectPorts(db).where(livesOn(host)).orderBy(asc(instances.id));
  if (ports.length === 0) return [];
  const rules = await db.select({
    instanceId: instanceSecurityGroups.instanceId,
    direction: securityGroupRules.direction,
    protocol: securityGroupRules.protocol,
    fromPort: securityGroupRules.fromPort,
    toPort: securityGroupRules.toPort,
    cidr: securityGroupRules.cidr,
    sourceGroupId: securityGroupRules.sourceGroupId,
  }).from(instanceSecurityGroups)
    .innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
    .innerJoin(securityGroupRules, eq(securityGroupRules.groupId, instanceSecurityGroups.groupId))
    .where(livesOn(host));
  const resolve = createResolver(await membersOfGroups(db, rules.flatMap((rule) => rule.sourceGroupId ?? [])));
  const byInstance = groupBy(rules, (rule) => rule.instanceId);
  return ports.map((port) => {
    const own = groupBy(byInstance.get(port.instanceId) ?? [], (rule) => rule.direction);
    const egress = own.get('egress') ?? [];
    return {
      ...withTap(port), isMoving: port.migratingTo !== null, ingress: resolve(own.get('ingress') ?? [], port.routerId),
      egress: egress.some(isAll) ? undefined : resolve(egress, port.routerId),
    };
  });
}

/** The hosts whose rules change when these groups change, in rules or in members: of their members, and of those of groups that name them as a source. */
export async function hostsOfGroups(db: Queryable, groupIds: readonly string[]): Promise<string[]> {
  if (groupIds.length === 0) return [];
  const naming = db.select({ id: securityGroupRules.groupId }).from(securityGroupRules).where(inArray(securityGroupRules.sourceGroupId, [...groupIds]));
  const rows = await db.selectDistinct({ host: instances.host }).from(instanceSecurityGroups)
    .innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
    .where(or(inArray(instanceSecurityGroups.groupId, [...groupIds]), inArray(instanceSecurityGroups.groupId, naming)));
  return rows.flatMap((row) => row.host ?? []);
}

/**
 * The groups of an instance that rules name as a source, and the hosts of those whom such rules protect: their rules change when the instance
 * gets an address or loses it.
 */
export async function hostsNamingGroupsOf(db: Queryable, instanceId: string): Promise<{ hosts: string[]; groupIds: string[] }> {
  const own = db.select({ id: instanceSecurityGroups.groupId }).from(instanceSecurityGroups).where(eq(instanceSecurityGroups.instanceId, instanceId));
  const rows = await db.selectDistinct({ host: instances.host, groupId: securityGroupRules.sourceGroupId }).from(securityGroupRules)
    .innerJoin(instanceSecurityGroups, eq(instanceSecurityGroups.groupId, securityGroupRules.groupId))
    .innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
    .where(and(inArray(securityGroupRules.sourceGroupId, own), isNotNull(instances.host), ne(instances.state, 'terminated')));
  const unique = (values: readonly (string | null)[]): string[] => [...new Set(values.flatMap((value) => value ?? []))];
  return { hosts: unique(rows.map((row) => row.host)), groupIds: unique(rows.map((row) => row.groupId)) };
}
