// Who is who, as the whole driver asks it: the directory's answers, kept for a while, each with its row in the database; and the accounts
// that are novact's own, which hide whatever of that name the directory has.
import type { Log } from '../../../lib/log.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { AuthDriver, ProjectRecord, UserRecord } from '../driver.ts';
import type { AnswerCache } from './cache.ts';
import { idInName, type Directory, type Person, type ProjectEntry } from './directory.ts';
import type { Mirror } from './mirror.ts';
import type { LdapPool } from './pool.ts';
import type { LdapSettings } from './settings.ts';

/** What the parts of the driver share. */
export interface LdapContext {
  readonly settings: LdapSettings;
  readonly pool: LdapPool;
  readonly directory: Directory;
  readonly cache: AnswerCache;
  readonly mirror: Mirror;
  /** The rows of the database: all of the own accounts', and the mirrored ones'. */
  readonly rows: AuthDriver;
  readonly ownNames: ReadonlySet<string>;
  readonly log: Log;
}

export interface FoundProject extends ProjectEntry {
  readonly managerId: string;
}

export interface Lookup {
  /** One of novact's own accounts. */
  ownUser(idOrName: string): Promise<UserRecord | undefined>;
  ownProject(idOrName: string): Promise<ProjectRecord | undefined>;
  person(idOrName: string): Promise<Person | undefined>;
  people(): Promise<readonly Person[]>;
  project(idOrName: string): Promise<FoundProject | undefined>;
  projects(memberDn?: string): Promise<readonly FoundProject[]>;
  memberIds(project: FoundProject): Promise<readonly string[]>;
  /** `notFound` when there is none; what is novact's own is not the directory's, and `unsupported`. */
  needPerson(id: string): Promise<Person>;
  needProject(id: string): Promise<FoundProject>;
}

export function createLookup(context: LdapContext): Lookup {
  const { directory, cache, mirror, rows, ownNames, log } = context;
  const ownUser: Lookup['ownUser'] = async (idOrName) => isOwn(await rows.user(idOrName), ownNames);
  const ownProject: Lookup['ownProject'] = async (idOrName) => isOwn(await rows.project(idOrName), ownNames);
  const personAt = (dn: string): Promise<Person | undefined> => cache.get(`person at ${dn}`, () => mirrored(directory.personAt(dn)));
  const mirrored = async (asked: Promise<Person | undefined>): Promise<Person | undefined> => {
    const person = await asked;
    // Neither by name nor by id is anybody of the directory one of novact's own: the row is theirs, and their keys hang on it.
    if (person === undefined || ownNames.has(person.name) || (await ownUser(person.id)) !== undefined) return undefined;
    await mirror.user(person);
    return person;
  };
  const foundOf = async (entries: readonly ProjectEntry[]): Promise<FoundProject[]> => {
    const found = (await Promise.all(entries.map(async (entry) => {
      const isHidden = ownNames.has(entry.name) || (await ownProject(entry.id)) !== undefined;
      const manager = isHidden ? undefined : await personAt(entry.managerDn);
      return manager === undefined ? [] : [{ ...entry, managerId: manager.id }];
    }))).flat();
    const refused = new Set((await mirror.projects(found)).map(({ dn }) => dn));
    for (const dn of refused) log.error({ dn }, 'the id made of the name of this project is that of another project: give it an attribute with an id');
    return found.filter(({ dn }) => !refused.has(dn)).toSorted((left, right) => (left.name < right.name ? -1 : 1));
  };
  const person: Lookup['person'] = (idOrName) => cache.get(`user ${idOrName}`, () => mirrored(directory.person(idOrName)));
  const project: Lookup['project'] = (idOrName) => cache.get(`project ${idOrName}`, async () => {
    const entry = await directory.project(idOrName);
    return entry === undefined ? undefined : (await foundOf([entry]))[0];
  });
  return {
    ownUser, ownProject, person, project,
    people: async () => (await directory.people()).filter(({ name }) => !ownNames.has(name)).toSorted((left, right) => (left.name < right.name ? -1 : 1)),
    projects: (memberDn) => cache.get(`projects of ${memberDn ?? ''}`, async () => foundOf(await directory.projects(memberDn))),
    async memberIds({ memberDns }) {
      const ids = await Promise.all(memberDns.map(async (dn) => idInName(dn, context.settings) ?? (await personAt(dn))?.id));
      return ids.filter((id) => id !== undefined).toSorted();
    },
    async needPerson(id) {
      const found = await person(id);
      if (found !== undefined) return found;
      throw (await ownUser(id)) === undefined ? new DriverError('notFound', `there is no user ${id}`) : notInDirectory(id);
    },
    async needProject(id) {
      const found = await project(id);
      if (found === undefined) throw new DriverError('notFound', `there is no project ${id}`);
      return found;
    },
  };
}

function isOwn<T extends { readonly name: string }>(row: T | undefined, ownNames: ReadonlySet<string>): T | undefined {
  return row !== undefined && ownNames.has(row.name) ? row : undefined;
}

const notInDirectory = (id: string): DriverError => new DriverError('unsupported', `${id} is an account of novact's own, and not in the directory`);
