// What requests that are signed with access keys ask for, in one look and of one moment: the keys, their users, the projects that they stand for, what
// the users are in them, and whether wrong signatures have locked a key. Each request asks, so the statement is built once.
import { and, eq, sql, type SQL } from 'drizzle-orm';
import type { PgColumn } from 'drizzle-orm/pg-core';
import { askedTexts, canBeAsked } from './asked-texts.ts';
import { builtOnce } from './built-once.ts';
import type { Db, Queryable } from './db.ts';
import { lockoutSubjectOf } from './lockouts.ts';
import { accessKeys, globalRoles, lockouts, projectMembers, projectRoles, projects, users } from './schema/identity.ts';

export type KeyHolderRow = Awaited<ReturnType<ReturnType<typeof look>['execute']>>[number];

/** None for keys that there are not. */
export const selectKeyHolders = (db: Db, accessKeyIds: readonly string[]): Promise<KeyHolderRow[]> =>
  look(db).execute({ accessKeyIds: askedTexts(accessKeyIds.filter(canBeAsked)) });

/** Of the two drivers of PostgreSQL one knows no arrays. */
const lines = (column: PgColumn): SQL => sql`coalesce(string_agg(${column}, chr(10) order by ${column}), '')`;
const split = (text: string): string[] => (text === '' ? [] : text.split('\n'));

const look = builtOnce((db: Queryable) => {
  const { id, userId, projectId, sealedSecret, enabled, createdAt } = accessKeys;
  const [ofKey, inProject] = [eq(projectMembers.userId, userId), eq(projectMembers.projectId, projectId)];
  return db.select({
    key: { id, userId, projectId, sealedSecret, enabled, createdAt },
    user: users,
    project: projects,
    globalRoles: sql`(select ${lines(globalRoles.role)} from ${globalRoles} where ${globalRoles.userId} = ${userId})`.mapWith(split),
    projectRoles: sql`(select ${lines(projectRoles.role)} from ${projectRoles}
      where ${projectRoles.userId} = ${userId} and ${projectRoles.projectId} = ${projectId})`.mapWith(split),
    isMember: sql<boolean>`exists (select from ${projectMembers} where ${and(ofKey, inProject)})`,
    lockedUntil: lockouts.lockedUntil,
  }).from(accessKeys)
    .innerJoin(users, eq(users.id, userId))
    .leftJoin(projects, eq(projects.id, projectId))
    .leftJoin(lockouts, eq(lockouts.subject, lockoutSubjectOf('key', id)))
    .where(sql`${id} = any(array(select json_array_elements_text(${sql.placeholder('accessKeyIds')}::text::json)))`)
    .prepare('key_holders');
});
