// The cloud's authorities: one of its own, which signs those of projects and nothing else. All are made at the first need, and their keys are
// sealed with the master key.
import { ensureAuthority, listCertificates } from '../../db/certificates.ts';
import { ensureSetting, readSetting } from '../../db/hosts.ts';
import type { KeyAndCertificate } from '../../drivers/certificates/driver.ts';
import { createOpensslCertificates } from '../../drivers/certificates/openssl.ts';
import type { ManageDeps } from './deps.ts';

export type AuthorityDeps = Pick<ManageDeps, 'db' | 'sealer' | 'run' | 'clock'>;

export const authorityDays = 3_650;
const rootContext = 'root authority';

interface RootSetting {
  readonly certificate: string;
  readonly sealedKey: string;
}

/** Of several that are made at once, one is kept. */
export async function rootAuthority({ db, sealer, run }: AuthorityDeps): Promise<KeyAndCertificate> {
  if ((await readSetting(db, 'rootAuthority')) === undefined) {
    const made = await createOpensslCertificates({ run }).createAuthority({ name: 'novact', days: authorityDays * 2 });
    const setting: RootSetting = { certificate: made.certificate, sealedKey: sealer.seal(made.key, rootContext) };
    await ensureSetting(db, 'rootAuthority', () => JSON.stringify(setting));
  }
  const { certificate, sealedKey } = JSON.parse((await readSetting(db, 'rootAuthority')) ?? '{}') as RootSetting;
  return { certificate, key: sealer.open(sealedKey, rootContext) };
}

/** Signs the certificates of a project's people. */
export async function projectAuthority(deps: AuthorityDeps, projectId: string): Promise<KeyAndCertificate> {
  const { db, sealer, run, clock } = deps;
  const context = `authority of ${projectId}`;
  const { certificate, sealedKey } = await ensureAuthority(db, projectId, async () => {
    const issuer = await rootAuthority(deps);
    const wish = { name: `novact people of ${projectId}`, days: authorityDays, issuer };
    const made = await createOpensslCertificates({ run }).createAuthority(wish);
    return { projectId, certificate: made.certificate, sealedKey: sealer.seal(made.key, context), createdAt: clock.date() };
  });
  return { certificate, key: sealer.open(sealedKey, context) };
}

/** The lists of what a project's authority, and the cloud's, have taken back, as of now. */
export async function revocationLists(deps: AuthorityDeps, projectId: string): Promise<string> {
  const { db, run, clock } = deps;
  const now = clock.date();
  const driver = createOpensslCertificates({ run });
  const revoked = (await listCertificates(db, { projectId })).flatMap(({ revokedAt, ...each }) => (revokedAt === null ? [] : [{ ...each, revokedAt }]));
  return (await driver.revocations(await projectAuthority(deps, projectId), revoked, now))
    + (await driver.revocations(await rootAuthority(deps), [], now));
}
