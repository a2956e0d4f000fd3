// One project can neither see, read, launch, attach nor guess anything of another's, for every action that there is. The requests are those of the
// golden files, each of which works for its owner: somebody from another project makes it first, with every right that a member can have. What the
// owner is answered then is what the file says all the same. An action without a golden file fails (ec2-golden.spec.ts).
import { readFileSync } from 'node:fs';
import { getTableName, is, sql } from 'drizzle-orm';
import { PgTable } from 'drizzle-orm/pg-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allActions } from '../../src/api/ec2/actions/index.ts';
import { findOperation } from '../../src/api/ec2/model.ts';
import { grantableRoles } from '../../src/auth/roles.ts';
import type { Principal } from '../../src/auth/principal.ts';
import { rowsOf as rowsIn } from '../../src/db/db.ts';
import * as schema from '../../src/db/schema/all.ts';
import { createGoldenWorld, queriesOf, type Coming, type GoldenWorld } from '../support/golden.ts';
import type { Answer } from '../../src/api/ec2/dispatch.ts';
import type { Ec2World } from '../support/ec2-world.ts';

const names = allActions.map(({ name }) => name).toSorted();
const goldenOf = (name: string): string => readFileSync(`spec/golden/ec2/${name}.xml`, 'utf8');

let golden: GoldenWorld;
const strangers = new Map<Ec2World, Principal>();
beforeAll(async () => {
  golden = await createGoldenWorld();
});
afterAll(() => golden.close());

/** A member of another project who may do everything there. */
async function strangerTo(world: Ec2World): Promise<Principal> {
  const known = strangers.get(world);
  if (known !== undefined) return known;
  await world.auth.createUser({ name: 'stranger' });
  await world.auth.createProject({ name: 'elsewhere', manager: 'stranger', id: '999988887777' });
  const principal = { ...(await world.auth.principalFor('stranger', 'elsewhere')), roles: new Set([...grantableRoles, 'projectmanager' as const]) };
  strangers.set(world, principal);
  return principal;
}

const everyRow = Object.values(schema).filter((table) => is(table, PgTable)).map(getTableName)
  .map((table) => `select '${table}' as at, row_to_json(one)::text as row from "${table}" one`).join(' union all ');

/** Each row of the database, as text. */
async function rowsOf({ db }: Ec2World): Promise<Set<string>> {
  const rows = rowsIn(await db.execute(sql.raw(everyRow)));
  return new Set(rows.map(({ at, row }) => `${at as string} ${row as string}`));
}

const others = ({ owner, ids }: Coming): string[] => [...ids, owner.projectId, owner.userId];
const naming = (rows: Iterable<string>, marks: readonly string[]): string[] => [...rows].filter((row) => marks.some((mark) => row.includes(mark)));
const minus = (left: Set<string>, right: Set<string>): string[] => [...left].filter((row) => !right.has(row));

/** Of the same form, and nobody's. */
const absentId = (id: string): string => `${id.slice(0, -4)}${id.endsWith('dead') ? 'beef' : 'dead'}`;
const absentKey = (id: string): string => `${id.slice(0, -4)}${id.endsWith('AAAA') ? 'BBBB' : 'AAAA'}`;
const absentOf = (id: string): string => (/^A[A-Z]{3}/.test(id) ? absentKey(id) : absentId(id));

const isReading = (request: string): boolean => /Action=(Describe|Get|List)/.test(request);

/** Nothing of the project is changed, and nothing new has to do with it. */
async function tries(coming: Coming, request: string, stranger: Principal): Promise<Answer> {
  const { world } = coming;
  if (isReading(request)) return world.call(request, stranger);
  const before = await rowsOf(world);
  const answer = await world.call(request, stranger);
  const after = await rowsOf(world);
  expect(naming(minus(before, after), others(coming)), `changed by ${request}`).toEqual([]);
  expect(naming(minus(after, before), others(coming)), `made by ${request}`).toEqual([]);
  return answer;
}

