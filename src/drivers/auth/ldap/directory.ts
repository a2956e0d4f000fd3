// Reads people, projects and roles out of a directory, as its settings say where they are. Names are compared here once more: a directory
// compares without regard to case, and novact does not.
import { createHash } from 'node:crypto';
import { AndFilter, EqualityFilter, FilterParser, OrFilter, PresenceFilter, type Entry, type Filter } from 'ldapts';
import { DriverError } from '../../../lib/errors.ts';
import { firstValue } from './names.ts';
import type { LdapPool } from './pool.ts';
import type { LdapSettings } from './settings.ts';

export interface Person {
  readonly dn: string;
  readonly id: string;
  readonly name: string;
  readonly isAdmin: boolean;
  readonly createdAt?: Date;
}

export interface ProjectEntry {
  readonly dn: string;
  readonly id: string;
  readonly name: string;
  readonly description: string;
  readonly managerDn: string;
  readonly memberDns: readonly string[];
  /** The entry has no id, so it was made from the name. */
  readonly isIdMade: boolean;
}

/** Questions to the directory, none of them kept. */
export interface Directory {
  person(idOrName: string): Promise<Person | undefined>;
  personAt(dn: string): Promise<Person | undefined>;
  /** Whoever has the name, a user or not yet. */
  anybodyNamed(name: string): Promise<string | undefined>;
  people(): Promise<readonly Person[]>;
  project(idOrName: string): Promise<ProjectEntry | undefined>;
  /** All, or those that have the member. */
  projects(memberDn?: string): Promise<readonly ProjectEntry[]>;
  /** Whether the group has the member; `undefined`: there is no such group. */
  hasMember(groupDn: string, memberDn: string): Promise<boolean>;
  /** The names of the groups right below a project that have the member. */
  groupsBelow(projectDn: string, memberDn?: string): Promise<readonly { readonly dn: string; readonly name: string }[]>;
  /** Every group that has the member, projects and roles. */
  groupsOf(memberDn: string): Promise<readonly { readonly dn: string; readonly isProject: boolean }[]>;
}

/** Every directory has it, and tells it only to those who ask for it by name. */
const createdAttribute = 'createTimestamp';

export function createDirectory(pool: LdapPool, settings: LdapSettings): Directory {
  const isUser = FilterParser.parseString(settings.userFilter);
  const isProject = all(FilterParser.parseString(settings.projectFilter), new PresenceFilter({ attribute: settings.projectManager }));
  const userAttributes = [settings.userId, settings.userName, settings.userAdmin, createdAttribute];
  const projectAttributes = [settings.projectId, settings.projectName, settings.projectManager, settings.member, 'description'];
  const searchPeople = async (filter: Filter): Promise<Person[]> =>
    (await pool.search(settings.userBase, { scope: settings.userDepth, filter, attributes: userAttributes })).flatMap((entry) => personOf(entry, settings));
  const searchProjects = async (filter: Filter): Promise<ProjectEntry[]> =>
    (await pool.search(settings.groupBase, { scope: settings.projectDepth, filter, attributes: projectAttributes }))
      .flatMap((entry) => projectOf(entry, settings));
  return {
    person: async (idOrName) => onlyOne(idOrName, await searchPeople(all(isUser, either(settings.userId, settings.userName, idOrName)))),
    async personAt(dn) {
      const [entry] = await pool.search(dn, { scope: 'base', filter: isUser, attributes: userAttributes });
      return entry === undefined ? undefined : personOf(entry, settings)[0];
    },
    async anybodyNamed(name) {
      const filter = equal(settings.userName, name);
      const found = await pool.search(settings.userBase, { scope: settings.userDepth, filter, attributes: [settings.userName] });
      const exact = found.filter((entry) => valuesOf(entry, settings.userName).includes(name));
      if (exact.length > 1) throw twice(name);
      return exact[0]?.dn;
    },
    people: () => searchPeople(isUser),
    async project(idOrName) {
      const found = onlyOne(idOrName, await searchProjects(all(isProject, either(settings.projectId, settings.projectName, idOrName))));
      if (found !== undefined || !/^\d{12}$/.test(idOrName)) return found;
      return (await searchProjects(isProject)).find(({ id, isIdMade }) => isIdMade && id === idOrName);
    },
    projects: (memberDn) => searchProjects(memberDn === undefined ? isProject : all(isProject, equal(settings.member, memberDn))),
    hasMember: async (groupDn, memberDn) =>
      (await pool.search(groupDn, { scope: 'base', filter: equal(settings.member, memberDn), attributes: ['1.1'] })).length > 0,
    async groupsBelow(projectDn, memberDn) {
      const filter = memberDn === undefined ? new PresenceFilter({ attribute: 'objectClass' }) : equal(settings.member, memberDn);
      const found = await pool.search(projectDn, { scope: 'one', filter, attributes: ['cn'] });
      return found.flatMap((entry) => valuesOf(entry, 'cn').slice(0, 1).map((name) => ({ dn: entry.dn, name })));
    },
    async groupsOf(memberDn) {
      const filter = equal(settings.member, memberDn);
      const found = await pool.search(settings.groupBase, { scope: 'sub', filter, attributes: [settings.projectManager] });
      return found.map((entry) => ({ dn: entry.dn, isProject: valuesOf(entry, settings.projectManager).length > 0 }));
    },
  };
}

