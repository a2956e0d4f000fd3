// What an operator says of a directory, and what follows from it: where things are, and the attributes that carry them. Defaults are
// the layout of Nova, version 2 of its schema.
import { z } from 'zod';
import { Secret } from '../../../lib/secret.ts';

const depth = z.enum(['one', 'sub']);

export const ldapSettings = z.object({
  urls: z.array(z.string()).min(1).describe('ldap:// or ldaps://, in the order in which they are tried'),
  bindDn: z.string().describe('whom novact binds as'),
  password: z.instanceof(Secret).describe('of that account'),
  startTls: z.boolean().default(true).describe('on ldap://; ldaps:// has TLS anyway'),
  authority: z.string().optional().describe('the certificates of the authority, as text; unset: those of the system'),
  access: z.enum(['full', 'modify', 'read']).default('full').describe('all; people are the directory\'s, and only get our attributes; nothing is written'),
  userBase: z.string().default('ou=Users,dc=example,dc=com'),
  userDepth: depth.default('sub'),
  userFilter: z.string().default('(objectClass=novaUser)').describe('who is a user'),
  userId: z.string().default('uid'),
  userName: z.string().default('cn'),
  userAdmin: z.string().default('isNovaAdmin'),
  groupBase: z.string().default('ou=Groups,dc=example,dc=com'),
  projectDepth: depth.default('sub'),
  projectFilter: z.string().default('(objectClass=groupOfNames)').describe('what is a project, beside having a manager'),
  projectId: z.string().default('novactProjectId').describe('a project without it has an id that is made from its name'),
  projectName: z.string().default('cn'),
  projectManager: z.string().default('owner'),
  member: z.string().default('member').describe('of projects and roles: names of entries'),
  projectRoles: z.enum(['groups', 'global']).default('groups').describe('groups below the project, or whoever has a role has it in all projects'),
  roleGroups: z.record(z.string(), z.string()).describe('role → the name of its group'),
  cacheMs: z.number().int().min(0).default(15_000).describe('how old an answer may be'),
  timeoutMs: z.number().int().min(1).default(5_000).describe('of everything that is asked'),
  connectionsMax: z.number().int().min(1).default(4),
});

export type LdapSettings = z.output<typeof ldapSettings>;
