// The cloud's authorities: one of its own, which signs those of projects and of the endpoints and nothing else. All are made at the first need,
// and their keys are sealed with the master key.
import { ensureAuthority, listCertificates } from '../../db/certificates.ts';
import { ensureSetting, readSetting } from '../../db/hosts.ts';
import type { KeyAndCertificate } from '../../drivers/certificates/driver.ts';
import type { SettingKey } from '../../db/schema/hosts.ts';
import { createOpensslCertificates } from '../../drivers/certificates/openssl.ts';
import type { ManageDeps } from './deps.ts';

export type AuthorityDeps = Pick<ManageDeps, 'db' | 'sealer' | 'run' | 'clock'>;

export const authorityDays = 3_650;

interface KeptAuthority {
  readonly certificate: string;
  readonly sealedKey: string;
}

export const rootAuthority = (deps: AuthorityDeps): Promise<KeyAndCertificate> =>
  keptAuthority(deps, { setting: 'rootAuthority', context: 'root authority' }, () => (
    createOpensslCertificates(deps).createAuthority({ name: 'novact', days: authorityDays * 2 })
  ));

/** Signs the certificates of EC2's and S3's servers. */
export const endpointAuthority = (deps: AuthorityDeps): Promise<KeyAndCertificate> =>
  keptAuthority(deps, { setting: 'endpointAuthority', context: 'authority of endpoints' }, async () => (
    createOpensslCertificates(deps).createAuthority({ name: 'novact endpoints', days: authorityDays, issuer: await rootAuthority(deps) })
  ));

/** Of several that are made at once, one is kept. */
async function keptAuthority(
  { db, sealer }: AuthorityDeps, { setting, context }: { setting: SettingKey; context: string }, make: () => Promise<KeyAndCertificate>,
): Promise<KeyAndCertificate> {
  if ((await readSetting(db, setting)) === undefined) {
    const made = await make();
    const kept: KeptAuthority = { certificate: made.certificate, sealedKey: sealer.seal(made.key, context) };
    await ensureSetting(db, setting, () => JSON.stringify(kept));
  }
  const { certificate, sealedKey } = JSON.parse((await readSetting(db, setting)) ?? '{}') as KeptAuthority;
  return { certificate, key: sealer.open(sealedKey, context) };
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
