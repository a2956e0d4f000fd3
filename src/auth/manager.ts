// The auth manager: a class that most components use and no process of its own. It owns Nova's rules about users, projects, members,
// roles and access keys; where they are kept is the driver's business. Everything takes ids or names. Failures are ApiErrors in
// IAM's words: NoSuchEntity, EntityAlreadyExists, DeleteConflict, ValidationError.
import type { AccessKeyRecord, AuthDriver, HeldProject, ProjectRecord, UserRecord } from '../drivers/auth/driver.ts';
import { ApiError, DriverError } from '../lib/errors.ts';
import { newAccessKeyId, newProjectId } from '../lib/ids.ts';
import type { Sealer } from '../lib/sealed.ts';
import { AccessKeys, noSuchKey, type AccessKeySummary, type Credential, type NewAccessKey } from './credentials.ts';
import type { LockedOut, Lockout, LockoutKind } from './lockout.ts';
import type { Principal, Role } from './principal.ts';
import { effectivePermission, globalOnlyRoles, isGrantableRole, type EffectivePermission } from './roles.ts';
import { findSession, issueSession, type GivenToken, type NewSession, type SessionRequest } from './sessions.ts';
import { SigningKeys } from './signing-keys.ts';

export interface AuthManagerSettings {
  readonly driver: AuthDriver;
  readonly sealer: Sealer;
  /** Absent: nobody is locked out, as in a store that is in memory. */
  readonly lockout?: Lockout;
}

export interface NewUser {
  readonly name: string;
  readonly isAdmin?: boolean;
}

export interface NewProject {
  readonly name: string;
  /** A user; becomes a member. */
  readonly manager: string;
  /** Default: the name. */
  readonly description?: string;
  readonly members?: readonly string[];
  /** Twelve digits; random when absent. */
  readonly id?: string;
}

export class AuthManager {
  /** Derived keys of SigV4, for the verifiers. */
  readonly signingKeys = new SigningKeys();
  readonly #driver: AuthDriver;
  readonly #accessKeys: AccessKeys;
  readonly #sealer: Sealer;
  readonly #lockout: Lockout | undefined;

  constructor(settings: AuthManagerSettings) {
    this.#driver = settings.driver;
    this.#lockout = settings.lockout;
    this.#accessKeys = new AccessKeys(settings);
    this.#sealer = settings.sealer;
  }

