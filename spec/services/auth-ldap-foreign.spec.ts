// Directories that novact did not make: people elsewhere and deeper, other attributes, only part of it ours to write, or nothing.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { AuthManager } from '../../src/auth/manager.ts';
import { createLdapAuthDriver } from '../../src/drivers/auth/ldap/ldap.ts';
import { madeId } from '../../src/drivers/auth/ldap/directory.ts';
import type { LdapSettings } from '../../src/drivers/auth/ldap/settings.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { Secret } from '../../src/lib/secret.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { slapdSettings, slapdSuffix, startSlapd, type SlapdServer } from '../support/slapd-server.ts';

const people = `ou=People,${slapdSuffix}`;
const teams = `ou=Teams,${slapdSuffix}`;

const unit = (dn: string): string => `dn: ${dn}\nobjectClass: organizationalUnit\nou: ${dn.slice(3, dn.indexOf(','))}\n`;
const person = (uid: string, below: string, more = ''): string => {
  const cn = `${uid} of ${below.slice(3, below.indexOf(','))}`;
  return `dn: cn=${cn},${below}\nobjectClass: inetOrgPerson\nuid: ${uid}\ncn: ${cn}\nsn: X\nuserPassword: ${uid}'s word\n${more}`;
};
const group = (name: string, members: readonly string[], more = ''): string =>
  `dn: cn=${name},${teams}\nobjectClass: groupOfNames\ncn: ${name}\n${members.map((dn) => `member: ${dn}\n`).join('')}${more}`;

const ann = `cn=ann of Berlin,ou=Berlin,${people}`;
const bob = `cn=bob of Paris,ou=Paris,${people}`;

/** As a company might have it: people by town, teams with owners, and a service account that may read and nothing else. */
const company = [
  unit(people), unit(`ou=Berlin,${people}`), unit(`ou=Paris,${people}`), unit(teams),
  person('ann', `ou=Berlin,${people}`, 'employeeType: staff\n'), person('bob', `ou=Paris,${people}`, 'employeeType: staff\n'),
  person('guest', `ou=Paris,${people}`), person('robot', `ou=Paris,${people}`, 'employeeType: robot\n'),
  group('web', [ann, bob], `owner: ${ann}\n`), group('mail', [bob], `owner: ${bob}\n`), group('party', [ann, bob]),
  group('operators', [bob]), group('cloud-admins', [ann]),
].join('\n');

let slapd: SlapdServer;
let database: TestDatabase;

beforeAll(async () => {
  const rights = ['access to attrs=userPassword by anonymous auth by * none', `access to * by dn.exact="cn=robot of Paris,ou=Paris,${people}" read by * none`];
  [slapd, database] = await Promise.all([startSlapd({ layout: company, settings: rights }), createTestDatabase()]);
});

afterAll(async () => {
  await Promise.all([slapd.close(), database.close()]);
});

const foreign: Partial<LdapSettings> = {
  userBase: people, userFilter: '(employeeType=staff)', userId: 'uid', userName: 'uid', groupBase: teams, projectRoles: 'global',
  roleGroups: { cloudadmin: `cn=cloud-admins,${teams}`, sysadmin: `cn=operators,${teams}` }, cacheMs: 0,
};

const open = (changes: Partial<LdapSettings> = {}) => createLdapAuthDriver({
  db: database.db, clock: systemClock, log: silentLog, ownNames: ['admin', 'novact-system'], ldap: slapdSettings(slapd, { ...foreign, ...changes }),
});

const unsupported = { kind: 'unsupported' };

