// The queries of users, projects, members, roles and access keys: what the auth manager's database driver asks.
import { and, asc, eq, getTableColumns, or } from 'drizzle-orm';
import { inTransaction, type Db, type Queryable } from './db.ts';
import { accessKeys, globalRoles, keyPairs, projectMembers, projectRoles, projects, users } from './schema/identity.ts';

export type UserRow = typeof users.$inferSelect;
export type ProjectRow = typeof projects.$inferSelect;
export type AccessKeyRow = typeof accessKeys.$inferSelect;

/** By id or name; an id wins over an equal name. */
export async function selectUser(db: Queryable, idOrName: string): Promise<UserRow | undefined> {
  const rows = await db.select().from(users).where(or(eq(users.id, idOrName), eq(users.name, idOrName))).limit(2);
  return rows.find((row) => row.id === idOrName) ?? rows[0];
}

export function selectUsers(db: Queryable): Promise<UserRow[]> {
  return db.select().from(users).orderBy(asc(users.name));
}

export async function insertUser(db: Queryable, row: UserRow): Promise<void> {
  await db.insert(users).values(row);
}

/** False: there is no such user. */
export async function updateUser(db: Queryable, id: string, changes: Partial<Pick<UserRow, 'isAdmin' | 'enabled'>>): Promise<boolean> {
  if (Object.keys(changes).length === 0) return (await db.select({ id: users.id }).from(users).where(eq(users.id, id))).length > 0;
  return (await db.update(users).set(changes).where(eq(users.id, id)).returning({ id: users.id })).length > 0;
}

/** With everything that hangs on the user. False: there is no such user. */
export function deleteUserRows(db: Queryable, id: string): Promise<boolean> {
  return inTransaction(db, async (tx) => {
    await tx.delete(keyPairs).where(eq(keyPairs.userId, id));
    return (await tx.delete(users).where(eq(users.id, id)).returning({ id: users.id })).length > 0;
  });
}

/** By id or name; an id wins over an equal name. */
export async function selectProject(db: Queryable, idOrName: string): Promise<ProjectRow | undefined> {
  const rows = await db.select().from(projects).where(or(eq(projects.id, idOrName), eq(projects.name, idOrName))).limit(2);
  return rows.find((row) => row.id === idOrName) ?? rows[0];
}

export function selectProjects(db: Queryable): Promise<ProjectRow[]> {
  return db.select().from(projects).orderBy(asc(projects.name));
}

export function selectProjectsOfMember(db: Queryable, userId: string): Promise<ProjectRow[]> {
  return db.select(getTableColumns(projects)).from(projects)
    .innerJoin(projectMembers, eq(projectMembers.projectId, projects.id))
    .where(eq(projectMembers.userId, userId)).orderBy(asc(projects.name));
}

export function insertProject(db: Db, row: ProjectRow, memberIds: readonly string[]): Promise<void> {
  return db.transaction(async (tx) => {
    await tx.insert(projects).values(row);
    await tx.insert(projectMembers).values([...new Set([row.managerId, ...memberIds])].map((userId) => ({ projectId: row.id, userId })));
  });
}

/** False: there is no such project. A new manager becomes a member in the same transaction. */
export function updateProject(db: Db, id: string, changes: Partial<Pick<ProjectRow, 'description' | 'managerId'>>): Promise<boolean> {
  return db.transaction(async (tx) => {
    const found = Object.keys(changes).length === 0
      ? await tx.select({ id: projects.id }).from(projects).where(eq(projects.id, id))
      : await tx.update(projects).set(changes).where(eq(projects.id, id)).returning({ id: projects.id });
    if (found.length > 0 && changes.managerId !== undefined) await insertMember(tx, id, changes.managerId);
    return found.length > 0;
  });
}

/** False: there is no such project. */
export async function deleteProjectRow(db: Queryable, id: string): Promise<boolean> {
  return (await db.delete(projects).where(eq(projects.id, id)).returning({ id: projects.id })).length > 0;
}

export async function selectMemberIds(db: Queryable, projectId: string): Promise<string[]> {
  const rows = await db.select({ userId: projectMembers.userId }).from(projectMembers)
    .where(eq(projectMembers.projectId, projectId)).orderBy(asc(projectMembers.userId));
  return rows.map((row) => row.userId);
}

export async function insertMember(db: Queryable, projectId: string, userId: string): Promise<void> {
  await db.insert(projectMembers).values({ projectId, userId }).onConflictDoNothing();
}

/** With the user's roles in the project. */
export async function deleteMember(db: Db, projectId: string, userId: string): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.delete(projectRoles).where(and(eq(projectRoles.projectId, projectId), eq(projectRoles.userId, userId)));
    await tx.delete(projectMembers).where(and(eq(projectMembers.projectId, projectId), eq(projectMembers.userId, userId)));
  });
}

export async function selectGlobalRoles(db: Queryable, userId: string): Promise<string[]> {
  const rows = await db.select({ role: globalRoles.role }).from(globalRoles).where(eq(globalRoles.userId, userId)).orderBy(asc(globalRoles.role));
  return rows.map((row) => row.role);
}

export async function selectProjectRoles(db: Queryable, userId: string, projectId: string): Promise<string[]> {
  const rows = await db.select({ role: projectRoles.role }).from(projectRoles)
    .where(and(eq(projectRoles.userId, userId), eq(projectRoles.projectId, projectId))).orderBy(asc(projectRoles.role));
  return rows.map((row) => row.role);
}

export async function insertRole(db: Queryable, userId: string, role: string, projectId: string | undefined): Promise<void> {
  if (projectId === undefined) await db.insert(globalRoles).values({ userId, role }).onConflictDoNothing();
  else await db.insert(projectRoles).values({ userId, role, projectId }).onConflictDoNothing();
}

export async function deleteRole(db: Queryable, userId: string, role: string, projectId: string | undefined): Promise<void> {
  if (projectId === undefined) {
    await db.delete(globalRoles).where(and(eq(globalRoles.userId, userId), eq(globalRoles.role, role)));
  } else {
    await db.delete(projectRoles).where(and(eq(projectRoles.userId, userId), eq(projectRoles.role, role), eq(projectRoles.projectId, projectId)));
  }
}

export async function selectAccessKey(db: Queryable, id: string): Promise<AccessKeyRow | undefined> {
  const [row] = await db.select().from(accessKeys).where(eq(accessKeys.id, id));
  return row;
}

export function selectAccessKeys(db: Queryable, userId: string): Promise<AccessKeyRow[]> {
  return db.select().from(accessKeys).where(eq(accessKeys.userId, userId)).orderBy(asc(accessKeys.id));
}

export async function insertAccessKey(db: Queryable, row: AccessKeyRow): Promise<void> {
  await db.insert(accessKeys).values(row);
}

/** False: there is no such key. */
export async function updateAccessKey(db: Queryable, id: string, changes: Partial<Pick<AccessKeyRow, 'enabled'>>): Promise<boolean> {
  if (changes.enabled === undefined) return (await selectAccessKey(db, id)) !== undefined;
  return (await db.update(accessKeys).set({ enabled: changes.enabled }).where(eq(accessKeys.id, id)).returning({ id: accessKeys.id })).length > 0;
}

/** False: there is no such key. */
export async function deleteAccessKeyRow(db: Queryable, id: string): Promise<boolean> {
  return (await db.delete(accessKeys).where(eq(accessKeys.id, id)).returning({ id: accessKeys.id })).length > 0;
}
