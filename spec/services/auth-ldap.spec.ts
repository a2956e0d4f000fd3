// The contract of auth stores over a real slapd with Nova's schema, and what ldapsearch sees of it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLdapAuthDriver } from '../../src/drivers/auth/ldap/ldap.ts';
import type { LdapSettings } from '../../src/drivers/auth/ldap/settings.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { authSuite } from '../contract/auth-suite.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { slapdSettings, slapdSuffix, startSlapd, type SlapdServer } from '../support/slapd-server.ts';

let slapd: SlapdServer;
let database: TestDatabase;

beforeAll(async () => {
  [slapd, database] = await Promise.all([startSlapd(), createTestDatabase()]);
});

afterAll(async () => {
  await Promise.all([slapd.close(), database.close()]);
});

const driverWith = (changes: Partial<LdapSettings> = {}) =>
  createLdapAuthDriver({ db: database.db, clock: systemClock, log: silentLog, ldap: slapdSettings(slapd, changes), ownNames: ['admin'] });

authSuite('ldap', () => driverWith());
authSuite('ldap, nothing of which is kept', () => driverWith({ cacheMs: 0, connectionsMax: 1 }));

describe('A5: entries of a directory', () => {
  test('are those of Nova: people with novaUser, projects with an owner, roles as groups beside and below them', async () => {
    const driver = driverWith();
    await driver.createUser({ id: 'AIDAJOE', name: 'joe', isAdmin: true, enabled: true });
    await driver.createUser({ id: 'AIDASUE', name: 'sue', isAdmin: false, enabled: true });
    await driver.createProject({ id: '111122223333', name: 'lab', description: 'The laboratory', managerId: 'AIDAJOE' }, ['AIDASUE']);
    await driver.addRole('AIDASUE', 'netadmin');
    await driver.addRole('AIDASUE', 'netadmin', '111122223333');
    const user = await slapd.ldapsearch('-b', `ou=Users,${slapdSuffix}`, '(cn=joe)');
    expect(user.trim().split('\n').toSorted()).toEqual([
      'cn: joe', `dn: uid=AIDAJOE,ou=Users,${slapdSuffix}`, 'isNovaAdmin: TRUE', 'objectClass: inetOrgPerson', 'objectClass: novaUser',
      'objectClass: organizationalPerson', 'objectClass: person', 'sn: joe', 'uid: AIDAJOE',
    ]);
    const project = await slapd.ldapsearch('-b', `cn=lab,ou=Groups,${slapdSuffix}`, '-s', 'base');
    expect(project.trim().split('\n').toSorted()).toEqual([
      'cn: lab', 'description: The laboratory', `dn: cn=lab,ou=Groups,${slapdSuffix}`, `member: uid=AIDAJOE,ou=Users,${slapdSuffix}`,
      `member: uid=AIDASUE,ou=Users,${slapdSuffix}`, 'novactProjectId: 111122223333', 'objectClass: groupOfNames', 'objectClass: novactProject',
      `owner: uid=AIDAJOE,ou=Users,${slapdSuffix}`,
    ]);
    for (const dn of [`cn=netadmins,ou=Groups,${slapdSuffix}`, `cn=netadmin,cn=lab,ou=Groups,${slapdSuffix}`]) {
      expect(await slapd.ldapsearch('-b', dn, '-s', 'base', 'member')).toContain(`member: uid=AIDASUE,ou=Users,${slapdSuffix}`);
    }
    await driver.removeRole('AIDASUE', 'netadmin', '111122223333');
    expect(await slapd.ldapsearch('-b', `cn=lab,ou=Groups,${slapdSuffix}`, '-s', 'one', 'dn')).toBe('');
    await driver.close();
  });

  test('have no access key: those are novact\'s own', async () => {
    const driver = driverWith();
    await driver.createUser({ id: 'AIDAKAY', name: 'kay', isAdmin: false, enabled: true });
    await driver.createAccessKey({ id: 'AKIAKAY', userId: 'AIDAKAY', projectId: undefined, sealedSecret: 'v1.sealed', enabled: true });
    expect(await slapd.ldapsearch('-b', slapdSuffix, '(|(accessKey=*)(secretKey=*))', 'dn')).toBe('');
    expect(await slapd.ldapsearch('-b', slapdSuffix)).not.toMatch(/AKIAKAY|sealed/);
    await driver.close();
  });
});
