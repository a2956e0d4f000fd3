// Where users, projects and roles are kept: the database, or a directory. The auth manager above it has the rules.

export interface UserRecord {
  readonly id: string;
  readonly name: string;
  readonly isAdmin: boolean;
  readonly enabled: boolean;
  /** Of what was read, where the store knows it. */
  readonly createdAt?: Date;
}

export interface ProjectRecord {
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly managerId: string;
}

export interface AccessKeyRecord {
  readonly id: string;
  readonly userId: string;
  readonly projectId: string | undefined;
  readonly sealedSecret: string;
  readonly enabled: boolean;
  /** Of what was read, where the store knows it. */
  readonly createdAt?: Date;
}

/** An access key with all that a request signed with it asks for, of one moment. */
export interface KeyHolder {
  readonly key: AccessKeyRecord;
  readonly user: UserRecord;
  readonly globalRoles: readonly string[];
  /** The project that the key stands for, and what the user is in it. */
  readonly project: HeldProject | undefined;
  /** Wrong signatures with the key have locked it until then; in the past, or undefined: they have not. */
  readonly lockedUntil: Date | undefined;
}

export interface HeldProject extends ProjectRecord {
  readonly isMember: boolean;
  readonly roles: readonly string[];
}

/**
 * Errors: DriverError `notFound`, `busy` (a name or id is taken; what is to be deleted is in use), `unsupported` (read-only), `failed`, `timeout`.
 * Names are matched exactly. Adding what is there, and removing a member or role that is not, changes nothing. Lists are sorted: by name, or by id.
 */
export interface AuthDriver {
  readonly info: { readonly name: string; readonly readOnly: boolean };
  user(idOrName: string): Promise<UserRecord | undefined>;
  users(): Promise<readonly UserRecord[]>;
  /** A store whose people are there before may know an id of its own for the name: what was made is read back. */
  createUser(user: UserRecord): Promise<void>;
  modifyUser(id: string, changes: Partial<Pick<UserRecord, 'isAdmin' | 'enabled'>>): Promise<void>;
  /** With memberships, roles, access keys and key pairs. `busy` while the user manages a project. */
  deleteUser(id: string): Promise<void>;
  project(idOrName: string): Promise<ProjectRecord | undefined>;
  /** All, or those of which a user is a member. */
  projects(memberId?: string): Promise<readonly ProjectRecord[]>;
  /** The manager is always a member. */
  createProject(project: ProjectRecord, memberIds: readonly string[]): Promise<void>;
  modifyProject(id: string, changes: Partial<Pick<ProjectRecord, 'description' | 'managerId'>>): Promise<void>;
  /** With memberships, roles and key pairs; access keys lose the project and stay. `busy` while it owns anything else. */
  deleteProject(id: string): Promise<void>;
  members(projectId: string): Promise<readonly string[]>;
  addMember(projectId: string, userId: string): Promise<void>;
  /** With the user's roles in the project. */
  removeMember(projectId: string, userId: string): Promise<void>;
  /** Global roles when no project is given. */
  roles(userId: string, projectId?: string): Promise<readonly string[]>;
  addRole(userId: string, role: string, projectId?: string): Promise<void>;
  removeRole(userId: string, role: string, projectId?: string): Promise<void>;
  accessKey(id: string): Promise<AccessKeyRecord | undefined>;
  /** The same as the single questions tell, in one look. A store that has no such look leaves it out. */
  keyHolder?(accessKeyId: string): Promise<KeyHolder | undefined>;
  accessKeys(userId: string): Promise<readonly AccessKeyRecord[]>;
  createAccessKey(key: AccessKeyRecord): Promise<void>;
  modifyAccessKey(id: string, changes: Partial<Pick<AccessKeyRecord, 'enabled'>>): Promise<void>;
  deleteAccessKey(id: string): Promise<void>;
  /** Whether somebody may log in with the password. `unsupported` by a store that keeps none. Never true for an empty one. */
  checkPassword(idOrName: string, password: string): Promise<boolean>;
  /** Lets go of what the store holds open. */
  close(): Promise<void>;
}
