// `novact manage certificate …`: what the members of a project sign the manifests of their bundles with. A project that has such certificates
// gets no image of a bundle that none of them signed.
import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { selectProject } from '../../db/identity.ts';
import { deleteSigningCertificate, insertSigningCertificate, signingCertificatesOf } from '../../db/signing-certificates.ts';
import { SetupError } from '../../lib/errors.ts';
import type { ManageDeps } from './deps.ts';

type Deps = Pick<ManageDeps, 'db' | 'clock'>;

const command = manageCommand<Deps>();
const project = z.string().min(1).describe('The project, by name or id.');

async function projectId({ db }: Deps, name: string): Promise<string> {
  const found = await selectProject(db, name);
  if (found === undefined) throw new SetupError(`there is no project ${name}`, 'Name one by its name or its id.');
  return found.id;
}

/** Bundlers sign with RSA; another key could never have signed anything. */
function readCertificate(pem: string): X509Certificate {
  try {
    const certificate = new X509Certificate(pem);
    if (certificate.publicKey.asymmetricKeyType === 'rsa') return certificate;
  } catch (cause) {
    throw new SetupError('that is no certificate', 'Give the text of a PEM file: --pem "$(cat cert.pem)".', { cause });
  }
  throw new SetupError('the certificate has no RSA key', 'Bundles are signed with RSA.');
}

export const signingId = (certificate: X509Certificate): string => certificate.fingerprint.replaceAll(':', '').toLowerCase();

export const certificateCommands: readonly ManageCommand<Deps>[] = [
  command({
    category: 'certificate', verb: 'add', positional: ['project'],
    text: 'Tell the cloud what a member of a project signs bundles of images with.',
    args: z.object({
      project,
      pem: z.string().min(1).max(20_000).describe('The certificate: "$(cat cert.pem)".'),
      user: z.string().min(1).max(64).default('').describe('Whose it is.'),
    }),
    run: async (deps, args) => {
      const certificate = readCertificate(args.pem);
      const row = { id: signingId(certificate), projectId: await projectId(deps, args.project), userId: args.user, certificate: certificate.toString() };
      const isNew = await insertSigningCertificate(deps.db, { ...row, createdAt: deps.clock.date() });
      return isNew ? `added ${row.id}` : `${row.id} was there already`;
    },
  }),
  command({
    category: 'certificate', verb: 'list', positional: ['project'], text: 'What a project\'s bundles may be signed with.', args: z.object({ project }),
    run: async (deps, args) => (await signingCertificatesOf(deps.db, await projectId(deps, args.project)))
      .map(({ id, userId, certificate, createdAt }) => {
        const { subject, validTo } = new X509Certificate(certificate);
        return { id, user: userId === '' ? '-' : userId, subject: subject.replaceAll('\n', ', '), until: validTo, since: createdAt.toISOString() };
      }),
  }),
  command({
    category: 'certificate', verb: 'remove', positional: ['project', 'id'], text: 'Let a certificate sign nothing any more.',
    args: z.object({ project, id: z.string().regex(/^[0-9a-f]{40}$/).describe('As `certificate list` shows it.') }),
    run: async (deps, args) => {
      if (await deleteSigningCertificate(deps.db, await projectId(deps, args.project), args.id)) return `removed ${args.id}`;
      throw new SetupError(`the project ${args.project} has no certificate ${args.id}`, 'See novact manage certificate list.');
    },
  }),
];
