// `novact manage user …`: users, their keys, and what they may do everywhere.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { usualKey } from '../../auth/usual-key.ts';
import { shellExports } from '../../cli/credentials.ts';
import type { NewAccessKey } from '../../auth/credentials.ts';
import { SetupError } from '../../lib/errors.ts';
import { revoke } from './authorities.ts';
import type { ManageDeps } from './deps.ts';

const command = manageCommand<ManageDeps>();
const name = z.string().min(1).describe('The user, by name or id.');
const yesOrNo = z.enum(['yes', 'no']);
const keyId = z.string().min(1).describe('The access key.');

const isYes = (word: 'yes' | 'no' | undefined): boolean | undefined => (word === undefined ? undefined : word === 'yes');

const shownKey = (key: NewAccessKey) => ({ accessKey: key.accessKeyId, secretKey: key.secretAccessKey });

export const userCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'user', verb: 'list', text: 'All users.', positional: [], args: z.object({}),
    run: async ({ auth }) => Promise.all((await auth.users()).map(async ({ id, name: userName, isAdmin, enabled }) => ({
      name: userName, id, admin: isAdmin, enabled, roles: (await auth.roles(id)).join(' '), keys: (await auth.accessKeys(id)).length,
      projects: (await auth.projects(id)).map((project) => project.name).join(' '),
    }))),
  }),
  command({
    category: 'user', verb: 'create', text: 'Make a user with a key, which is told once. It stands for no project: access:project names one.',
    positional: ['name', 'access', 'secret'],
    args: z.object({
      name: z.string().describe('Their name.'), access: z.string().min(1).optional().describe('An access key of your own choice.'),
      secret: z.string().min(1).optional().describe('And its secret.'), admin: z.boolean().default(false).describe('May do everything, everywhere.'),
    }),
    run: async ({ auth }, args) => {
      await auth.createUser({ name: args.name, isAdmin: args.admin });
      try {
        const key = await auth.createAccessKey({
          user: args.name, ...(args.access === undefined ? {} : { accessKeyId: args.access }),
          ...(args.secret === undefined ? {} : { secretAccessKey: args.secret }),
        });
        return { name: args.name, ...shownKey(key) };
      } catch (error) {
        await auth.deleteUser(args.name);
        throw error;
      }
    },
  }),
  command({
    category: 'user', verb: 'modify', text: 'Make a user a superuser or an ordinary one, or disable or enable them with all their keys.', positional: ['name'],
    args: z.object({ name, admin: yesOrNo.optional().describe('May do everything, everywhere.'), enabled: yesOrNo.optional().describe('May use their keys.') }),
    run: async ({ auth }, args) => {
      const [isAdmin, enabled] = [isYes(args.admin), isYes(args.enabled)];
      await auth.modifyUser(args.name, { ...(isAdmin === undefined ? {} : { isAdmin }), ...(enabled === undefined ? {} : { enabled }) });
      return `the user ${args.name} is modified`;
    },
  }),
  command({
    category: 'user', verb: 'delete', text: 'Remove a user with memberships, roles, keys and key pairs. Refused while they manage a project.',
    positional: ['name'], args: z.object({ name }),
    run: async ({ auth }, args) => {
      await auth.deleteUser(args.name);
      return `the user ${args.name} is gone`;
    },
  }),
  command({
    category: 'user', verb: 'exports', text: 'Print a key of a user, as a shell takes it.', positional: ['name'], args: z.object({ name }),
    run: async ({ auth }, args) => {
      const user = await auth.requireUser(args.name);
      const key = await usualKey(auth, user.id);
      const credential = key === undefined ? undefined : await auth.findCredential(key);
      if (key === undefined || credential === undefined) throw new SetupError(`${user.name} has no key that is good`, `novact manage user key ${user.name}`);
      return shellExports({ EC2_ACCESS_KEY: key, EC2_SECRET_KEY: credential.secret }).join('\n');
    },
  }),
  command({
    category: 'user', verb: 'keys', text: 'The keys of a user, without their secrets.', positional: ['name'], args: z.object({ name }),
    run: async ({ auth }, args) => {
      const projects = new Map((await auth.projects()).map((project) => [project.id, project.name]));
      return (await auth.accessKeys(args.name)).map(({ id, projectId, enabled, createdAt }) => ({
        accessKey: id, project: projectId === undefined ? '(any)' : (projects.get(projectId) ?? projectId), enabled, since: createdAt?.toISOString() ?? '-',
      }));
    },
  }),
  command({
    category: 'user', verb: 'key', text: 'Make one more key of a user. It is told once.', positional: ['name', 'project'],
    args: z.object({ name, project: z.string().min(1).optional().describe('The project that it stands for. Default: none, and access:project names one.') }),
    run: async ({ auth }, args) => shownKey(await auth.createAccessKey({ user: args.name, ...(args.project === undefined ? {} : { project: args.project }) })),
  }),
  command({
    category: 'user', verb: 'rotate', text: 'Put a new key in the place of another, which is refused from then on.', positional: ['key'],
    args: z.object({ key: keyId }),
    run: async ({ auth }, args) => shownKey(await auth.rotateAccessKey(args.key)),
  }),
  command({
    category: 'user', verb: 'switch-key', text: 'Disable or enable one key.', positional: ['key', 'enabled'],
    args: z.object({ key: keyId, enabled: yesOrNo.describe('yes or no.') }),
    run: async ({ auth }, args) => {
      await auth.modifyAccessKey(args.key, { enabled: args.enabled === 'yes' });
      return `the key ${args.key} is ${args.enabled === 'yes' ? 'good' : 'refused'}`;
    },
  }),
  command({
    category: 'user', verb: 'blocked', text: 'Which keys and passwords are refused after too many wrong ones, and until when.', positional: [],
    args: z.object({}),
    run: async ({ auth }) => (await auth.lockedOut()).map(({ kind, id, until }) => ({ kind, id, until: until.toISOString() })),
  }),
  command({
    category: 'user', verb: 'unblock', text: 'Let a key, or a user with their password, in again at once.', positional: ['kind', 'id'],
    args: z.object({ kind: z.enum(['key', 'password']).describe('key or password.'), id: z.string().min(1).describe('The access key, or the user.') }),
    run: async ({ auth }, args) => ((await auth.unlock(args.kind, args.id)) ? `${args.id} is let in again` : `nothing was held against ${args.id}`),
  }),
  command({
    category: 'user', verb: 'revoke', text: 'Take back the certificates of a user, in all projects or in one.', positional: ['user', 'project'],
    args: z.object({ user: name, project: z.string().min(1).optional().describe('The project, by name or id.') }),
    run: revoke,
  }),
];
