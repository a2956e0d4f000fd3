// The Admin API's users and their roles.
import { globalOnlyRoles, grantableRoles } from '../../auth/roles.ts';
import type { UserRecord } from '../../drivers/auth/driver.ts';
import type { Call } from '../ec2/action.ts';
import { adminAction, given, isAddition } from './action.ts';

/** Of several keys, the one that stands for no project: Nova's clients name the project themselves. */
async function keyOf({ auth }: Call, user: UserRecord): Promise<string | undefined> {
  const keys = (await auth.accessKeys(user.id)).filter(({ enabled }) => enabled);
  return (keys.find(({ projectId }) => projectId === undefined) ?? keys[0])?.id;
}

/** With the secret, as Nova's clients need it to act as that user. */
async function withSecret(call: Call, name: string) {
  const user = await call.auth.requireUser(name);
  const accesskey = await keyOf(call, user);
  const secretkey = accesskey === undefined ? undefined : (await call.auth.findCredential(accesskey))?.secret;
  return { username: user.name, accesskey, secretkey };
}

export const userActions = [
  adminAction({
    name: 'DescribeUser',
    doc: 'A user with a key that acts as them. Of a disabled user there is no secret.',
    errors: ['NoSuchEntity'],
    handle: (call, input) => withSecret(call, input.Name),
  }),
  adminAction({
    name: 'DescribeUsers',
    doc: 'All users, without their secrets: no one answer has everybody\'s.',
    errors: [],
    handle: async (call) => ({
      userSet: await Promise.all((await call.auth.users()).map(async (user) => ({ username: user.name, accesskey: await keyOf(call, user) }))),
    }),
  }),
  adminAction({
    name: 'RegisterUser',
    doc: 'A new user with a key that stands for no project.',
    errors: ['EntityAlreadyExists', 'ValidationError'],
    async handle({ auth }, input) {
      const user = await auth.createUser({ name: input.Name });
      const key = await auth.createAccessKey({ user: user.id });
      return { username: user.name, accesskey: key.accessKeyId, secretkey: key.secretAccessKey };
    },
  }),
  adminAction({
    name: 'DeregisterUser',
    doc: 'Removes a user with memberships, roles, access keys and key pairs. Refused while they manage a project.',
    errors: ['NoSuchEntity', 'DeleteConflict'],
    handle: ({ auth }, input) => auth.deleteUser(input.Name),
  }),
  adminAction({
    name: 'DescribeRoles',
    doc: 'The roles that can be granted: in a project, or, with `ProjectRoles` false, at all.',
    errors: [],
    handle: (_call, { ProjectRoles: isProject = true }) => (
      { roles: grantableRoles.filter((role) => !isProject || !globalOnlyRoles.has(role)).map((role) => ({ role })) }
    ),
  }),
  adminAction({
    name: 'DescribeUserRoles',
    doc: 'The roles that a user was granted globally, or in a project.',
    errors: ['NoSuchEntity'],
    handle: async ({ auth }, input) => ({ roles: (await auth.roles(input.User, given(input.Project))).map((role) => ({ role })) }),
  }),
  adminAction({
    name: 'ModifyUserRole',
    doc: 'Grants a role globally or in a project, or takes it.',
    errors: ['InvalidParameterValue', 'NoSuchEntity'],
    async handle(call, input) {
      const { auth } = call;
      const project = given(input.Project);
      if (isAddition(call, input.Operation)) await auth.addRole(input.User, input.Role, project);
      else await auth.removeRole(input.User, input.Role, project);
    },
  }),
];
