// The Admin API's projects and their members. A manager is told by name, by which clients go on asking.
import type { ProjectRecord } from '../../drivers/auth/driver.ts';
import type { Call } from '../ec2/action.ts';
import { adminAction, given, isAddition } from './action.ts';

type Names = ReadonlyMap<string, string>;

const namesOf = async ({ auth }: Call): Promise<Names> => new Map((await auth.users()).map(({ id, name }) => [id, name]));

const shown = (project: ProjectRecord, names: Names) =>
  ({ projectname: project.name, projectManagerId: names.get(project.managerId) ?? project.managerId, description: project.description });

export const projectActions = [
  adminAction({
    name: 'DescribeProject',
    doc: 'A project.',
    errors: ['NoSuchEntity'],
    handle: async (call, input) => shown(await call.auth.requireProject(input.Name), await namesOf(call)),
  }),
  adminAction({
    name: 'DescribeProjects',
    doc: 'All projects, or those of which a user is a member.',
    errors: ['NoSuchEntity'],
    async handle(call, input) {
      const names = await namesOf(call);
      return { projectSet: (await call.auth.projects(given(input.User))).map((project) => shown(project, names)) };
    },
  }),
  adminAction({
    name: 'RegisterProject',
    doc: 'A new project with its manager, who is a member, and others.',
    errors: ['EntityAlreadyExists', 'NoSuchEntity', 'ValidationError'],
    async handle(call, input) {
      const description = given(input.Description);
      const members = (input.MemberUsers ?? []).filter((member) => given(member) !== undefined);
      const project = await call.auth.createProject({
        name: input.Name, manager: input.ManagerUser, members, ...(description === undefined ? {} : { description }),
      });
      return shown(project, await namesOf(call));
    },
  }),
  adminAction({
    name: 'ModifyProject',
    doc: 'Another manager or description. The old manager stays a member.',
    errors: ['NoSuchEntity'],
    async handle({ auth }, input) {
      const [manager, description] = [given(input.ManagerUser), given(input.Description)];
      await auth.modifyProject(input.Name, { ...(manager === undefined ? {} : { manager }), ...(description === undefined ? {} : { description }) });
    },
  }),
  adminAction({
    name: 'DeregisterProject',
    doc: 'Removes a project. Refused while it owns anything.',
    errors: ['NoSuchEntity', 'DeleteConflict'],
    handle: ({ auth }, input) => auth.deleteProject(input.Name),
  }),
  adminAction({
    name: 'DescribeProjectMembers',
    doc: 'The members of a project.',
    errors: ['NoSuchEntity'],
    async handle(call, input) {
      const names = await namesOf(call);
      return { members: (await call.auth.members(input.Name)).map((id) => ({ member: names.get(id) ?? id })) };
    },
  }),
  adminAction({
    name: 'ModifyProjectMember',
    doc: 'Takes somebody into a project, or out of it with their roles there.',
    errors: ['InvalidParameterValue', 'NoSuchEntity', 'DeleteConflict'],
    async handle(call, input) {
      const { auth } = call;
      if (isAddition(call, input.Operation)) await auth.addMember(input.Project, input.User);
      else await auth.removeMember(input.Project, input.User);
    },
  }),
];
