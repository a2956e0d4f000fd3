// An auth store in memory, for specs and simulations: it keeps to the same contract as the others and forgets everything at the end.
import { DriverError } from '../../lib/errors.ts';
import type { AccessKeyRecord, AuthDriver, ProjectRecord, UserRecord } from './driver.ts';

interface Store {
  readonly users: Map<string, UserRecord>;
  readonly projects: Map<string, ProjectRecord>;
  readonly members: Map<string, Set<string>>;
  /** By `user/project`, the project empty for global roles. */
  readonly roles: Map<string, Set<string>>;
  readonly accessKeys: Map<string, AccessKeyRecord>;
}

export function createFakeAuthDriver(): AuthDriver {
  const store: Store = { users: new Map(), projects: new Map(), members: new Map(), roles: new Map(), accessKeys: new Map() };
  return {
    info: { name: 'fake', readOnly: false }, ...userMethods(store), ...projectMethods(store), ...roleMethods(store), ...keyMethods(store),
    checkPassword: () => Promise.reject(new DriverError('unsupported', 'this store keeps no passwords')),
    close: async () => undefined,
  };
}

type UserMethods = Pick<AuthDriver, 'user' | 'users' | 'createUser' | 'modifyUser' | 'deleteUser'>;

function userMethods(store: Store): UserMethods {
  return {
    user: async (idOrName) => find(store.users, idOrName),
    users: async () => sorted(store.users, (user) => user.name),
    createUser: async (user) => insertNamed(store.users, user),
    modifyUser: async (id, changes) => update(store.users, id, changes),
    deleteUser: async (id) => {
      demand(store.users, id);
      if ([...store.projects.values()].some((project) => project.managerId === id)) throw new DriverError('busy', `${id} manages a project`);
      store.users.delete(id);
      for (const members of store.members.values()) members.delete(id);
      for (const key of [...store.roles.keys()].filter((name) => name.startsWith(`${id}/`))) store.roles.delete(key);
      for (const key of [...store.accessKeys.values()].filter((each) => each.userId === id)) store.accessKeys.delete(key.id);
    },
  };
}

type ProjectMethods = Pick<AuthDriver, 'project' | 'projects' | 'createProject' | 'modifyProject' | 'deleteProject' | 'members' | 'addMember' | 'removeMember'>;

function projectMethods(store: Store): ProjectMethods {
  const membersOf = (projectId: string) => store.members.get(projectId) ?? new Set<string>();
  return {
    project: async (idOrName) => find(store.projects, idOrName),
    projects: async (memberId) => sorted(store.projects, (project) => project.name).filter(({ id }) => memberId === undefined || membersOf(id).has(memberId)),
    createProject: async (project, memberIds) => {
      const members = new Set([project.managerId, ...memberIds]);
      for (const id of members) demand(store.users, id);
      insertNamed(store.projects, project);
      store.members.set(project.id, members);
    },
    modifyProject: async (id, changes) => {
      if (changes.managerId !== undefined) demand(store.users, changes.managerId);
      update(store.projects, id, changes);
      if (changes.managerId !== undefined) membersOf(id).add(changes.managerId);
    },
    deleteProject: async (id) => {
      demand(store.projects, id);
      store.projects.delete(id);
      store.members.delete(id);
      for (const key of [...store.roles.keys()].filter((name) => name.endsWith(`/${id}`))) store.roles.delete(key);
      for (const key of store.accessKeys.values()) if (key.projectId === id) store.accessKeys.set(key.id, { ...key, projectId: undefined });
    },
    members: async (projectId) => [...membersOf(projectId)].toSorted(),
    addMember: async (projectId, userId) => {
      demand(store.projects, projectId);
      demand(store.users, userId);
      membersOf(projectId).add(userId);
    },
    removeMember: async (projectId, userId) => {
      membersOf(projectId).delete(userId);
      store.roles.delete(`${userId}/${projectId}`);
    },
  };
}

function roleMethods(store: Store): Pick<AuthDriver, 'roles' | 'addRole' | 'removeRole'> {
  return {
    roles: async (userId, projectId = '') => [...(store.roles.get(`${userId}/${projectId}`) ?? [])].toSorted(),
    addRole: async (userId, role, projectId = '') => {
      demand(store.users, userId);
      if (projectId !== '') demand(store.projects, projectId);
      const name = `${userId}/${projectId}`;
      store.roles.set(name, new Set([...(store.roles.get(name) ?? []), role]));
    },
    removeRole: async (userId, role, projectId = '') => void store.roles.get(`${userId}/${projectId}`)?.delete(role),
  };
}

type KeyMethods = Pick<AuthDriver, 'accessKey' | 'accessKeys' | 'createAccessKey' | 'modifyAccessKey' | 'deleteAccessKey'>;

function keyMethods(store: Store): KeyMethods {
  return {
    accessKey: async (id) => store.accessKeys.get(id),
    accessKeys: async (userId) => sorted(store.accessKeys, (key) => key.id).filter((key) => key.userId === userId),
    createAccessKey: async (key) => {
      demand(store.users, key.userId);
      if (key.projectId !== undefined) demand(store.projects, key.projectId);
      if (store.accessKeys.has(key.id)) throw new DriverError('busy', `the access key ${key.id} exists`);
      store.accessKeys.set(key.id, key);
    },
    modifyAccessKey: async (id, changes) => update(store.accessKeys, id, changes),
    deleteAccessKey: async (id) => {
      demand(store.accessKeys, id);
      store.accessKeys.delete(id);
    },
  };
}

function find<T extends { readonly name: string }>(records: ReadonlyMap<string, T>, idOrName: string): T | undefined {
  return records.get(idOrName) ?? [...records.values()].find((record) => record.name === idOrName);
}

function demand<T>(records: ReadonlyMap<string, T>, id: string): T {
  const record = records.get(id);
  if (record === undefined) throw new DriverError('notFound', `there is no ${id}`);
  return record;
}

function insertNamed<T extends { readonly id: string; readonly name: string }>(records: Map<string, T>, record: T): void {
  if (records.has(record.id) || find(records, record.name) !== undefined) throw new DriverError('busy', `${record.name} or ${record.id} is taken`);
  records.set(record.id, record);
}

function update<T>(records: Map<string, T>, id: string, changes: Partial<T>): void {
  records.set(id, { ...demand(records, id), ...changes });
}

function sorted<T>(records: ReadonlyMap<string, T>, key: (record: T) => string): T[] {
  return [...records.values()].toSorted((left, right) => (key(left) < key(right) ? -1 : 1));
}
