// IAM: the access keys of users. Each user makes and ends their own; only a superuser those of others: a key acts as its user in every project
// that they are a member of, so being the manager of one of these is not enough.
import type { Principal } from '../../../auth/principal.ts';
import { action, type Call } from '../action.ts';
import { describeIam, refuseSession } from '../iam-requests.ts';

/** AWS's own quota. */
const keysPerUserMax = 2;

type Codes = 'AccessDenied' | 'InvalidClientTokenId' | 'LimitExceeded' | 'NoSuchEntity' | 'ValidationError';

/** The user whose keys are meant: the caller, unless another is named. Nobody learns by it who exists. */
async function keyOwner(call: Call<Codes>, userName: string | undefined): Promise<{ id: string; name: string }> {
  const { principal, auth } = call;
  refuseSession(call);
  if (userName === undefined || userName === principal.userName) return { id: principal.userId, name: principal.userName };
  if (!principal.isSuperuser) call.fail('AccessDenied', `User: ${principal.userName} is not authorized to manage the access keys of the user ${userName}`);
  return auth.requireUser(userName);
}

/** The key, if it is that user's: another's is not found. */
async function requireKey(call: Call<Codes>, userId: string, accessKeyId: string): Promise<void> {
  const keys = await call.auth.accessKeys(userId);
  if (!keys.some((key) => key.id === accessKeyId)) call.fail('NoSuchEntity', `The Access Key with id ${accessKeyId} cannot be found.`);
}

/** A key stands for the project it is made in, where its user may act there. */
async function projectFor(call: Call, { projectId, userId }: Principal, ownerId: string): Promise<string | undefined> {
  if (ownerId === userId) return projectId;
  return (await call.auth.isMember(projectId, ownerId)) ? projectId : undefined;
}

const status = (enabled: boolean): 'Active' | 'Inactive' => (enabled ? 'Active' : 'Inactive');

export const accessKeyActions = [
  action({
    name: 'CreateAccessKey',
    doc: 'A new key of the caller, or, for superusers, of another user. It stands for the project of this call where its user is a member. At most two a user.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'InvalidClientTokenId', 'LimitExceeded', 'NoSuchEntity'],
    async handle(call, input) {
      const { auth, principal, clock } = call;
      const owner = await keyOwner(call, input.UserName);
      const refuse = () => call.fail('LimitExceeded', `Cannot exceed quota for AccessKeysPerUser: ${keysPerUserMax}`);
      if ((await auth.accessKeys(owner.id)).length >= keysPerUserMax) refuse();
      const project = await projectFor(call, principal, owner.id);
      const key = await auth.createAccessKey({ user: owner.id, ...(project === undefined ? {} : { project }) });
      // Of requests at once, each has made one before it counts again: none stays that is too many.
      if ((await auth.accessKeys(owner.id)).length > keysPerUserMax) {
        await auth.deleteAccessKey(key.accessKeyId);
        refuse();
      }
      return {
        AccessKey: {
          UserName: owner.name, AccessKeyId: key.accessKeyId, Status: status(true), SecretAccessKey: key.secretAccessKey, CreateDate: clock.date(),
        },
      };
    },
  }),
  action({
    name: 'ListAccessKeys',
    doc: 'The keys of the caller, or, for superusers, of another user, without their secrets.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'InvalidClientTokenId', 'NoSuchEntity', 'ValidationError'],
    async handle(call, input) {
      const owner = await keyOwner(call, input.UserName);
      const { page, rest } = describeIam(call, await call.auth.accessKeys(owner.id), { ...input, key: ({ id }) => id });
      const AccessKeyMetadata = page.map((key) => ({ UserName: owner.name, AccessKeyId: key.id, Status: status(key.enabled), CreateDate: key.createdAt }));
      return { AccessKeyMetadata, ...rest };
    },
  }),
  action({
    name: 'UpdateAccessKey',
    doc: 'Disables or enables a key. A disabled one is refused from the next request on, and so are the sessions that it asked for.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'InvalidClientTokenId', 'NoSuchEntity', 'ValidationError'],
    async handle(call, input) {
      const owner = await keyOwner(call, input.UserName);
      const wanted: string | undefined = input.Status;
      if (wanted !== 'Active' && wanted !== 'Inactive') {
        call.fail('ValidationError', `1 validation error detected: Value '${wanted}' at 'status' failed to satisfy constraint: `
          + 'Member must satisfy enum value set: [Active, Inactive]');
      }
      await requireKey(call, owner.id, input.AccessKeyId ?? '');
      await call.auth.modifyAccessKey(input.AccessKeyId ?? '', { enabled: wanted === 'Active' });
      return {};
    },
  }),
  action({
    name: 'DeleteAccessKey',
    doc: 'Removes a key, and ends the sessions that it asked for.',
    roles: 'anyMember',
    errors: ['AccessDenied', 'InvalidClientTokenId', 'NoSuchEntity'],
    async handle(call, input) {
      const owner = await keyOwner(call, input.UserName);
      await requireKey(call, owner.id, input.AccessKeyId ?? '');
      await call.auth.deleteAccessKey(input.AccessKeyId ?? '');
      return {};
    },
  }),
];