function personOf(entry: Entry, settings: LdapSettings): Person[] {
  const [id] = valuesOf(entry, settings.userId);
  const [name] = valuesOf(entry, settings.userName);
  if (id === undefined || name === undefined) return [];
  const isAdmin = valuesOf(entry, settings.userAdmin)[0]?.toUpperCase() === 'TRUE';
  const createdAt = instantOf(valuesOf(entry, createdAttribute)[0]);
  return [{ dn: entry.dn, id, name, isAdmin, ...(createdAt === undefined ? {} : { createdAt }) }];
}

/** `20261130044700Z`, or with a fraction. */
function instantOf(text = ''): Date | undefined {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:[.,]\d+)?Z$/.exec(text) ?? [];
  return year === undefined ? undefined : new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

function projectOf(entry: Entry, settings: LdapSettings): ProjectEntry[] {
  const [name] = valuesOf(entry, settings.projectName);
  const [managerDn] = valuesOf(entry, settings.projectManager);
  const [id] = valuesOf(entry, settings.projectId);
  if (name === undefined || managerDn === undefined) return [];
  return [{
    dn: entry.dn, name, managerDn, id: id ?? madeId(name), isIdMade: id === undefined,
    description: valuesOf(entry, 'description')[0] ?? name, memberDns: valuesOf(entry, settings.member),
  }];
}

/** Twelve digits that follow from the name, the same at every host: for the projects of a directory that knows no such ids. */
export function madeId(name: string): string {
  const number = createHash('sha256').update(`project ${name}`).digest().readBigUInt64BE();
  return String(10n ** 11n + (number % (9n * 10n ** 11n)));
}

/** Text values, in the directory's order; attributes are found however they are written. */
function valuesOf(entry: Entry, attribute: string): string[] {
  const key = Object.keys(entry).find((one) => one.toLowerCase() === attribute.toLowerCase());
  const value = key === undefined ? undefined : entry[key];
  return (Array.isArray(value) ? value : [value]).filter((one): one is string => typeof one === 'string' && one !== '');
}

/** An id wins over an equal name. Of two people with one name nobody is meant. */
function onlyOne<T extends { readonly id: string; readonly name: string }>(idOrName: string, found: readonly T[]): T | undefined {
  const byId = found.filter(({ id }) => id === idOrName);
  const exact = byId.length > 0 ? byId : found.filter(({ name }) => name === idOrName);
  if (exact.length > 1) throw twice(idOrName);
  return exact[0];
}

const twice = (name: string): DriverError => new DriverError('failed', `the directory has ${name} more than once: it is not clear who is meant`);

const all = (...filters: Filter[]): Filter => new AndFilter({ filters });
const equal = (attribute: string, value: string): Filter => new EqualityFilter({ attribute, value });
const either = (first: string, second: string, value: string): Filter => new OrFilter({ filters: [equal(first, value), equal(second, value)] });

/** The id of whom the name belongs to, where the name itself has it. */
export const idInName = (dn: string, settings: LdapSettings): string | undefined => firstValue(dn, settings.userId);
