// `novact manage authority …`: who has certificates of which project's authority, taking them back, and what others check them by.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { listCertificates, revokeCertificates, type CertificateChoice } from '../../db/certificates.ts';
import { SetupError } from '../../lib/errors.ts';
import { projectAuthority, revocationLists, rootAuthority } from './authority-life.ts';
import type { ManageDeps } from './deps.ts';

const command = manageCommand<ManageDeps>();
const project = z.string().min(1).describe('The project, by name or id.');
const user = z.string().min(1).describe('The user, by name or id.');

interface Given {
  readonly user?: string | undefined;
  readonly project?: string | undefined;
}

async function choiceOf(deps: ManageDeps, given: Given): Promise<CertificateChoice> {
  return {
    userId: given.user === undefined ? undefined : await userIdOf(deps, given.user),
    projectId: given.project === undefined ? undefined : (await deps.auth.requireProject(given.project)).id,
  };
}

/** Of somebody who is gone, too: by the id that `issued` shows. */
async function userIdOf({ auth, db }: ManageDeps, idOrName: string): Promise<string> {
  const known = await auth.user(idOrName);
  if (known === undefined && (await listCertificates(db, { userId: idOrName })).length > 0) return idOrName;
  return (known ?? (await auth.requireUser(idOrName))).id;
}

/** Of a user, of a project, or of a user in a project. */
export async function revoke(deps: ManageDeps, given: Given): Promise<string> {
  if (given.user === undefined && given.project === undefined) throw new SetupError('whose certificates?', 'Name a user, a project, or both.');
  const count = await revokeCertificates(deps.db, await choiceOf(deps, given), deps.clock.date());
  return `${count} ${count === 1 ? 'certificate is' : 'certificates are'} revoked`;
}

export const authorityCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'authority', verb: 'issued', text: 'The certificates that were given out with credentials.', positional: [],
    args: z.object({ user: user.optional(), project: project.optional() }),
    run: async (deps, args) => {
      const users = new Map((await deps.auth.users()).map(({ id, name }) => [id, name]));
      const projects = new Map((await deps.auth.projects()).map(({ id, name }) => [id, name]));
      return (await listCertificates(deps.db, await choiceOf(deps, args))).map((each) => ({
        serial: each.serial, user: users.get(each.userId) ?? each.userId, project: projects.get(each.projectId) ?? each.projectId,
        since: each.createdAt.toISOString(), until: each.expiresAt.toISOString(), revoked: each.revokedAt?.toISOString() ?? '',
      }));
    },
  }),
  command({
    category: 'authority', verb: 'revoke', text: 'Take back the certificates of a user, of a project, or of a user in a project.', positional: [],
    args: z.object({ user: user.optional(), project: project.optional() }),
    run: revoke,
  }),
  command({
    category: 'authority', verb: 'show', positional: ['project'],
    text: 'Print the certificate of the cloud\'s authority, by which its endpoints are known, after that of a project if one is named: its cacert.pem.',
    args: z.object({ project: project.optional() }),
    run: async (deps, args) => {
      if (args.project === undefined) return (await rootAuthority(deps)).certificate.trimEnd();
      const { id } = await deps.auth.requireProject(args.project);
      return ((await projectAuthority(deps, id)).certificate + (await rootAuthority(deps)).certificate).trimEnd();
    },
  }),
  command({
    category: 'authority', verb: 'crl', text: 'Print the signed lists of what a project\'s authority and the cloud\'s have taken back, as of now.',
    positional: ['project'], args: z.object({ project }),
    run: async (deps, args) => (await revocationLists(deps, (await deps.auth.requireProject(args.project)).id)).trimEnd(),
  }),
];