  async createUser(user: NewUser): Promise<UserRecord> {
    checkName(user.name, 'user');
    const record = { id: newAccessKeyId().replace(/^AKIA/, 'AIDA'), name: user.name, isAdmin: user.isAdmin ?? false, enabled: true };
    await inIamWords(this.#driver.createUser(record));
    return this.requireUser(user.name);
  }

  /** Removes memberships, roles, access keys and key pairs as well. A project's manager must be replaced first. */
  async deleteUser(user: string): Promise<void> {
    const { id, name } = await this.requireUser(user);
    const managed = (await this.#driver.projects()).find((project) => project.managerId === id);
    if (managed !== undefined) throw deleteConflict(`${name} manages the project ${managed.name}.`);
    await inIamWords(this.#driver.deleteUser(id));
  }

  async modifyUser(user: string, changes: Partial<Pick<UserRecord, 'isAdmin' | 'enabled'>>): Promise<void> {
    await inIamWords(this.#driver.modifyUser((await this.requireUser(user)).id, changes));
  }

  user(idOrName: string): Promise<UserRecord | undefined> {
    return this.#driver.user(idOrName);
  }

  users(): Promise<readonly UserRecord[]> {
    return this.#driver.users();
  }

  async createProject(project: NewProject): Promise<ProjectRecord> {
    checkName(project.name, 'project');
    const id = project.id ?? newProjectId();
    if (!/^\d{12}$/.test(id)) throw invalid('A project id has twelve digits.');
    const manager = await this.requireUser(project.manager);
    const members = await Promise.all((project.members ?? []).map((member) => this.requireUser(member)));
    const record = { id, name: project.name, description: project.description ?? project.name, managerId: manager.id };
    await inIamWords(this.#driver.createProject(record, [...new Set([manager.id, ...members.map((member) => member.id)])]));
    return this.requireProject(project.name);
  }

  /** A new manager becomes a member; the old one stays one. */
  async modifyProject(project: string, changes: { readonly description?: string; readonly manager?: string }): Promise<void> {
    const { id } = await this.requireProject(project);
    const manager = changes.manager === undefined ? undefined : await this.requireUser(changes.manager);
    if (manager !== undefined) await inIamWords(this.#driver.addMember(id, manager.id));
    await inIamWords(this.#driver.modifyProject(id, {
      ...(changes.description === undefined ? {} : { description: changes.description }),
      ...(manager === undefined ? {} : { managerId: manager.id }),
    }));
  }

  /** Refused while the project owns anything. */
  async deleteProject(project: string): Promise<void> {
    const { id, name } = await this.requireProject(project);
    await inIamWords(this.#driver.deleteProject(id), `The project ${name} still owns resources.`);
  }

  project(idOrName: string): Promise<ProjectRecord | undefined> {
    return this.#driver.project(idOrName);
  }

  /** All projects, or those in which a user is a member. */
  async projects(user?: string): Promise<readonly ProjectRecord[]> {
    return this.#driver.projects(user === undefined ? undefined : (await this.requireUser(user)).id);
  }

  async members(project: string): Promise<readonly string[]> {
    return this.#driver.members((await this.requireProject(project)).id);
  }

  async addMember(project: string, user: string): Promise<void> {
    await inIamWords(this.#driver.addMember((await this.requireProject(project)).id, (await this.requireUser(user)).id));
  }

  /** Takes the user's roles in the project as well. The manager is always a member. */
  async removeMember(project: string, user: string): Promise<void> {
    const [found, { id, name }] = await Promise.all([this.requireProject(project), this.requireUser(user)]);
    if (found.managerId === id) throw deleteConflict(`${name} manages the project ${found.name}.`);
    await inIamWords(this.#driver.removeMember(found.id, id));
  }

  async isMember(project: string, user: string): Promise<boolean> {
    return (await this.members(project)).includes((await this.requireUser(user)).id);
  }

  async isManager(project: string, user: string): Promise<boolean> {
    return (await this.requireProject(project)).managerId === (await this.requireUser(user)).id;
  }

  /** Grants a role globally, or in a project. A role counts only where it is held in both. Refuses unknown roles, and global-only ones in a project. */
  async addRole(user: string, role: string, project?: string): Promise<void> {
    checkRole(role, project);
    const { id } = await this.requireUser(user);
    await inIamWords(this.#driver.addRole(id, role, project === undefined ? undefined : (await this.requireProject(project)).id));
  }

  /** Removing a role that is not held changes nothing. */
  async removeRole(user: string, role: string, project?: string): Promise<void> {
    const { id } = await this.requireUser(user);
    await inIamWords(this.#driver.removeRole(id, role, project === undefined ? undefined : (await this.requireProject(project)).id));
  }

  /** Roles as granted: globally, or in a project. What they amount to is `permission`. */
  async roles(user: string, project?: string): Promise<readonly string[]> {
    const { id } = await this.requireUser(user);
    return this.#driver.roles(id, project === undefined ? undefined : (await this.requireProject(project)).id);
  }

  /** Nova's has_role: globally when no project is given, else effective in the project. */
  async hasRole(user: string, role: Role, project?: string): Promise<boolean> {
    const record = await this.requireUser(user);
    if (project === undefined) return (await this.#driver.roles(record.id)).includes(role);
    return (await this.#permission(record, await this.requireProject(project))).roles.has(role);
  }

  async isSuperuser(user: string): Promise<boolean> {
    return (await this.#globalPermission(user)).isSuperuser;
  }

  async isAdmin(user: string): Promise<boolean> {
    return (await this.#globalPermission(user)).isAdmin;
  }

  /** The secret is returned once and kept sealed. Without a project the key stands for the user's own (see principalOf). */
  async createAccessKey(request: { user: string; project?: string; accessKeyId?: string; secretAccessKey?: string }): Promise<NewAccessKey> {
    const { user, project, ...given } = request;
    const userId = (await this.requireUser(user)).id;
    const projectId = project === undefined ? undefined : (await this.requireProject(project)).id;
    return inIamWords(this.#accessKeys.create({ userId, projectId, ...given }));
  }

  async accessKeys(user: string): Promise<AccessKeySummary[]> {
    return this.#accessKeys.list((await this.requireUser(user)).id);
  }

  async modifyAccessKey(accessKeyId: string, changes: Partial<Pick<AccessKeyRecord, 'enabled'>>): Promise<void> {
    if ((await this.#driver.accessKey(accessKeyId)) === undefined) throw noSuchKey(accessKeyId);
    await inIamWords(this.#driver.modifyAccessKey(accessKeyId, changes));
  }

  async deleteAccessKey(accessKeyId: string): Promise<void> {
    if ((await this.#driver.accessKey(accessKeyId)) === undefined) throw noSuchKey(accessKeyId);
    await inIamWords(this.#driver.deleteAccessKey(accessKeyId));
  }

  /** A new key for the same user and project; the old one is refused from then on. */
  rotateAccessKey(accessKeyId: string): Promise<NewAccessKey> {
    return inIamWords(this.#accessKeys.rotate(accessKeyId));
  }

  /** A temporary key that acts as the holder of a lasting one, in one project. */
  issueSession(request: SessionRequest): NewSession {
    return issueSession(this.#sealer, request);
  }

  /** The enabled key of an enabled user, or a session of one. For the verifiers: the result holds the secret, and a wrong token is a Refusal. */
  findCredential(accessKeyId: string, session?: GivenToken): Promise<Credential | undefined> {
    if (session === undefined) return this.#accessKeys.find(accessKeyId);
    return findSession(accessKeyId, session, { sealer: this.#sealer, find: (key) => this.#accessKeys.find(key) });
  }

  /** Too many wrong signatures of late: what is signed with the key is refused unseen. */
  async isLocked({ accessKeyId, user, holder }: Credential): Promise<boolean> {
    // A session has a key of its own.
    if (holder?.key.id === accessKeyId) return this.#lockout?.isLockedUntil(holder.lockedUntil, user.name) ?? false;
    return (await this.#lockout?.isLocked('key', accessKeyId, user.name)) ?? false;
  }

  /** For the verifiers. */
  async noteWrongSignature({ accessKeyId, user }: Credential): Promise<void> {
    await this.#lockout?.note('key', accessKeyId, user.name);
  }

  /** Whether an enabled user logs in with the password. Nobody learns which of the two was wrong, nor that somebody is locked out. */
  async checkPassword(user: string, password: string): Promise<boolean> {
    const record = await this.#driver.user(user);
    if (record === undefined || !record.enabled) return false;
    if ((await this.#lockout?.isLocked('password', record.id, record.name)) === true) return false;
    const isRight = await inIamWords(this.#driver.checkPassword(record.id, password));
    if (!isRight) await this.#lockout?.note('password', record.id, record.name);
    return isRight;
  }

  /** Who is locked out, and until when. */
  async lockedOut(): Promise<readonly LockedOut[]> {
    return (await this.#lockout?.list()) ?? [];
  }

  /** Lets an access key or a user in again at once. False: nothing was counted against it. */
  async unlock(kind: LockoutKind, id: string): Promise<boolean> {
    const subject = kind === 'key' ? id : (await this.requireUser(id)).id;
    return (await this.#lockout?.clear(kind, subject)) ?? false;
  }

  /** Whom a verified credential acts as: in the project it names, else the key's, else the one named like the user, else the user's only one. */
  async principalOf(credential: Credential): Promise<Principal | undefined> {
    const held = heldProject(credential);
    const project = held ?? (await this.#projectOf(credential));
    if (project === undefined || (credential.isTemporary && project.id !== credential.keyProjectId)) return undefined;
    const principal = await this.#principal(credential.user, project, credential.accessKeyId, held && permissionOf(credential, held));
    return principal && (credential.isTemporary ? { ...principal, isTemporary: true } : principal);
  }

  /** Whom a user acts as in a project, without a request: for work that novact does on somebody's behalf. NoSuchEntity when they may not. */
  async principalFor(user: string, project: string): Promise<Principal> {
    const [record, found] = await Promise.all([this.requireUser(user), this.requireProject(project)]);
    const principal = await this.#principal(record, found, '');
    if (principal === undefined) throw new ApiError('NoSuchEntity', `${record.name} is not a member of the project ${found.name}.`, 404);
    return principal;
  }

  async requireUser(idOrName: string): Promise<UserRecord> {
    const user = await this.#driver.user(idOrName);
    if (user === undefined) throw new ApiError('NoSuchEntity', `The user with name ${idOrName} cannot be found.`, 404);
    return user;
  }

  async requireProject(idOrName: string): Promise<ProjectRecord> {
    const project = await this.#driver.project(idOrName);
    if (project === undefined) throw new ApiError('NoSuchEntity', `The project with name ${idOrName} cannot be found.`, 404);
    return project;
  }

  async #principal(user: UserRecord, project: ProjectRecord, accessKeyId: string, known?: EffectivePermission): Promise<Principal | undefined> {
    const { mayAct, isSuperuser, isAdmin, roles } = known ?? (await this.#permission(user, project));
    if (!mayAct) return undefined;
    return { userId: user.id, userName: user.name, accessKeyId, projectId: project.id, projectName: project.name, isSuperuser, isAdmin, roles };
  }

  async #permission(user: UserRecord, project: ProjectRecord): Promise<EffectivePermission> {
    const [globalRoles, projectRoles, members] = await Promise.all([
      this.#driver.roles(user.id), this.#driver.roles(user.id, project.id), this.#driver.members(project.id),
    ]);
    return effectivePermission({
      hasAdminFlag: user.isAdmin, globalRoles, projectRoles, isMember: members.includes(user.id), isProjectManager: project.managerId === user.id,
    });
  }

  async #globalPermission(user: string): Promise<EffectivePermission> {
    const { id, isAdmin } = await this.requireUser(user);
    const globalRoles = await this.#driver.roles(id);
    return effectivePermission({ hasAdminFlag: isAdmin, globalRoles, projectRoles: [], isMember: false, isProjectManager: false });
  }

  async #projectOf(credential: Credential): Promise<ProjectRecord | undefined> {
    const named = credential.requestedProject ?? credential.keyProjectId;
    if (named !== undefined) return this.#driver.project(named);
    const own = await this.#driver.project(credential.user.name);
    if (own !== undefined) return own;
    const projects = await this.#driver.projects(credential.user.id);
    return projects.length === 1 ? projects[0] : undefined;
  }
}

/** The key's own project, where the store told of it with the key and no other is named. */
function heldProject({ holder, requestedProject, keyProjectId }: Credential): HeldProject | undefined {
  const held = holder?.project;
  const named = requestedProject ?? keyProjectId;
  return held !== undefined && (named === held.id || named === held.name) ? held : undefined;
}

const permissionOf = ({ user, holder }: Credential, project: HeldProject): EffectivePermission => effectivePermission({
  hasAdminFlag: user.isAdmin, globalRoles: holder?.globalRoles ?? [], projectRoles: project.roles, isMember: project.isMember,
  isProjectManager: project.managerId === user.id,
});

/** Names are IAM's. What looks like an id is none, so that an id or name is never two people's. */
function checkName(name: string, kind: 'user' | 'project'): void {
  if (!/^[A-Za-z0-9_+=.@-]{1,64}$/.test(name)) throw invalid(`A ${kind} name has 1 to 64 letters, digits and _+=.@-`);
  if (/^\d{12}$/.test(name) || /^AIDA[A-Z2-7]{16}$/.test(name)) throw invalid(`The ${kind} name ${name} looks like an id.`);
}

function checkRole(role: string, project: string | undefined): void {
  if (!isGrantableRole(role)) throw new ApiError('NoSuchEntity', `The ${role} role can not be found`, 404);
  if (project !== undefined && globalOnlyRoles.has(role)) throw new ApiError('NoSuchEntity', `The ${role} role is global only`, 404);
}

const invalid = (message: string): ApiError => new ApiError('ValidationError', message, 400);

const deleteConflict = (message: string): ApiError => new ApiError('DeleteConflict', message, 409);

/** The driver's expected failures as ApiErrors; `conflict` is what `busy` means where it is not a name that is taken. */
async function inIamWords<T>(work: Promise<T>, conflict?: string): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!(error instanceof DriverError)) throw error;
    if (error.kind === 'notFound') throw new ApiError('NoSuchEntity', error.message, 404);
    if (error.kind === 'busy') throw conflict === undefined ? new ApiError('EntityAlreadyExists', error.message, 409) : deleteConflict(conflict);
    if (error.kind === 'unsupported') throw new ApiError('UnmodifiableEntity', error.message, 400);
    throw error;
  }
}