describe('A6: a directory that is only read', () => {
  test('has users by its own attributes and at any depth, projects with their owners, and roles by the groups that are named', async () => {
    const driver = open({ access: 'read' });
    expect((await driver.users()).map(({ name }) => name)).toEqual(['ann', 'bob']);
    const user = await driver.user('ann');
    expect(user).toEqual({ id: 'ann', name: 'ann', isAdmin: false, enabled: true, createdAt: expect.any(Date) });
    expect(Math.abs(Date.now() - Number(user?.createdAt))).toBeLessThan(10 * 60_000);
    expect([await driver.user('guest'), await driver.user('robot'), await driver.user('ann of Berlin')]).toEqual([undefined, undefined, undefined]);
    expect((await driver.projects()).map(({ name, managerId }) => [name, managerId])).toEqual([['mail', 'bob'], ['web', 'ann']]);
    expect((await driver.projects('ann')).map(({ name }) => name)).toEqual(['web']);
    const web = await driver.project('web');
    expect(web).toEqual({ id: madeId('web'), name: 'web', description: 'web', managerId: 'ann' });
    expect(await driver.project(madeId('web'))).toEqual(web);
    expect(await driver.members(madeId('web'))).toEqual(['ann', 'bob']);
    expect([await driver.roles('ann'), await driver.roles('bob')]).toEqual([['cloudadmin'], ['sysadmin']]);
    expect(await driver.roles('bob', madeId('web'))).toEqual(['sysadmin']);
    expect(await driver.roles('ann', madeId('mail'))).toEqual([]);
    await driver.close();
  });

  test('is looked at only as deep as the settings say', async () => {
    const driver = open({ access: 'read', userDepth: 'one' });
    expect(await driver.users()).toEqual([]);
    const berlin = open({ access: 'read', userDepth: 'one', userBase: `ou=Berlin,${people}` });
    expect((await berlin.users()).map(({ name }) => name)).toEqual(['ann']);
    await Promise.all([driver.close(), berlin.close()]);
  });

  test('refuses every change of it, and changes nothing', async () => {
    const driver = open({ access: 'read' });
    const before = await slapd.ldapsearch('-b', slapdSuffix);
    const web = madeId('web');
    const changes = [
      () => driver.createUser({ id: 'x', name: 'x', isAdmin: false, enabled: true }), () => driver.modifyUser('ann', { isAdmin: true }),
      () => driver.createProject({ id: '123456789012', name: 'x', description: 'x', managerId: 'ann' }, []),
      () => driver.modifyProject(web, { description: 'x' }), () => driver.deleteProject(web), () => driver.addMember(web, 'bob'),
      () => driver.removeMember(web, 'bob'), () => driver.addRole('bob', 'cloudadmin'), () => driver.removeRole('ann', 'cloudadmin'),
      () => driver.addRole('ann', 'sysadmin', web),
    ];
    for (const change of changes) await expect(change()).rejects.toMatchObject(unsupported);
    expect(await slapd.ldapsearch('-b', slapdSuffix)).toBe(before);
    const auth = new AuthManager({ driver, sealer: createSealer(Buffer.alloc(32)) });
    await expect(auth.addRole('bob', 'cloudadmin')).rejects.toMatchObject({ name: 'ApiError', code: 'UnmodifiableEntity' });
    await driver.close();
  });

  test('needs no more than the right to read, and lets its people have keys, be disabled here, and act', async () => {
    const driver = open({ access: 'read', bindDn: `cn=robot of Paris,ou=Paris,${people}`, password: new Secret('robot\'s word') });
    const auth = new AuthManager({ driver, sealer: createSealer(Buffer.alloc(32, 1)) });
    const { accessKeyId, secretAccessKey } = await auth.createAccessKey({ user: 'bob', project: 'web' });
    const credential = await auth.findCredential(accessKeyId);
    expect(credential?.secret).toBe(secretAccessKey);
    const principal = credential && (await auth.principalOf(credential));
    expect(principal).toMatchObject({ userName: 'bob', projectName: 'web', projectId: madeId('web'), isAdmin: false });
    expect([...(principal?.roles ?? [])]).toEqual(['sysadmin']);
    await auth.modifyUser('bob', { enabled: false });
    expect(await auth.findCredential(accessKeyId)).toBeUndefined();
    await auth.modifyUser('bob', { enabled: true });
    expect(await auth.findCredential(accessKeyId)).toBeDefined();
    await driver.close();
  });

  test('is asked for passwords by bind, and an empty one is nobody\'s', async () => {
    const driver = open({ access: 'read' });
    expect(await driver.checkPassword('ann', 'ann\'s word')).toBe(true);
    for (const wrong of ['', 'bob\'s word', 'ann\'s word ', '\0', 'x'.repeat(10_000)]) expect(await driver.checkPassword('ann', wrong)).toBe(false);
    // Who is no user of the cloud has no way in with a right password, and neither has an account of novact's own.
    for (const who of ['guest', 'robot', 'nobody', '*', 'admin']) expect(await driver.checkPassword(who, `${who}'s word`)).toBe(false);
    await driver.close();
  });

  test('does not hide novact\'s own accounts, and cannot pose as them', async () => {
    await slapd.load(`${person('admin', `ou=Paris,${people}`, 'employeeType: staff\n')}\n${group('admin', [ann], `owner: ${ann}\n`)}`);
    const driver = open({ access: 'read' });
    expect(await driver.user('admin')).toBeUndefined();
    expect((await driver.users()).map(({ name }) => name)).toEqual(['ann', 'bob']);
    await driver.createUser({ id: 'AIDAOWN', name: 'admin', isAdmin: true, enabled: true });
    await driver.createProject({ id: '999999999999', name: 'admin', description: 'own', managerId: 'AIDAOWN' }, []);
    expect(await driver.user('admin')).toMatchObject({ id: 'AIDAOWN', name: 'admin', isAdmin: true, enabled: true });
    expect(await driver.project('admin')).toMatchObject({ id: '999999999999', description: 'own' });
    expect(await driver.members('999999999999')).toEqual(['AIDAOWN']);
    expect((await driver.projects('ann')).map(({ name }) => name)).toEqual(['web']);
    expect((await driver.users()).map(({ name }) => name)).toEqual(['admin', 'ann', 'bob']);
    // Nor by the id of one.
    await slapd.load(person('AIDAOWN', `ou=Berlin,${people}`, 'employeeType: staff\n'));
    const byCn = open({ access: 'read', userName: 'cn' });
    expect(await byCn.user('AIDAOWN of Berlin')).toBeUndefined();
    expect(await driver.user('AIDAOWN')).toMatchObject({ name: 'admin', isAdmin: true });
    await Promise.all([driver.close(), byCn.close()]);
  });
});

