// What somebody needs to use the cloud in a project: a certificate with its key, the authorities above it, and the shell's environment, all in one
// zip, as Nova gave it out.
import { X509Certificate } from 'node:crypto';
import { usualKey } from '../../auth/usual-key.ts';
import { awsFunction, clientEnvironment, shellExports, trustEnvironment } from '../../cli/credentials.ts';
import type { FounderKey } from '../../cli/cloud.ts';
import { endpointsOf } from '../../config/settings.ts';
import { insertCertificate } from '../../db/certificates.ts';
import { insertSigningCertificate } from '../../db/signing-certificates.ts';
import { createOpensslCertificates } from '../../drivers/certificates/openssl.ts';
import { SetupError } from '../../lib/errors.ts';
import { writeZip } from '../../lib/zip.ts';
import { bundlingCertificate } from '../bundling-key.ts';
import { projectAuthority, rootAuthority } from './authority-life.ts';
import { signingId } from './certificates.ts';
import type { ManageDeps } from './deps.ts';

export interface CredentialsWish {
  readonly user: string;
  readonly project: string;
}

type CredentialsDeps = Pick<ManageDeps, 'db' | 'auth' | 'sealer' | 'run' | 'clock' | 'settings'>;

const certificateDays = 365;

/**
 * novarc, pk.pem, cert.pem, cacert.pem, and cloud-cert.pem for bundlers. Each has a certificate of its own, whose key is kept nowhere else; the cloud
 * knows it as one that the project's bundles may be signed with.
 */
export async function credentialsZip(deps: CredentialsDeps, wish: CredentialsWish): Promise<Buffer> {
  const { db, clock } = deps;
  const holder = await holderOf(deps, wish);
  const issuer = await projectAuthority(deps, holder.projectId);
  const name = `${holder.projectId} ${holder.userName.replaceAll(/[^A-Za-z0-9._@-]/g, '_')}`.slice(0, nameLengthMax);
  const issued = await createOpensslCertificates({ run: deps.run }).issue({ name, days: certificateDays, usage: 'person', issuer });
  const { serial, expiresAt } = issued;
  const whose = { projectId: holder.projectId, userId: holder.userId, createdAt: clock.date() };
  await insertCertificate(db, { ...whose, serial, expiresAt, revokedAt: null });
  await insertSigningCertificate(db, { ...whose, id: signingId(new X509Certificate(issued.certificate)), certificate: issued.certificate });
  return writeZip([
    { name: 'novarc', content: renderEnvironment(deps, holder, 'withFiles'), mode: 0o600 },
    { name: 'pk.pem', content: issued.key, mode: 0o600 },
    { name: 'cert.pem', content: issued.certificate, mode: 0o644 },
    { name: 'cacert.pem', content: issuer.certificate + (await rootAuthority(deps)).certificate, mode: 0o644 },
    { name: 'cloud-cert.pem', content: await bundlingCertificate(deps), mode: 0o644 },
  ], clock.date());
}

/** As the certificate's subject may have it. */
const nameLengthMax = 63;

/** The shell's environment alone: no certificate is made for it. */
export const environmentOf = async (deps: CredentialsDeps, wish: CredentialsWish): Promise<string> =>
  renderEnvironment(deps, await holderOf(deps, wish), 'alone');

interface Holder extends FounderKey {
  readonly userId: string;
  readonly projectId: string;
}

/** Who may not act in the project gets nothing; who has no key gets one. The project is named with the key, which may be good in several. */
async function holderOf({ auth }: CredentialsDeps, { user, project }: CredentialsWish): Promise<Holder> {
  const { userId, userName, projectId, projectName } = await auth.principalFor(user, project);
  const known = await usualKey(auth, userId);
  const key = known ?? (await auth.createAccessKey({ user: userId })).accessKeyId;
  const credential = await auth.findCredential(key);
  if (credential === undefined) throw new SetupError(`the user ${userName} is disabled`, `\`novact manage user modify ${userName} --enabled yes\` mends it.`);
  return { userId, userName, projectId, projectName, accessKeyId: `${key}:${projectId}`, secretKey: credential.secret };
}

const fileLines = ({ projectId }: Holder): readonly string[] => [
  `NOVA_KEY_DIR=$(cd "$(dirname "\${BASH_SOURCE:-$0}")" && pwd)`,
  `export EC2_USER_ID=${projectId}`,
  `export EC2_PRIVATE_KEY="$NOVA_KEY_DIR/pk.pem"`,
  `export EC2_CERT="$NOVA_KEY_DIR/cert.pem"`,
  `export NOVA_CERT="$NOVA_KEY_DIR/cacert.pem"`,
  `export EUCALYPTUS_CERT="$NOVA_KEY_DIR/cloud-cert.pem"`,
];

/** cacert.pem has the authority of the cloud, too. */
const trustLines = Object.keys(trustEnvironment('')).map((name) => `export ${name}="$NOVA_KEY_DIR/cacert.pem"`);

function renderEnvironment({ settings }: CredentialsDeps, holder: Holder, files: 'withFiles' | 'alone'): string {
  const head = `# novact: the key of ${holder.userName} in the project ${holder.projectName}. Use it with: source novarc`;
  const exports = shellExports(clientEnvironment(settings, endpointsOf(settings), holder));
  const trust = settings.tls === 'no' ? [] : trustLines;
  return [head, ...exports, ...(files === 'withFiles' ? [...fileLines(holder), ...trust] : []), ...awsFunction, ''].join('\n');
}
