// The queries of security groups and their rules. Every change of a group holds its row, so that limits, duplicates and "in use" are
// decided against what is really there.
import { and, asc, eq, inArray, isNull, ne, or, type SQL } from 'drizzle-orm';
import { newId } from '../lib/ids.ts';
import { inTransaction, type Db, type Queryable, type Tx } from './db.ts';
import { lockProject } from './images.ts';
import { groupsUsed, limitOf, type Insertion } from './quotas.ts';
import { projects } from './schema/identity.ts';
import { instances, instanceSecurityGroups, securityGroupRules, securityGroups } from './schema/instances.ts';
import { deleteTagsOf, insertTags, type TagText } from './tags.ts';
import { isUniqueViolation } from './unique-violation.ts';

export type SecurityGroup = typeof securityGroups.$inferSelect;
export type SecurityGroupRule = typeof securityGroupRules.$inferSelect;
export type Direction = SecurityGroupRule['direction'];

/** What a rule allows, apart from whose it is. */
export type RuleSpec = Pick<SecurityGroupRule, 'protocol' | 'fromPort' | 'toPort' | 'cidr' | 'sourceGroupId' | 'description'>;

export const defaultGroupName = 'default';

/** The `default` group of a VPC (null: of the project's default one), made on first use: all from its own members is allowed in, as at AWS. */
export async function ensureDefaultGroup(db: Queryable, projectId: string, now: Date, vpcId: string | null = null): Promise<SecurityGroup> {
  const existing = await findGroup(db, projectId, { name: defaultGroupName, vpcId });
  if (existing !== undefined) return existing;
  const row: SecurityGroup = { id: newId('sg'), projectId, name: defaultGroupName, description: 'default group', vpcId, createdAt: now };
  await db.transaction(async (tx) => {
    const inserted = await tx.insert(securityGroups).values(row).onConflictDoNothing().returning({ id: securityGroups.id });
    if (inserted.length === 0) return;
    await insertRules(tx, row.id, 'ingress', [{ protocol: '-1', fromPort: -1, toPort: -1, cidr: null, sourceGroupId: row.id, description: null }]);
    await insertAllEgress(tx, row.id);
  });
  const group = await findGroup(db, projectId, { name: defaultGroupName, vpcId });
  if (group === undefined) throw new Error(`the default group of project ${projectId} could not be made`);
  return group;
}

const insertAllEgress = (tx: Queryable, groupId: string): Promise<SecurityGroupRule[] | undefined> =>
  insertRules(tx, groupId, 'egress', [{ protocol: '-1', fromPort: -1, toPort: -1, cidr: '0.0.0.0/0', sourceGroupId: null, description: null }]);

/** A name alone is that of a group of the default VPC. */
type GroupKey = { readonly id: string } | { readonly name: string; readonly vpcId?: string | null };

const isNamed = (by: GroupKey): SQL | undefined => {
  if ('id' in by) return eq(securityGroups.id, by.id);
  const { name, vpcId = null } = by;
  return and(eq(securityGroups.name, name), vpcId === null ? isNull(securityGroups.vpcId) : eq(securityGroups.vpcId, vpcId));
};

export async function findGroup(db: Queryable, projectId: string, by: GroupKey): Promise<SecurityGroup | undefined> {
  const [row] = await db.select().from(securityGroups).where(and(eq(securityGroups.projectId, projectId), isNamed(by)));
  return row;
}

/** A group of any project that a rule refers to, its owner given by id or name. */
export async function findSourceGroup(db: Queryable, owner: string, by: GroupKey): Promise<SecurityGroup | undefined> {
  const [row] = await db.select({ group: securityGroups }).from(securityGroups).innerJoin(projects, eq(projects.id, securityGroups.projectId))
    .where(and(or(eq(projects.id, owner), eq(projects.name, owner)), isNamed(by)));
  return row?.group;
}

export function groupsOf(db: Queryable, projectId: string): Promise<SecurityGroup[]> {
  return db.select().from(securityGroups).where(eq(securityGroups.projectId, projectId)).orderBy(asc(securityGroups.name));
}

