// Nova's role rules, over every combination there is: 2^5 global × 2^5 project grants × flags, against the rules said in another way.
import { describe, expect, test } from 'vitest';
import type { Role } from '../../../src/auth/principal.ts';
import { effectivePermission, grantableRoles, isPermitted, type Permission, type Standing } from '../../../src/auth/roles.ts';

const subsets = <T>(items: readonly T[]): T[][] => items.reduce<T[][]>((sets, item) => [...sets, ...sets.map((set) => [...set, item])], [[]]);

const permissions: Permission[] = ['anyMember', 'superuser', ...subsets([...grantableRoles, 'projectmanager'] as Role[])];

/** Nova's has_role and is_superuser, as nova-2011.md tells them. */
function novaAllows(standing: Standing, permission: Permission): boolean {
  const isGlobal = (role: string) => standing.globalRoles.includes(role);
  if (standing.hasAdminFlag || isGlobal('cloudadmin')) return true;
  const hasRole = (role: Role): boolean => {
    if (role === 'projectmanager') return standing.isProjectManager;
    if (!isGlobal(role)) return false;
    return role === 'itsec' || role === 'cloudadmin' || standing.projectRoles.includes(role);
  };
  if (permission === 'anyMember') return true;
  return permission === 'superuser' ? false : permission.some(hasRole);
}

describe('effective permission', () => {
  test('every combination of roles and flags allows exactly what Nova allows', () => {
    let combinations = 0;
    for (const globalRoles of subsets(grantableRoles)) {
      for (const projectRoles of subsets(grantableRoles)) {
        for (const [hasAdminFlag, isMember, isProjectManager] of subsets([0, 1, 2]).map((set) => [0, 1, 2].map((flag) => set.includes(flag)))) {
          const standing: Standing = {
            globalRoles, projectRoles, hasAdminFlag: hasAdminFlag === true, isMember: isMember === true, isProjectManager: isProjectManager === true,
          };
          const effective = effectivePermission(standing);
          const wrong = permissions.filter((permission) => isPermitted(effective, permission) !== novaAllows(standing, permission));
          if (wrong.length > 0) expect({ standing, wrong }).toBeUndefined();
          combinations += permissions.length;
        }
      }
    }
    expect(combinations).toBe(32 * 32 * 8 * 66);
  });

  const nobody: Standing = { hasAdminFlag: false, globalRoles: [], projectRoles: [], isMember: false, isProjectManager: false };

  const mayAct = (standing: Partial<Standing>) => effectivePermission({ ...nobody, ...standing }).mayAct;

  test('only members, managers and admins may act in a project', () => {
    expect(mayAct({})).toBe(false);
    expect(mayAct({ globalRoles: ['sysadmin', 'netadmin', 'developer'], projectRoles: ['sysadmin'] })).toBe(false);
    expect(mayAct({ projectRoles: ['cloudadmin', 'itsec'] })).toBe(false);
    for (const standing of [{ isMember: true }, { isProjectManager: true }, { hasAdminFlag: true }]) expect(mayAct(standing)).toBe(true);
    for (const role of ['itsec', 'cloudadmin']) expect(mayAct({ globalRoles: [role] })).toBe(true);
  });

  test('itsec is admin in every project and no superuser', () => {
    const { isAdmin, isSuperuser, roles } = effectivePermission({ ...nobody, globalRoles: ['itsec'] });
    expect([isAdmin, isSuperuser, [...roles]]).toEqual([true, false, ['itsec']]);
  });

  test('names that are no roles count for nothing, even those that could be derived', () => {
    const names = ['projectmanager', 'root'];
    const { roles, isAdmin } = effectivePermission({ ...nobody, isMember: true, globalRoles: names, projectRoles: names });
    expect([[...roles], isAdmin]).toEqual([[], false]);
  });

  test('an empty list of roles permits superusers alone', () => {
    expect(isPermitted({ isSuperuser: false, roles: new Set<Role>(['sysadmin']) }, [])).toBe(false);
    expect(isPermitted({ isSuperuser: true, roles: new Set() }, [])).toBe(true);
  });
});
