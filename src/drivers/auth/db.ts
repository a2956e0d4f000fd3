// Users, projects, roles and access keys in novact's own database.
import type { Db } from '../../db/db.ts';
import * as identity from '../../db/identity.ts';
import { looksOf, type KeyHolderRow } from '../../db/looks.ts';
import type { Clock } from '../../lib/clock.ts';
import { DriverError } from '../../lib/errors.ts';
import type { AccessKeyRecord, AuthDriver, KeyHolder, ProjectRecord, UserRecord } from './driver.ts';

export interface DbAuthSettings {
  readonly db: Db;
  readonly clock: Clock;
}

export function createDbAuthDriver({ db, clock }: DbAuthSettings): AuthDriver {
  const looks = looksOf({ db, clock });
  return {
    info: { name: 'db', readOnly: false },
    user: (idOrName) => lookUp('user', idOrName, async () => userOf(await identity.selectUser(db, idOrName))),
    users: () => attempt('list the users', async () => (await identity.selectUsers(db)).map(toUser)),
    createUser: (user) => attempt(`create the user ${user.name}`, () => identity.insertUser(db, { ...user, createdAt: clock.date() })),
    modifyUser: (id, changes) => change(`modify the user ${id}`, identity.updateUser(db, id, changes)),
    deleteUser: (id) => change(`delete the user ${id}`, identity.deleteUserRows(db, id), 'busy'),
    project: (idOrName) => lookUp('project', idOrName, async () => projectOf(await identity.selectProject(db, idOrName))),
    projects: (memberId) => attempt('list the projects', async () =>
      (await (memberId === undefined ? identity.selectProjects(db) : identity.selectProjectsOfMember(db, memberId))).map(toProject)),
    createProject: (project, memberIds) => attempt(`create the project ${project.name}`, () =>
      identity.insertProject(db, { ...toProject(project), createdAt: clock.date() }, memberIds)),
    modifyProject: (id, changes) => change(`modify the project ${id}`, identity.updateProject(db, id, changes)),
    deleteProject: (id) => change(`delete the project ${id}`, identity.deleteProjectRow(db, id), 'busy'),
    members: (projectId) => attempt(`list the members of ${projectId}`, () => identity.selectMemberIds(db, projectId)),
    addMember: (projectId, userId) => attempt(`add ${userId} to ${projectId}`, () => identity.insertMember(db, projectId, userId)),
    removeMember: (projectId, userId) => attempt(`remove ${userId} from ${projectId}`, () => identity.deleteMember(db, projectId, userId)),
    roles: (userId, projectId) => attempt(`list the roles of ${userId}`, () =>
      projectId === undefined ? identity.selectGlobalRoles(db, userId) : identity.selectProjectRoles(db, userId, projectId)),
    addRole: (userId, role, projectId) => attempt(`give ${role} to ${userId}`, () => identity.insertRole(db, userId, role, projectId)),
    removeRole: (userId, role, projectId) => attempt(`take ${role} from ${userId}`, () => identity.deleteRole(db, userId, role, projectId)),
    accessKey: (id) => lookUp('access key', id, async () => accessKeyOf(await identity.selectAccessKey(db, id))),
    keyHolder: (id) => lookUp('access key', id, async () => holderOf(await looks.keyHolder(id))),
    accessKeys: (userId) => attempt(`list the access keys of ${userId}`, async () => (await identity.selectAccessKeys(db, userId)).map(toAccessKey)),
    createAccessKey: (key) => attempt(`create the access key ${key.id}`, () =>
      identity.insertAccessKey(db, { ...key, projectId: key.projectId ?? null, createdAt: clock.date() })),
    modifyAccessKey: (id, changes) => change(`modify the access key ${id}`, identity.updateAccessKey(db, id, changes)),
    deleteAccessKey: (id) => change(`delete the access key ${id}`, identity.deleteAccessKeyRow(db, id)),
    checkPassword: () => Promise.reject(new DriverError('unsupported', 'novact\'s database keeps no passwords')),
    close: async () => undefined,
  };
}

const toUser = ({ id, name, isAdmin, enabled, createdAt }: identity.UserRow): UserRecord => ({ id, name, isAdmin, enabled, createdAt });

const toProject = ({ id, name, description, managerId }: ProjectRecord): ProjectRecord => ({ id, name, description, managerId });

const toAccessKey = ({ projectId, ...row }: identity.AccessKeyRow): AccessKeyRecord => ({ ...row, projectId: projectId ?? undefined });

const userOf = (row: identity.UserRow | undefined) => row && toUser(row);
const projectOf = (row: identity.ProjectRow | undefined) => row && toProject(row);
const accessKeyOf = (row: identity.AccessKeyRow | undefined) => row && toAccessKey(row);

const holderOf = (row: KeyHolderRow | undefined): KeyHolder | undefined => row && {
  key: toAccessKey(row.key), user: toUser(row.user), globalRoles: row.globalRoles, lockedUntil: row.lockedUntil,
  project: row.project && { ...toProject(row.project), isMember: row.isMember, roles: row.projectRoles },
};

/** What a violated foreign key means: something still refers to what is to be deleted, or what is written refers to nothing. */
type ReferenceMeaning = 'busy' | 'notFound';

/** PostgreSQL keeps no text with NUL in it, and takes being asked for one as an error: nothing has such a name. */
async function lookUp<T>(what: string, name: string, query: () => Promise<T | undefined>): Promise<T | undefined> {
  return name.includes('\0') ? undefined : attempt(`look up the ${what} ${name}`, query);
}

/** Runs a query whose answer says whether the row was there. */
async function change(what: string, found: Promise<boolean>, reference: ReferenceMeaning = 'notFound'): Promise<void> {
  if (!(await attempt(what, () => found, reference))) throw new DriverError('notFound', `could not ${what}: there is none`);
}

const uniqueViolation = '23505';
const foreignKeyViolation = '23503';

/** Drizzle's message, which has the query and its values, stays out of ours. */
async function attempt<T>(what: string, query: () => Promise<T>, reference: ReferenceMeaning = 'notFound'): Promise<T> {
  try {
    return await query();
  } catch (cause) {
    const code = databaseCodeOf(cause);
    if (code === uniqueViolation) throw new DriverError('busy', `could not ${what}: the name or id is taken`);
    if (code === foreignKeyViolation) {
      throw new DriverError(reference, `could not ${what}: ${reference === 'busy' ? 'it is in use' : 'it refers to what does not exist'}`);
    }
    throw new DriverError('failed', `could not ${what}: the database failed${code === undefined ? '' : ` (${code})`}`, { cause });
  }
}

/** Both drivers of PostgreSQL put its code on the error, below drizzle's. */
function databaseCodeOf(error: unknown): string | undefined {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if ('code' in at && typeof at.code === 'string') return at.code;
  }
  return undefined;
}
