// Nova's role rules, pure: what a user may do in a project follows from these functions alone. A role counts where it is held both
// globally and in the project; two roles are global only; being a project's manager is a role of its own, derived from the project.
import type { Principal, Role } from './principal.ts';

/** Roles that can be granted, in Nova's order. */
export const grantableRoles = ['cloudadmin', 'itsec', 'sysadmin', 'netadmin', 'developer'] as const satisfies readonly Role[];

export type GrantableRole = (typeof grantableRoles)[number];

/** Never granted in a project: held globally, they count in every project. */
export const globalOnlyRoles: ReadonlySet<Role> = new Set<Role>(['cloudadmin', 'itsec']);

/** Who holds one of these skips authorization. */
export const superuserRoles: ReadonlySet<Role> = new Set<Role>(['cloudadmin']);

/** Who may call an action: Nova's roles, `anyMember` for every member of the project. Superusers may all. */
export type Permission = 'anyMember' | 'superuser' | readonly Role[];

export const isGrantableRole = (name: string): name is GrantableRole => (grantableRoles as readonly string[]).includes(name);

/** What the auth drivers know of a user in a project. Names that are no roles of ours, as a directory may have, count for nothing. */
export interface Standing {
  /** The user's own flag. */
  readonly hasAdminFlag: boolean;
  readonly globalRoles: readonly string[];
  readonly projectRoles: readonly string[];
  readonly isMember: boolean;
  readonly isProjectManager: boolean;
}

export interface EffectivePermission {
  /** Skips authorization. */
  readonly isSuperuser: boolean;
  /** Acts in every project without membership. */
  readonly isAdmin: boolean;
  readonly mayAct: boolean;
  readonly roles: ReadonlySet<Role>;
}

/** The one function that says what somebody may do in a project. */
export function effectivePermission(standing: Standing): EffectivePermission {
  const globalRoles = standing.globalRoles.filter(isGrantableRole);
  const isSuperuser = standing.hasAdminFlag || globalRoles.some((role) => superuserRoles.has(role));
  const isAdmin = isSuperuser || globalRoles.some((role) => globalOnlyRoles.has(role));
  const roles = new Set<Role>(globalRoles.filter((role) => globalOnlyRoles.has(role) || standing.projectRoles.includes(role)));
  if (standing.isProjectManager) roles.add('projectmanager');
  return { isSuperuser, isAdmin, mayAct: isAdmin || standing.isMember || standing.isProjectManager, roles };
}

/** Whether a principal may call what asks for this permission. */
export function isPermitted(principal: Pick<Principal, 'isSuperuser' | 'roles'>, permission: Permission): boolean {
  if (principal.isSuperuser) return true;
  if (permission === 'superuser') return false;
  return permission === 'anyMember' || permission.some((role) => principal.roles.has(role));
}