/** Groups that an instance is launched into, kept from being deleted until the transaction ends. */
export function holdGroups(tx: Tx, projectId: string, ids: readonly string[]): Promise<SecurityGroup[]> {
  return tx.select().from(securityGroups).where(and(eq(securityGroups.projectId, projectId), inArray(securityGroups.id, [...ids])))
    .orderBy(asc(securityGroups.id)).for('share');
}

/** A rule with the group that it refers to. */
export interface RuleWithSource extends SecurityGroupRule {
  readonly source: { readonly id: string; readonly name: string; readonly projectId: string } | undefined;
}

export async function rulesOf(db: Queryable, groupIds: readonly string[]): Promise<RuleWithSource[]> {
  if (groupIds.length === 0) return [];
  const rows = await db.select({ rule: securityGroupRules, source: { id: securityGroups.id, name: securityGroups.name, projectId: securityGroups.projectId } })
    .from(securityGroupRules).leftJoin(securityGroups, eq(securityGroups.id, securityGroupRules.sourceGroupId))
    .where(inArray(securityGroupRules.groupId, [...groupIds])).orderBy(asc(securityGroupRules.id));
  return rows.map(({ rule, source }) => ({ ...rule, source: source ?? undefined }));
}

/** `quota`: groups that a project may have, unless it was given a limit of its own. */
export function insertGroup(db: Db, row: SecurityGroup, { tags, quota }: { readonly tags: readonly TagText[]; readonly quota: number }): Promise<Insertion> {
  return db.transaction(async (tx): Promise<Insertion> => {
    await lockProject(tx, row.projectId);
    if ((await findGroup(tx, row.projectId, { name: row.name, vpcId: row.vpcId })) !== undefined) return { outcome: 'duplicate' };
    const limit = await limitOf(tx, row.projectId, 'groups', quota);
    if ((await groupsUsed(tx, row.projectId)) >= limit) return { outcome: 'overQuota', limit };
    await tx.insert(securityGroups).values(row);
    await insertAllEgress(tx, row.id);
    await insertTags(tx, { projectId: row.projectId, resourceType: 'security-group', resourceIds: [row.id], tags });
    return { outcome: 'inserted' };
  });
}

export type GroupDeletion = 'deleted' | 'absent' | 'usedByInstances' | 'usedByRules';

/** Deletes a group that neither instances nor other groups' rules need. Memberships of terminated instances go with it. */
export function deleteGroup(db: Queryable, groupId: string): Promise<GroupDeletion> {
  return inTransaction(db, async (tx) => {
    const [locked] = await tx.select().from(securityGroups).where(eq(securityGroups.id, groupId)).for('update');
    if (locked === undefined) return 'absent';
    const [member] = await tx.select({ id: instances.id }).from(instanceSecurityGroups)
      .innerJoin(instances, eq(instances.id, instanceSecurityGroups.instanceId))
      .where(and(eq(instanceSecurityGroups.groupId, groupId), ne(instances.state, 'terminated'))).limit(1);
    if (member !== undefined) return 'usedByInstances';
    const [reference] = await tx.select({ id: securityGroupRules.id }).from(securityGroupRules)
      .where(and(eq(securityGroupRules.sourceGroupId, groupId), ne(securityGroupRules.groupId, groupId))).limit(1);
    if (reference !== undefined) return 'usedByRules';
    await tx.delete(instanceSecurityGroups).where(eq(instanceSecurityGroups.groupId, groupId));
    const rules = await tx.delete(securityGroupRules).where(eq(securityGroupRules.groupId, groupId)).returning({ id: securityGroupRules.id });
    await tx.delete(securityGroups).where(eq(securityGroups.id, groupId));
    await deleteTagsOf(tx, groupId, ...rules.map(({ id }) => id));
    return 'deleted';
  });
}

export type RuleInsertion =
  | { readonly outcome: 'inserted'; readonly rules: readonly SecurityGroupRule[] }
  | { readonly outcome: 'absent' }
  | { readonly outcome: 'duplicate' }
  | { readonly outcome: 'tooMany'; readonly limit: number };

