// Members of groups, and groups that exist only while they have some: groupOfNames is never empty, so a role's group is made with its first
// member and goes with its last.
import { DriverError } from '../../../lib/errors.ts';
import { change } from './change.ts';
import { hasCode, resultCode } from './errors.ts';
import type { LdapContext } from './lookup.ts';
import { firstValue } from './names.ts';

type Groups = Pick<LdapContext, 'settings' | 'pool'>;

/** Adding who is there changes nothing. */
export async function addTo({ settings, pool }: Groups, groupDn: string, memberDn: string): Promise<void> {
  try {
    await pool.modify(groupDn, [change('add', settings.member, memberDn)]);
  } catch (error) {
    if (!hasCode(error, resultCode.typeOrValueExists)) throw error;
  }
}

/** Into the group of a role, which is made if there is none. */
export async function addToRole(groups: Groups, groupDn: string, memberDn: string, description: string): Promise<void> {
  try {
    await addTo(groups, groupDn, memberDn);
  } catch (error) {
    if (!hasCode(error, resultCode.noSuchObject)) throw error;
    const cn = firstValue(groupDn, 'cn');
    if (cn === undefined) throw new DriverError('unsupported', `${groupDn} does not exist, and novact makes only groups that are named by cn`);
    await groups.pool.add(groupDn, { objectClass: ['groupOfNames'], cn, description, [groups.settings.member]: memberDn });
  }
}

/** Taking out who is not there changes nothing. A role's group that would be empty is removed; a project that would be is busy. */
export async function takeFrom({ settings, pool }: Groups, group: { readonly dn: string; readonly isProject: boolean }, memberDn: string): Promise<void> {
  try {
    await pool.modify(group.dn, [change('delete', settings.member, memberDn)]);
  } catch (error) {
    if (hasCode(error, resultCode.noSuchAttribute) || hasCode(error, resultCode.noSuchObject)) return;
    if (!hasCode(error, resultCode.objectClassViolation)) throw error;
    if (group.isProject) throw new DriverError('busy', 'a project has at least one member');
    await pool.remove(group.dn);
  }
}

/** Out of everything below the groups' base, and out of the roles' groups elsewhere. */
export async function leaveGroups(groups: Groups & Pick<LdapContext, 'directory'>, memberDn: string): Promise<void> {
  const found = await groups.directory.groupsOf(memberDn);
  const known = new Set(found.map(({ dn }) => dn.toLowerCase()));
  const elsewhere = Object.values(groups.settings.roleGroups).filter((dn) => !known.has(dn.toLowerCase())).map((dn) => ({ dn, isProject: false }));
  for (const group of [...found, ...elsewhere]) await takeFrom(groups, group, memberDn);
}
