// Opens the store of users and projects that the settings name, and says when somebody is locked out.
import { readFile } from 'node:fs/promises';
import { Lockout } from '../auth/lockout.ts';
import type { Settings } from '../config/settings.ts';
import type { Db } from '../db/db.ts';
import type { AuthDriver } from '../drivers/auth/driver.ts';
import { authDrivers } from '../drivers/auth/index.ts';
import { ldapSettings, type LdapSettings } from '../drivers/auth/ldap/settings.ts';
import type { Clock } from '../lib/clock.ts';
import { messageOf, SetupError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { Secret } from '../lib/secret.ts';
import { ownAccounts, systemName } from './own-accounts.ts';

interface Deps {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
}

export const createLockout = (settings: Settings, deps: Deps): Lockout => new Lockout({
  ...deps, failuresMax: settings.lockoutAttempts, windowMs: settings.lockoutWindowMinutes * 60_000, lockMs: settings.lockoutMinutes * 60_000,
  exemptNames: [systemName],
});

export async function openAuthDriver(settings: Settings, deps: Deps): Promise<AuthDriver> {
  if (settings.authDriver === 'db') return authDrivers.db(deps);
  return authDrivers.ldap({ ...deps, ldap: await ldapSettingsOf(settings), ownNames: ownAccounts });
}

export async function ldapSettingsOf(settings: Settings): Promise<LdapSettings> {
  const { ldapUrl, ldapBindDn, ldapPassword, ldapGroupBase: groupBase } = settings;
  if (ldapUrl === undefined || ldapBindDn === undefined || ldapPassword === undefined) {
    throw new SetupError('the directory is not told', 'NOVACT_AUTH_DRIVER=ldap needs NOVACT_LDAP_URL, NOVACT_LDAP_BIND_DN and NOVACT_LDAP_PASSWORD.');
  }
  return ldapSettings.parse({
    urls: ldapUrl.split(','), bindDn: ldapBindDn, password: new Secret(ldapPassword), startTls: settings.ldapTls === 'start', groupBase,
    authority: settings.ldapCa === undefined ? undefined : await authority(settings.ldapCa), access: settings.ldapAccess,
    userBase: settings.ldapUserBase, userDepth: settings.ldapUserDepth, userFilter: settings.ldapUserFilter, userId: settings.ldapUserId,
    userName: settings.ldapUserName, userAdmin: settings.ldapUserAdmin, projectDepth: settings.ldapProjectDepth,
    projectFilter: settings.ldapProjectFilter, projectId: settings.ldapProjectId, projectName: settings.ldapProjectName,
    projectManager: settings.ldapProjectManager, member: settings.ldapMember, projectRoles: settings.ldapProjectRoles,
    roleGroups: {
      cloudadmin: settings.ldapCloudadmins ?? `cn=cloudadmins,${groupBase}`, itsec: settings.ldapItsec ?? `cn=itsec,${groupBase}`,
      sysadmin: settings.ldapSysadmins ?? `cn=sysadmins,${groupBase}`, netadmin: settings.ldapNetadmins ?? `cn=netadmins,${groupBase}`,
      developer: settings.ldapDevelopers ?? `cn=developers,${groupBase}`,
    },
    cacheMs: settings.ldapCacheSeconds * 1000, timeoutMs: settings.ldapTimeoutSeconds * 1000, connectionsMax: settings.ldapConnections,
  });
}

async function authority(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new SetupError(`cannot read ${file}: ${messageOf(cause)}`, 'NOVACT_LDAP_CA names the file with the authority of the directory.', { cause });
  }
}
