// `novact manage role …`: which roles users hold. A role counts in a project where it is held both globally and there.
import { z } from 'zod';
import { manageCommand, type ManageCommand } from '../../api/ops/manage.ts';
import { grantableRoles } from '../../auth/roles.ts';
import type { ManageDeps } from './deps.ts';

const command = manageCommand<ManageDeps>();
const user = z.string().min(1).describe('The user, by name or id.');
const role = z.enum(grantableRoles).describe('The role.');
const project = z.string().min(1).optional().describe('In this project. Default: globally.');

const where = (name: string | undefined): string => (name === undefined ? 'globally' : `in ${name}`);

export const roleCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'role', verb: 'add', text: 'Grant a role, globally or in a project. It counts in a project where it is held both ways.',
    positional: ['user', 'role', 'project'], args: z.object({ user, role, project }),
    run: async ({ auth }, args) => {
      await auth.addRole(args.user, args.role, args.project);
      return `${args.user} holds ${args.role} ${where(args.project)}`;
    },
  }),
  command({
    category: 'role', verb: 'remove', text: 'Take a role, globally or in a project.', positional: ['user', 'role', 'project'],
    args: z.object({ user, role, project }),
    run: async ({ auth }, args) => {
      await auth.removeRole(args.user, args.role, args.project);
      return `${args.user} does not hold ${args.role} ${where(args.project)}`;
    },
  }),
  command({
    category: 'role', verb: 'has', text: 'Whether a role counts: globally, or in a project, where it must be held both ways.',
    positional: ['user', 'role', 'project'], args: z.object({ user, role, project }),
    run: async ({ auth }, args) => ((await auth.hasRole(args.user, args.role, args.project)) ? 'yes' : 'no'),
  }),
  command({
    category: 'role', verb: 'list', text: 'The roles that a user was granted, globally and in each project.', positional: ['user'], args: z.object({ user }),
    run: async ({ auth }, args) => {
      const global = (await auth.roles(args.user)).map((held) => ({ role: held, project: '(global)' }));
      const projects = await auth.projects(args.user);
      const inProjects = await Promise.all(projects.map(async ({ id, name }) => (
        (await auth.roles(args.user, id)).map((held) => ({ role: held, project: name }))
      )));
      return [...global, ...inProjects.flat()];
    },
  }),
];
