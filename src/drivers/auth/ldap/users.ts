// Users in a directory. Where people are the directory's, a user is somebody there to whom our class was given, and a deleted one loses it.
import { DriverError } from '../../../lib/errors.ts';
import type { AuthDriver, UserRecord } from '../driver.ts';
import { change } from './change.ts';
import type { Person } from './directory.ts';
import { hasCode, resultCode } from './errors.ts';
import { leaveGroups } from './groups.ts';
import type { LdapContext, Lookup } from './lookup.ts';
import { nameBelow } from './names.ts';
import { writable } from './write.ts';

const userClass = 'novaUser';

type UserMethods = Pick<AuthDriver, 'user' | 'users' | 'createUser' | 'modifyUser' | 'deleteUser' | 'checkPassword'>;

export function userMethods(context: LdapContext, lookup: Lookup): UserMethods {
  const { settings, pool, mirror, rows, ownNames } = context;
  const write = writable(context);
  return {
    async user(idOrName) {
      const row = await rows.user(idOrName);
      if (row !== undefined && ownNames.has(row.name)) return row;
      const person = ownNames.has(idOrName) ? undefined : await lookup.person(idOrName);
      if (person === undefined) return undefined;
      const own = row?.id === person.id ? row : await rows.user(person.id);
      return recordOf(person, own?.enabled ?? true);
    },
    async users() {
      const [own, people, disabled] = await Promise.all([
        Promise.all([...ownNames].map((name) => lookup.ownUser(name))), lookup.people(), mirror.disabledIds(),
      ]);
      const all = [...own.filter((user) => user !== undefined), ...people.map((person) => recordOf(person, !disabled.has(person.id)))];
      return all.toSorted((left, right) => (left.name < right.name ? -1 : 1));
    },
    createUser: (user) => ownNames.has(user.name) ? rows.createUser(user)
      : write(`create the user ${user.name}`, (changed) => settings.access === 'modify' ? adopt(context, user) : create(context, user, changed)),
    async modifyUser(id, changes) {
      if ((await lookup.ownUser(id)) !== undefined) return rows.modifyUser(id, changes);
      const person = await lookup.needPerson(id);
      const { isAdmin, enabled } = changes;
      if (isAdmin !== undefined && isAdmin !== person.isAdmin) {
        await write(`modify the user ${id}`, () => pool.modify(person.dn, [replace(settings.userAdmin, flag(isAdmin))]));
      }
      // Whether somebody is disabled here is novact's own affair, also where the directory is only read.
      if (enabled !== undefined) await rows.modifyUser(id, { enabled });
    },
    async deleteUser(id) {
      if ((await lookup.ownUser(id)) !== undefined) return rows.deleteUser(id);
      context.cache.forget();
      const person = await lookup.needPerson(id);
      const managed = (await lookup.projects()).find(({ managerId }) => managerId === id);
      if (managed !== undefined) throw new DriverError('busy', `${id} manages the project ${managed.name}`);
      await write(`delete the user ${id}`, async (changed) => {
        await changed.removeUser(id);
        await leaveGroups(context, person.dn);
        if (settings.access === 'full') await pool.remove(person.dn);
        else await abandon(context, person);
      });
    },
    async checkPassword(idOrName, password) {
      // A directory takes an empty password for nobody's, and says yes.
      if (password === '' || password.includes('\0')) return false;
      const person = await lookup.person(idOrName);
      return person !== undefined && pool.takesPassword(person.dn, password);
    },
  };
}

const recordOf = ({ id, name, isAdmin, createdAt }: Person, enabled: boolean): UserRecord =>
  ({ id, name, isAdmin, enabled, ...(createdAt === undefined ? {} : { createdAt }) });

async function create({ settings, pool, directory }: LdapContext, user: UserRecord, rows: { addUser(user: UserRecord): Promise<void> }): Promise<void> {
  for (const wanted of [user.id, user.name]) {
    if ((await directory.person(wanted)) !== undefined) throw new DriverError('busy', `the directory has a user ${wanted}`);
  }
  if (settings.userId === settings.userName && user.id !== user.name) throw namedByDirectory(user.name);
  await rows.addUser(user);
  await pool.add(nameBelow(settings.userId, user.id, settings.userBase), {
    objectClass: ['person', 'organizationalPerson', 'inetOrgPerson', userClass],
    cn: user.name, sn: user.name, [settings.userId]: user.id, [settings.userName]: user.name, [settings.userAdmin]: flag(user.isAdmin),
  });
}

/** Somebody who is in the directory becomes a user: only our class and attribute are added. */
async function adopt({ settings, pool, directory }: LdapContext, user: UserRecord): Promise<void> {
  const dn = await directory.anybodyNamed(user.name);
  if (dn === undefined) throw new DriverError('notFound', `the directory has nobody named ${user.name}, and novact does not make people there`);
  if ((await directory.person(user.name)) !== undefined) throw new DriverError('busy', `${user.name} is a user already`);
  try {
    await pool.modify(dn, [change('add', 'objectClass', userClass), replace(settings.userAdmin, flag(user.isAdmin))]);
  } catch (error) {
    if (!hasCode(error, resultCode.typeOrValueExists)) throw error;
    await pool.modify(dn, [replace(settings.userAdmin, flag(user.isAdmin))]);
  }
}

async function abandon({ settings, pool }: LdapContext, person: Person): Promise<void> {
  const attributes = [...new Set([settings.userAdmin, 'accessKey', 'secretKey'])];
  await pool.modify(person.dn, [...attributes.map((attribute) => replace(attribute)), change('delete', 'objectClass', userClass)]);
}

const flag = (value: boolean): string => (value ? 'TRUE' : 'FALSE');

const replace = (type: string, ...values: string[]) => change('replace', type, ...values);

const namedByDirectory = (name: string): DriverError =>
  new DriverError('unsupported', `could not create the user ${name}: in this directory ids and names are one attribute, and people are the directory's`);
