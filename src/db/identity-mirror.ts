// Rows of users and projects whose truth is elsewhere, in a directory: everything that belongs to somebody refers to them, and what is
// novact's own of people (access keys, whether they are disabled here) hangs on them. They are made at the first sight, and follow.
import { and, eq, inArray, ne, sql } from 'drizzle-orm';
import type { Db, Queryable, Tx } from './db.ts';
import { projects, users } from './schema/identity.ts';

export interface MirroredUser {
  readonly id: string;
  readonly name: string;
  readonly isAdmin: boolean;
}

export interface MirroredProject {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly managerId: string;
  /** The id follows from the name, so that two names with one id are two projects. */
  readonly isIdMade: boolean;
}

/** The user's row is there and says what the directory says. A row of somebody else that has the name loses it: in the directory nobody has two. */
export async function mirrorUser(db: Queryable, user: MirroredUser, now: Date): Promise<void> {
  const [row] = await db.select({ name: users.name, isAdmin: users.isAdmin }).from(users).where(eq(users.id, user.id));
  if (row?.name === user.name && row.isAdmin === user.isAdmin) return;
  await db.update(users).set({ name: users.id }).where(and(eq(users.name, user.name), ne(users.id, user.id)));
  const { id, name, isAdmin } = user;
  await db.insert(users).values({ id, name, isAdmin, createdAt: now }).onConflictDoUpdate({ target: users.id, set: { name, isAdmin } });
}

/** Rows of projects, whose managers' rows must be there. Answers with those that were refused: their id is another project's. */
export async function mirrorProjects<T extends MirroredProject>(db: Queryable, wanted: readonly T[], now: Date): Promise<readonly T[]> {
  if (wanted.length === 0) return [];
  const rows = new Map((await db.select().from(projects).where(inArray(projects.id, wanted.map(({ id }) => id)))).map((row) => [row.id, row]));
  const refused: T[] = [];
  for (const project of wanted) {
    const row = rows.get(project.id);
    if (row !== undefined && project.isIdMade && row.name !== project.name) refused.push(project);
    else if (row?.name !== project.name || row.managerId !== project.managerId || row.description !== project.description) {
      await mirrorProject(db, project, now);
    }
  }
  return refused;
}

async function mirrorProject(db: Queryable, { id, name, description, managerId }: MirroredProject, now: Date): Promise<void> {
  await db.update(projects).set({ name: projects.id }).where(and(eq(projects.name, name), ne(projects.id, id)));
  await db.insert(projects).values({ id, name, description, managerId, createdAt: now })
    .onConflictDoUpdate({ target: projects.id, set: { name, description, managerId } });
}

/** Who is disabled in novact, whatever the directory says of them. */
export async function selectDisabledIds(db: Queryable): Promise<ReadonlySet<string>> {
  return new Set((await db.select({ id: users.id }).from(users).where(eq(users.enabled, false))).map(({ id }) => id));
}

/** Beside the locks of founding-lock.ts. */
const identityLock = 7_221_950;

/** Changes of the directory, one after the other in the whole cloud: what it cannot hold together by itself is looked at and changed under this. */
export function underIdentityLock<T>(db: Db, work: (tx: Tx) => Promise<T>): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.execute(sql`select pg_advisory_xact_lock(${identityLock}::bigint)`);
    return work(tx);
  });
}
