// The queries of projects' authorities and of the certificates that people have of them.
import { and, asc, eq, isNotNull, isNull } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { authorities, certificates } from './schema/certificates.ts';

export type Authority = typeof authorities.$inferSelect;
export type Certificate = typeof certificates.$inferSelect;

/** Of several that are made at once, one is kept. */
export async function ensureAuthority(db: Queryable, projectId: string, make: () => Promise<Authority>): Promise<Authority> {
  const known = await findAuthority(db, projectId);
  if (known !== undefined) return known;
  const made = await make();
  const [kept] = await db.insert(authorities).values(made).onConflictDoNothing().returning();
  return kept ?? (await findAuthority(db, projectId)) ?? made;
}

async function findAuthority(db: Queryable, projectId: string): Promise<Authority | undefined> {
  const [row] = await db.select().from(authorities).where(eq(authorities.projectId, projectId));
  return row;
}

export async function insertCertificate(db: Queryable, row: Certificate): Promise<void> {
  await db.insert(certificates).values(row);
}

export interface CertificateChoice {
  readonly projectId?: string | undefined;
  readonly userId?: string | undefined;
}

const chosen = ({ projectId, userId }: CertificateChoice) => and(
  projectId === undefined ? undefined : eq(certificates.projectId, projectId), userId === undefined ? undefined : eq(certificates.userId, userId),
);

export const listCertificates = (db: Queryable, choice: CertificateChoice): Promise<Certificate[]> =>
  db.select().from(certificates).where(chosen(choice)).orderBy(asc(certificates.createdAt), asc(certificates.serial));

export async function revokedSerials(db: Queryable, projectId: string): Promise<ReadonlySet<string>> {
  const rows = await db.select({ serial: certificates.serial }).from(certificates)
    .where(and(eq(certificates.projectId, projectId), isNotNull(certificates.revokedAt)));
  return new Set(rows.map(({ serial }) => serial));
}

/** How many were in use. */
export async function revokeCertificates(db: Queryable, choice: CertificateChoice, now: Date): Promise<number> {
  const rows = await db.update(certificates).set({ revokedAt: now }).where(and(chosen(choice), isNull(certificates.revokedAt)))
    .returning({ serial: certificates.serial });
  return rows.length;
}
