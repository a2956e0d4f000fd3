// The pools of floating addresses, as operators make and unmake them.
import { and, asc, eq, gte, isNotNull, isNull, lte, sql } from 'drizzle-orm';
import { SetupError } from '../lib/errors.ts';
import { groupBy } from '../lib/group-by.ts';
import { addressText, parseRange, type AddressRange } from '../lib/ipv4.ts';
import type { Db, Queryable } from './db.ts';
import { floatingAddresses } from './schema/addresses.ts';
import { instances } from './schema/instances.ts';
import { networks } from './schema/networks.ts';

const rangeMax = 65_536;
/** PostgreSQL takes at most 65535 parameters in a statement. */
const rowsPerStatement = 5_000;
const remedy = 'Give addresses that your router leads to the hosts: 192.0.2.16/28, 192.0.2.20-192.0.2.30, or a single one.';

function checkRange(text: string): AddressRange {
  const range = parseRange(text);
  if (range === undefined) throw new SetupError(`${text} is no range of IPv4 addresses`, remedy);
  if (range.last - range.first >= rangeMax) throw new SetupError(`${text} has more than ${rangeMax} addresses`, remedy);
  const first = addressText(range.first);
  if (/^(0|127|169\.254|22[4-9]|23\d|24\d|25\d)\./.test(first)) throw new SetupError(`${first} is no address of a network`, remedy);
  return range;
}

const within = ({ first, last }: AddressRange) => and(gte(floatingAddresses.position, first), lte(floatingAddresses.position, last));

/** Makes a row for each address of the range. Those that are there already stay in their pools. */
export async function createFloating(db: Db, wish: { readonly range: string; readonly pool: string }): Promise<{ made: number; present: number }> {
  const range = checkRange(wish.range);
  return db.transaction(async (tx) => {
    for (const { cidr, name } of await tx.select({ cidr: networks.cidr, name: networks.name }).from(networks)) {
      const fixed = parseRange(cidr);
      if (fixed === undefined || range.last < fixed.first || range.first > fixed.last) continue;
      throw new SetupError(`${wish.range} overlaps with ${cidr}, the private addresses of the network ${name}`, remedy);
    }
    let made = 0;
    for (let first = range.first; first <= range.last; first += rowsPerStatement) {
      const positions = Array.from({ length: Math.min(rowsPerStatement, range.last - first + 1) }, (_, n) => first + n);
      const rows = positions.map((position) => ({ address: addressText(position), pool: wish.pool, position }));
      made += (await tx.insert(floatingAddresses).values(rows).onConflictDoNothing().returning({ address: floatingAddresses.address })).length;
    }
    return { made, present: range.last - range.first + 1 - made };
  });
}

/** Takes the free addresses of a range out of the cloud. Refused as a whole while a project has one of them. */
export async function deleteFloating(db: Db, text: string): Promise<number> {
  const range = checkRange(text);
  return db.transaction(async (tx) => {
    const rows = await tx.select().from(floatingAddresses).where(within(range)).orderBy(asc(floatingAddresses.position)).for('update');
    const held = rows.filter((row) => row.projectId !== null);
    if (held.length > 0) {
      const [first] = held;
      const more = held.length === 1 ? '' : ` and ${held.length - 1} more`;
      throw new SetupError(`the project ${first?.projectId} has ${first?.address}${more}`, 'Its users release addresses: aws ec2 release-address.');
    }
    if (rows.length === 0) throw new SetupError(`none of ${text} is a floating address`, 'See: novact manage floating list');
    await tx.delete(floatingAddresses).where(and(within(range), isNull(floatingAddresses.projectId)));
    return rows.length;
  });
}

export interface PooledAddress {
  readonly address: string;
  readonly pool: string;
  readonly projectId: string | null;
  readonly instanceId: string | null;
  readonly host: string | null;
}

export function listFloating(db: Queryable, which: { readonly pool?: string | undefined; readonly allocated: boolean }): Promise<PooledAddress[]> {
  return db.select({
    address: floatingAddresses.address, pool: floatingAddresses.pool, projectId: floatingAddresses.projectId, instanceId: floatingAddresses.instanceId,
    host: instances.host,
  }).from(floatingAddresses).leftJoin(instances, eq(instances.id, floatingAddresses.instanceId))
    .where(and(
      which.pool === undefined ? undefined : eq(floatingAddresses.pool, which.pool),
      which.allocated ? isNotNull(floatingAddresses.projectId) : undefined,
    ))
    .orderBy(asc(floatingAddresses.position));
}

export interface Pool {
  readonly pool: string;
  readonly total: number;
  readonly free: number;
  readonly ranges: readonly (AddressRange & { readonly free: number })[];
}

/** The pools, each with its addresses that follow one another together. */
export async function poolsOf(db: Queryable): Promise<Pool[]> {
  const island = sql`${floatingAddresses.position} - row_number() over (partition by ${floatingAddresses.pool} order by ${floatingAddresses.position})`;
  const numbered = db.select({
    pool: floatingAddresses.pool, position: floatingAddresses.position, isFree: sql<boolean>`${floatingAddresses.projectId} is null`.as('is_free'),
    island: island.as('island'),
  }).from(floatingAddresses).as('numbered');
  const rows = await db.select({
    pool: numbered.pool, first: sql<string>`min(${numbered.position})`, last: sql<string>`max(${numbered.position})`,
    free: sql<number>`count(*) filter (where ${numbered.isFree})::int`,
  }).from(numbered).groupBy(numbered.pool, numbered.island).orderBy(asc(numbered.pool), sql`min(${numbered.position})`);
  return [...groupBy(rows, (row) => row.pool)].map(([pool, parts]) => {
    const ranges = parts.map(({ first, last, free }) => ({ first: Number(first), last: Number(last), free }));
    const sum = (count: (range: (typeof ranges)[number]) => number): number => ranges.reduce((all, range) => all + count(range), 0);
    return { pool, ranges, total: sum(({ first, last }) => last - first + 1), free: sum(({ free }) => free) };
  });
}
