// IAM: users. A project is the account, and its members are the account's users; superusers, who are of no one project, see everybody.
import type { UserRecord } from '../../../drivers/auth/driver.ts';
import { userArn } from '../account-arns.ts';
import { action, type Call } from '../action.ts';
import { describeIam, refuseSession } from '../iam-requests.ts';

type Codes = 'AccessDenied' | 'InvalidClientTokenId' | 'NoSuchEntity' | 'ValidationError';

async function visibleUsers({ auth, principal }: Call): Promise<readonly UserRecord[]> {
  const users = await auth.users();
  if (principal.isSuperuser) return users;
  const members = new Set(await auth.members(principal.projectId));
  return users.filter(({ id }) => members.has(id));
}

const shown = (projectId: string, user: UserRecord) =>
  ({ Path: '/', UserName: user.name, UserId: user.id, Arn: userArn(projectId, user.name), CreateDate: user.createdAt });

/** Everybody may see themselves; managers their members, and superusers all. */
async function userFor(call: Call<Codes>, name: string | undefined): Promise<UserRecord> {
  const { auth, principal } = call;
  if (name === undefined || name === principal.userName) return auth.requireUser(principal.userId);
  if (!principal.isSuperuser && !principal.roles.has('projectmanager')) {
    call.fail('AccessDenied', `User: ${principal.userName} is not authorized to perform: iam:GetUser on resource: user ${name}`);
  }
  const found = (await visibleUsers(call)).find((user) => user.name === name);
  return found ?? call.fail('NoSuchEntity', `The user with name ${name} cannot be found.`);
}

export const userActions = [
  action({
    name: 'ListUsers',
    doc: 'The members of the project, for its manager; all users of the cloud, for superusers.',
    roles: ['projectmanager'],
    errors: ['InvalidClientTokenId', 'ValidationError'],
    async handle(call, input) {
      refuseSession(call);
      const prefix = input.PathPrefix ?? '/';
      // All have the path `/`.
      const users = prefix === '/' ? await visibleUsers(call) : [];
      const { page, rest } = describeIam(call, users, { ...input, key: ({ name }) => name });
      return { Users: page.map((user) => shown(call.principal.projectId, user)), ...rest };
    },
  }),
  action({
    name: 'GetUser',
    doc: 'The caller, or another user: a member of the project, for its manager; anybody, for superusers.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'InvalidClientTokenId', 'NoSuchEntity'],
    async handle(call, input) {
      refuseSession(call);
      return { User: shown(call.principal.projectId, await userFor(call, input.UserName)) };
    },
  }),
  action({
    name: 'ListAccountAliases',
    doc: 'The name of the project, where AWS would take it for an alias of an account.',
    roles: 'anyMember',
    errors: ['InvalidClientTokenId', 'ValidationError'],
    handle(call, input) {
      refuseSession(call);
      const name = call.principal.projectName;
      const isAlias = name.length >= 3 && name.length <= 63 && /^[a-z0-9]+(-[a-z0-9]+)*$/.test(name);
      const { page, rest } = describeIam(call, isAlias ? [name] : [], { ...input, key: (alias) => alias });
      return { AccountAliases: [...page], ...rest };
    },
  }),
];
