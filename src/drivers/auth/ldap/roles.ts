// Roles in a directory: one group for each role that is held globally, and groups below a project for those held there.
import { DriverError } from '../../../lib/errors.ts';
import type { AuthDriver } from '../driver.ts';
import { addToRole, takeFrom } from './groups.ts';
import type { LdapContext, Lookup } from './lookup.ts';
import { nameBelow } from './names.ts';
import { writable } from './write.ts';

export function roleMethods(context: LdapContext, lookup: Lookup): Pick<AuthDriver, 'roles' | 'addRole' | 'removeRole'> {
  const { rows, cache, settings } = context;
  const write = writable(context);
  /** A user or project of novact's own has its roles in the database. */
  const isOwn = async (userId: string, projectId: string | undefined): Promise<boolean> =>
    projectId === undefined ? (await lookup.ownUser(userId)) !== undefined : (await lookup.ownProject(projectId)) !== undefined;
  return {
    async roles(userId, projectId) {
      if (await isOwn(userId, projectId)) return rows.roles(userId, projectId);
      const person = await lookup.person(userId);
      if (person === undefined) return [];
      const globalRoles = () => cache.get(`roles of ${person.dn}`, () => readGlobalRoles(context, person.dn));
      if (projectId === undefined) return globalRoles();
      const project = await lookup.project(projectId);
      if (project === undefined) return [];
      if (settings.projectRoles === 'global') return (await lookup.memberIds(project)).includes(person.id) ? globalRoles() : [];
      return cache.get(`roles of ${person.dn} in ${project.dn}`, async () =>
        (await context.directory.groupsBelow(project.dn, person.dn)).map(({ name }) => name).toSorted());
    },
    async addRole(userId, role, projectId) {
      if (await isOwn(userId, projectId)) return rows.addRole(userId, role, projectId);
      const person = await lookup.needPerson(userId);
      const project = projectId === undefined ? undefined : await lookup.needProject(projectId);
      const dn = project === undefined ? globalGroup(context, role) : groupBelow(context, project.dn, role);
      await write(`give ${role} to ${userId}`, () => addToRole(context, dn, person.dn, project === undefined ? role : `${role} of ${project.name}`));
    },
    async removeRole(userId, role, projectId) {
      if (await isOwn(userId, projectId)) return rows.removeRole(userId, role, projectId);
      const person = await lookup.person(userId);
      const project = projectId === undefined ? undefined : await lookup.project(projectId);
      if (person === undefined || (projectId !== undefined && project === undefined)) return;
      const dn = project === undefined ? settings.roleGroups[role] : groupBelow(context, project.dn, role);
      if (dn !== undefined) await write(`take ${role} from ${userId}`, () => takeFrom(context, { dn, isProject: false }, person.dn));
    },
  };
}

async function readGlobalRoles({ settings, directory }: LdapContext, memberDn: string): Promise<readonly string[]> {
  const held = await Promise.all(Object.entries(settings.roleGroups).map(async ([role, dn]) => (await directory.hasMember(dn, memberDn) ? [role] : [])));
  return held.flat().toSorted();
}

function globalGroup({ settings }: LdapContext, role: string): string {
  const dn = settings.roleGroups[role];
  if (dn === undefined) throw new DriverError('unsupported', `the directory has no group for the role ${role}`);
  return dn;
}

function groupBelow({ settings }: LdapContext, projectDn: string, role: string): string {
  if (settings.projectRoles === 'groups') return nameBelow('cn', role, projectDn);
  throw new DriverError('unsupported', 'in this cloud a role counts in all projects of whoever has it (NOVACT_LDAP_PROJECT_ROLES)');
}
