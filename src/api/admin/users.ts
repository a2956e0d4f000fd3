// The Admin API's users and their roles.
import { globalOnlyRoles, grantableRoles } from '../../auth/roles.ts';
import { usualKey } from '../../auth/usual-key.ts';
import type { Call } from '../ec2/action.ts';
import { adminAction, given, isAddition } from './action.ts';

/** With the secret, as Nova's clients need it to act as that user. */
async function withSecret(call: Call, name: string) {
  const user = await call.auth.requireUser(name);
  const accesskey = await usualKey(call.auth, user.id);
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
      userSet: await Promise.all((await call.auth.users()).map(async (user) => ({ username: user.name, accesskey: await usualKey(call.auth, user.id) }))),
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
    name: 'GenerateX509ForUser',
    doc: 'A new certificate of a user in a project (default: the one named like the user), with all that clients need, as a zip in base64.',
    errors: ['IncorrectState', 'NoSuchEntity'],
    async handle(call, input) {
      const project = given(input.Project) ?? input.Name;
      const { userName } = await call.auth.principalFor(input.Name, project);
      // It comes first: who has no key gets one with it.
      const zip = await call.operator.userCredentials(userName, project);
      return { ...(await withSecret(call, userName)), file: zip.toString('base64') };
    },
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
