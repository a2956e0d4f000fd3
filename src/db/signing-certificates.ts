// The queries of the certificates that members of projects sign with.
import { and, asc, eq } from 'drizzle-orm';
import type { Queryable } from './db.ts';
import { signingCertificates } from './schema/signing-certificates.ts';

export type SigningCertificate = typeof signingCertificates.$inferSelect;

/** False: the project has it already. */
export async function insertSigningCertificate(db: Queryable, row: SigningCertificate): Promise<boolean> {
  return (await db.insert(signingCertificates).values(row).onConflictDoNothing().returning({ id: signingCertificates.id })).length > 0;
}

export const signingCertificatesOf = (db: Queryable, projectId: string): Promise<SigningCertificate[]> =>
  db.select().from(signingCertificates).where(eq(signingCertificates.projectId, projectId)).orderBy(asc(signingCertificates.createdAt));

/** False: the project has no such certificate. */
export async function deleteSigningCertificate(db: Queryable, projectId: string, id: string): Promise<boolean> {
  const which = and(eq(signingCertificates.projectId, projectId), eq(signingCertificates.id, id));
  return (await db.delete(signingCertificates).where(which).returning({ id: signingCertificates.id })).length > 0;
}