/** The request as it stands, and what the same would be of what is not there: of what its owner has not opened to all, nobody learns that it is there. */
async function intrude(coming: Coming, request: string, { isOpen = false, as }: { isOpen?: boolean; as?: Principal } = {}): Promise<void> {
  const { world, ids } = coming;
  const stranger = as ?? (await strangerTo(world));
  const marks = others(coming);
  const answer = await tries(coming, request, stranger);
  expect(marks.filter((mark) => answer.body.includes(mark) && !request.includes(mark)), `seen by ${request}\n${answer.body}`).toEqual([]);
  const named = ids.filter((id) => request.includes(id));
  if (named.length === 0 || isOpen) return;
  const replaced = (text: string) => named.reduce((result, id) => result.replaceAll(id, absentOf(id)), text);
  const guess = await world.call(replaced(request), stranger);
  expect([answer.status, replaced(answer.body)], `can be told from what is not there: ${request}`).toEqual([guess.status, guess.body]);
}

describe('a stranger', () => {
  it.each(names)('neither sees, changes nor guesses anything of a project by %s', async (name) => {
    const text = goldenOf(name);
    let isOpen = false;
    const played = await golden.play(queriesOf(text), async (coming) => {
      if (coming.query.split('&').includes(`Action=${name}`)) await intrude(coming, coming.real, { isOpen });
      isOpen ||= /Group(\.\d+)?=all/.test(coming.query);
    });
    expect(played).toBe(text);
  }, 90_000);

  it.each(['DescribeVolumes', 'DeleteVolume'])('is noticed here: the owner, taken for one, does see or change something by %s', async (name) => {
    const noticed: string[] = [];
    await golden.play(queriesOf(goldenOf(name)), async (coming) => {
      if (!coming.query.startsWith(`Action=${name}`)) return;
      await intrude(coming, coming.real, { as: coming.owner }).catch((error: Error) => noticed.push(error.message));
    });
    expect(noticed.join('\n')).toMatch(/^(seen|changed) by /m);
  }, 90_000);
});

/** Members of a request that name one thing, or several. */
function idMembers(name: string): readonly string[] {
  return (findOperation(name)?.input?.members ?? []).flatMap(({ name: member, queryName, shape }) => {
    const isList = typeof shape === 'object' && shape.kind === 'list' && shape.element === 'string';
    return /(Ids?|Resources)$/.test(member) && (isList || shape === 'string') ? [`${queryName}${isList ? '.1' : ''}`] : [];
  });
}

describe('with everything that a project may have, a stranger', () => {
  /** The files that end with the most. */
  const rich = ['AttachVolume', 'AssociateAddress', 'AssociateRouteTable', 'AttachInternetGateway', 'ModifySecurityGroupRules', 'RegisterImage'];
  const described = names.filter((name) => /^(Describe|Get|List)/.test(name) && idMembers(name).length > 0);

  it.each(rich)('learns nothing by an id, when asked for each thing of %s by each action that describes', async (story) => {
    const queries = [...queriesOf(goldenOf(story)), 'Action=DescribeRegions'];
    await golden.play(queries, async (coming) => {
      if (coming.query !== 'Action=DescribeRegions') return;
      const kinds = new Map(coming.ids.map((id) => [id.slice(0, id.lastIndexOf('-')), id]));
      for (const name of described) for (const member of idMembers(name)) {
        const fitting = [...kinds.values()].filter((id) => fits(member, id));
        for (const id of fitting) await intrude(coming, `Action=${name}&${member}=${id}`);
      }
    });
  }, 120_000);

  /** `VolumeId.1` and `vol-…`; what no prefix is known for is tried with everything. */
  function fits(member: string, id: string): boolean {
    const prefixes: readonly (readonly [RegExp, string])[] = [
      [/^Instance/, 'i'], [/^Volume/, 'vol'], [/^Snapshot/, 'snap'], [/^Image/, 'ami'], [/^Group|^SecurityGroupId/, 'sg'], [/^SecurityGroupRule/, 'sgr'],
      [/^Vpc/, 'vpc'], [/^Subnet/, 'subnet'], [/^NetworkInterface/, 'eni'], [/^NetworkAcl/, 'acl'], [/^RouteTable/, 'rtb'], [/^InternetGateway/, 'igw'],
      [/^Allocation/, 'eipalloc'], [/^Dhcp/, 'dopt'],
    ];
    const known = prefixes.find(([pattern]) => pattern.test(member));
    return known === undefined || id.startsWith(`${known[1]}-`);
  }
});