/** Adds rules, each with the tags, all of them or none. */
export async function authorizeRules(
  db: Db, to: { readonly groupId: string; readonly direction: Direction; readonly rulesMax: number }, specs: readonly RuleSpec[], tags: readonly TagText[],
): Promise<RuleInsertion> {
  const { groupId, direction, rulesMax } = to;
  return withRollback(db, async (tx): Promise<RuleInsertion> => {
    const [locked] = await tx.select().from(securityGroups).where(eq(securityGroups.id, groupId)).for('update');
    if (locked === undefined) return { outcome: 'absent' };
    const rules = await insertRules(tx, groupId, direction, specs);
    if (rules === undefined) return { outcome: 'duplicate' };
    const present = await tx.select({ id: securityGroupRules.id }).from(securityGroupRules)
      .where(and(eq(securityGroupRules.groupId, groupId), eq(securityGroupRules.direction, direction)));
    const limit = await limitOf(tx, locked.projectId, 'rules', rulesMax);
    if (present.length > limit) return { outcome: 'tooMany', limit };
    await insertTags(tx, { projectId: locked.projectId, resourceType: 'security-group-rule', resourceIds: rules.map(({ id }) => id), tags });
    return { outcome: 'inserted', rules };
  });
}

/** Undefined: one of them is there already. */
async function insertRules(
  tx: Queryable,
  groupId: string,
  direction: Direction,
  specs: readonly RuleSpec[],
): Promise<SecurityGroupRule[] | undefined> {
  const rows = specs.map((spec) => ({ ...spec, id: newId('sgr'), groupId, direction }));
  const inserted = await tx.insert(securityGroupRules).values(rows).onConflictDoNothing().returning();
  return inserted.length === rows.length ? inserted : undefined;
}

/** Carries an outcome out of a transaction that is to leave nothing behind. */
class Rollback extends Error {
  readonly outcome: RuleInsertion;

  constructor(outcome: RuleInsertion) {
    super(outcome.outcome);
    this.outcome = outcome;
  }
}

async function withRollback(db: Db, attempt: (tx: Tx) => Promise<RuleInsertion>): Promise<RuleInsertion> {
  try {
    return await db.transaction(async (tx) => {
      const result = await attempt(tx);
      if (result.outcome !== 'inserted') throw new Rollback(result);
      return result;
    });
  } catch (error) {
    if (error instanceof Rollback) return error.outcome;
    throw error;
  }
}

/**
 * Removes rules that `picks` chooses from those of the group in that direction, while nobody else changes it. Whoever finds one missing throws, and
 * nothing is removed.
 */
export function revokeRules(
  db: Db,
  of: { readonly groupId: string; readonly direction: Direction },
  picks: (rules: readonly SecurityGroupRule[]) => readonly SecurityGroupRule[],
): Promise<readonly SecurityGroupRule[]> {
  return db.transaction(async (tx) => {
    const chosen = picks((await lockRules(tx, of.groupId) ?? []).filter((rule) => rule.direction === of.direction));
    const ids = chosen.map((rule) => rule.id);
    if (chosen.length > 0) await tx.delete(securityGroupRules).where(inArray(securityGroupRules.id, ids));
    await deleteTagsOf(tx, ...ids);
    return chosen;
  });
}

/** Undefined: there is no such group. */
async function lockRules(tx: Tx, groupId: string): Promise<SecurityGroupRule[] | undefined> {
  const [locked] = await tx.select().from(securityGroups).where(eq(securityGroups.id, groupId)).for('update');
  return locked === undefined ? undefined : tx.select().from(securityGroupRules).where(eq(securityGroupRules.groupId, groupId));
}

export interface RuleChange {
  readonly id: string;
  readonly set: RuleSpec;
}

/** Changes rules as `picks` says, all of them or none; they keep ids and directions. `duplicate`: two would allow the same. */
export async function changeRules(
  db: Db, groupId: string, picks: (rules: readonly SecurityGroupRule[]) => readonly RuleChange[],
): Promise<'changed' | 'absent' | 'duplicate'> {
  try {
    return await db.transaction(async (tx) => {
      const present = await lockRules(tx, groupId);
      if (present === undefined) return 'absent';
      for (const { id, set: { protocol, fromPort, toPort, cidr, sourceGroupId, description } } of picks(present)) {
        await tx.update(securityGroupRules).set({ protocol, fromPort, toPort, cidr, sourceGroupId, description }).where(eq(securityGroupRules.id, id));
      }
      return 'changed';
    });
  } catch (error) {
    if (isUniqueViolation(error)) return 'duplicate';
    throw error;
  }
}