describe('A6: a directory whose people are not ours to make', () => {
  test('gives somebody our class and attribute, takes them back, and is else as before', async () => {
    const driver = open({ access: 'modify', userFilter: '(objectClass=novaUser)' });
    const before = await slapd.ldapsearch('-b', ann, '-s', 'base');
    expect(await driver.user('guest')).toBeUndefined();
    await driver.createUser({ id: 'ignored', name: 'guest', isAdmin: true, enabled: true });
    expect(await driver.user('guest')).toMatchObject({ id: 'guest', name: 'guest', isAdmin: true, enabled: true });
    const dn = `cn=guest of Paris,ou=Paris,${people}`;
    expect(await slapd.ldapsearch('-b', dn, '-s', 'base')).toMatch(/objectClass: novaUser\n(.*\n)*isNovaAdmin: TRUE/);
    await driver.modifyUser('guest', { isAdmin: false });
    expect(await driver.user('guest')).toMatchObject({ isAdmin: false });
    await driver.deleteUser('guest');
    expect(await driver.user('guest')).toBeUndefined();
    const after = await slapd.ldapsearch('-b', dn, '-s', 'base');
    expect(after).toContain('uid: guest');
    expect(after).not.toMatch(/nova/i);
    expect(await slapd.ldapsearch('-b', ann, '-s', 'base')).toBe(before);
    await driver.close();
  });

  test('has nobody made who is not there', async () => {
    const driver = open({ access: 'modify', userFilter: '(objectClass=novaUser)' });
    await expect(driver.createUser({ id: 'x', name: 'stranger', isAdmin: false, enabled: true })).rejects.toMatchObject({ kind: 'notFound' });
    expect(await slapd.ldapsearch('-b', slapdSuffix, '(uid=stranger)', 'dn')).toBe('');
    await driver.close();
  });
});
