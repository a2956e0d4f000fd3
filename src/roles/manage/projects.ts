// `novact manage project …`: projects, who is in them, and what their members need to use the cloud.
import { z } from 'zod';
import { manageCommand, type FileResult, type ManageCommand } from '../../api/ops/manage.ts';
import { defaultNetworkOf } from '../../db/project-networks.ts';
import { deleteUnusedNetwork } from '../../db/network-admin.ts';
import { deleteGroup, groupsOf } from '../../db/security-groups.ts';
import { SetupError } from '../../lib/errors.ts';
import { credentialsZip, environmentOf } from './credentials.ts';
import type { ManageDeps } from './deps.ts';

const command = manageCommand<ManageDeps>();
const project = z.string().min(1).describe('The project, by name or id.');
const user = z.string().min(1).describe('The user, by name or id.');
const description = z.string().max(1_000).describe('What it is for.');
const file = z.string().min(1).optional();

const fileResult = (name: string, content: Buffer): FileResult => ({ file: { name, base64: content.toString('base64') } });

/** As Nova's. Groups first: a rule of one may name another, so those that nobody names any more are looked for again. */
async function scrub(db: ManageDeps['db'], { id, name }: { readonly id: string; readonly name: string }): Promise<string> {
  const network = await defaultNetworkOf(db, id);
  const refusal = network === undefined ? undefined : (await deleteUnusedNetwork(db, network.id))?.refusal;
  let gone = 0;
  for (let before = -1; before !== gone;) {
    before = gone;
    for (const group of await groupsOf(db, id)) if ((await deleteGroup(db, group.id)) === 'deleted') gone += 1;
  }
  const groups = await groupsOf(db, id);
  const done = `${network === undefined || refusal !== undefined ? 'no network' : network.id} and ${gone} security groups are gone`;
  if (refusal === undefined && groups.length === 0) return `${name}: ${done}`;
  const stays = [...(refusal === undefined ? [] : [refusal]), ...groups.map((group) => `the group ${group.name} (${group.id}) is used`)];
  throw new SetupError(`${name}: ${done}, but ${stays.join('; ')}`, 'Terminate its instances, and let no rules of others name its groups.');
}

export const projectCommands: readonly ManageCommand<ManageDeps>[] = [
  command({
    category: 'project', verb: 'list', text: 'All projects, or those of which a user is a member.', positional: [],
    args: z.object({ user: user.optional() }),
    run: async ({ auth }, args) => {
      const names = new Map((await auth.users()).map(({ id, name }) => [id, name]));
      return Promise.all((await auth.projects(args.user)).map(async ({ id, name, managerId, description: text }) => ({
        name, id, manager: names.get(managerId) ?? managerId,
        members: (await auth.members(id)).map((member) => names.get(member) ?? member).toSorted().join(' '), description: text,
      })));
    },
  }),
  command({
    category: 'project', verb: 'create', text: 'Make a project. Its manager is a member, and may do all in it but what takes a superuser.',
    positional: ['name', 'manager', 'description'],
    args: z.object({ name: z.string().describe('Its name.'), manager: user.describe('The user who manages it.'), description: description.optional() }),
    run: async ({ auth }, args) => {
      const { id } = await auth.createProject({
        name: args.name, manager: args.manager, ...(args.description === undefined ? {} : { description: args.description }),
      });
      return `the project ${args.name} is there: ${id}`;
    },
  }),
  command({
    category: 'project', verb: 'modify', text: 'Give a project another manager, or another description. The old manager stays a member.',
    positional: ['project'], args: z.object({ project, manager: user.optional(), description: description.optional() }),
    run: async ({ auth }, args) => {
      await auth.modifyProject(args.project, {
        ...(args.manager === undefined ? {} : { manager: args.manager }), ...(args.description === undefined ? {} : { description: args.description }),
      });
      return `the project ${args.project} is modified`;
    },
  }),
  command({
    category: 'project', verb: 'delete', text: 'Remove a project, which must own nothing any more.', positional: ['project'], args: z.object({ project }),
    run: async ({ auth }, args) => {
      await auth.deleteProject(args.project);
      return `the project ${args.project} is gone`;
    },
  }),
  command({
    category: 'project', verb: 'scrub', positional: ['project'], args: z.object({ project }),
    text: 'Take away what a project has left when its instances are gone: its network and its security groups. What is used stays, and is said.',
    run: async ({ auth, db }, args) => scrub(db, await auth.requireProject(args.project)),
  }),
  command({
    category: 'project', verb: 'add', text: 'Take a user into a project.', positional: ['project', 'user'], args: z.object({ project, user }),
    run: async ({ auth }, args) => {
      await auth.addMember(args.project, args.user);
      return `${args.user} is a member of ${args.project}`;
    },
  }),
  command({
    category: 'project', verb: 'remove', text: 'Take a user out of a project, with the roles held there.', positional: ['project', 'user'],
    args: z.object({ project, user }),
    run: async ({ auth }, args) => {
      await auth.removeMember(args.project, args.user);
      return `${args.user} is no member of ${args.project}`;
    },
  }),
  command({
    category: 'project', verb: 'zipfile', positional: ['project', 'user', 'file'],
    text: 'Write what a user needs in a project: novarc, pk.pem, cert.pem, cacert.pem, cloud-cert.pem. The certificate is a new one, and its key is not kept.',
    args: z.object({ project, user, file: file.describe('Where to. Default: nova.zip.') }),
    run: async (deps, args) => fileResult('nova.zip', await credentialsZip(deps, args)),
  }),
  command({
    category: 'project', verb: 'environment', positional: ['project', 'user', 'file'],
    text: 'Write the shell\'s environment of a user in a project, without a certificate.',
    args: z.object({ project, user, file: file.describe('Where to. Default: novarc.') }),
    run: async (deps, args) => fileResult('novarc', Buffer.from(await environmentOf(deps, args), 'utf8')),
  }),
];
