// Counts of what was wrong of late, and who is locked out for it: one statement each, so that what processes count at once is counted once each.
import { and, eq, gt, isNull, lt, lte, or, sql, type SQL, type SQLWrapper } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { lockouts } from './schema/identity.ts';

/** Who is counted: an access key, or the password of a user. */
export type LockoutKind = 'key' | 'password';

export const lockoutSubject = (kind: LockoutKind, id: string): string => `${kind}:${id}`;

/** The same within a statement. */
export const lockoutSubjectOf = (kind: LockoutKind, id: SQLWrapper): SQL => sql`${sql.raw(`'${kind}:'`)} || ${id}`;

export type LockoutRow = typeof lockouts.$inferSelect;

export interface Failure {
  readonly subject: string;
  readonly now: Date;
  /** Failures of before are over. */
  readonly countedSince: Date;
  readonly failuresMax: number;
  readonly lockedUntil: Date;
}

/** What was locked and is so no longer, or was counted too long ago. */
const overBefore = (now: Date, countedSince: Date) =>
  or(lte(lockouts.lockedUntil, now), and(isNull(lockouts.lockedUntil), lt(lockouts.since, countedSince)));

export async function isLockedOut(db: Queryable, subject: string, now: Date): Promise<boolean> {
  const rows = await db.select({ subject: lockouts.subject }).from(lockouts).where(and(eq(lockouts.subject, subject), gt(lockouts.lockedUntil, now)));
  return rows.length > 0;
}

/** Counts one more. True: it was the one too many, and locks. Who is locked out already is not for longer. */
export async function insertFailure(db: Queryable, { subject, now, countedSince, failuresMax, lockedUntil }: Failure): Promise<boolean> {
  const at = (date: Date) => sql`${sql.param(date, lockouts.since)}::timestamptz`;
  const isOver = sql`(${overBefore(now, countedSince)})`;
  const failures = sql`case when ${isOver} then 1 else ${lockouts.failures} + 1 end`;
  const [row] = await db.insert(lockouts).values({ subject, failures: 1, since: now, lockedUntil: failuresMax <= 1 ? lockedUntil : null })
    .onConflictDoUpdate({
      target: lockouts.subject,
      set: {
        failures,
        since: sql`case when ${isOver} then ${at(now)} else ${lockouts.since} end`,
        lockedUntil: sql`case when ${gt(lockouts.lockedUntil, now)} then ${lockouts.lockedUntil}
          when (${failures}) >= ${failuresMax}::integer then ${at(lockedUntil)} end`,
      },
    })
    .returning({ failures: lockouts.failures });
  return row?.failures === failuresMax;
}

/** False: there was nothing. */
export async function deleteLockout(db: Queryable, subject: string): Promise<boolean> {
  return (await db.delete(lockouts).where(eq(lockouts.subject, subject)).returning({ subject: lockouts.subject })).length > 0;
}

/** Those that mean nothing any more. */
export async function deleteOverLockouts(db: Queryable, now: Date, countedSince: Date): Promise<void> {
  await db.delete(lockouts).where(overBefore(now, countedSince));
}

export function selectLockouts(db: Queryable, now: Date): Promise<LockoutRow[]> {
  return db.select().from(lockouts).where(gt(lockouts.lockedUntil, now)).orderBy(lockouts.subject);
}
