// Where users, projects and roles are kept: the database, or a directory. The auth manager above it has the rules.

export interface UserRecord {
  readonly id: string;
  readonly name: string;
  readonly isAdmin: boolean;
  readonly enabled: boolean;
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
}

/** Errors: DriverError `notFound`, `busy` (the name is taken), `unsupported` (read-only), `timeout`. Names are matched exactly. */
export interface AuthDriver {
  readonly info: { readonly name: string; readonly readOnly: boolean };
  user(idOrName: string): Promise<UserRecord | undefined>;
  users(): Promise<readonly UserRecord[]>;
  createUser(user: UserRecord): Promise<void>;
  modifyUser(id: string, changes: Partial<Pick<UserRecord, 'isAdmin' | 'enabled'>>): Promise<void>;
  deleteUser(id: string): Promise<void>;
  project(idOrName: string): Promise<ProjectRecord | undefined>;
  projects(): Promise<readonly ProjectRecord[]>;
  /** The manager is always a member. */
  createProject(project: ProjectRecord, memberIds: readonly string[]): Promise<void>;
  modifyProject(id: string, changes: Partial<Pick<ProjectRecord, 'description' | 'managerId'>>): Promise<void>;
  deleteProject(id: string): Promise<void>;
  members(projectId: string): Promise<readonly string[]>;
  addMember(projectId: string, userId: string): Promise<void>;
  removeMember(projectId: string, userId: string): Promise<void>;
  /** Global roles when no project is given. */
  roles(userId: string, projectId?: string): Promise<readonly string[]>;
  addRole(userId: string, role: string, projectId?: string): Promise<void>;
  removeRole(userId: string, role: string, projectId?: string): Promise<void>;
  accessKey(id: string): Promise<AccessKeyRecord | undefined>;
  accessKeys(userId: string): Promise<readonly AccessKeyRecord[]>;
  createAccessKey(key: AccessKeyRecord): Promise<void>;
  modifyAccessKey(id: string, changes: Partial<Pick<AccessKeyRecord, 'enabled'>>): Promise<void>;
  deleteAccessKey(id: string): Promise<void>;
}
