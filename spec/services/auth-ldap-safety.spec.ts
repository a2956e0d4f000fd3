// What an LDAP driver does when things go wrong: a directory that is away, slow, restarted, or not the one it should be; and names that are meant
// to be more than names. Nobody is told that something does not exist because nobody could be asked.
import { createServer, type Server, type Socket } from 'node:net';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, test } from 'vitest';
import { AuthManager } from '../../src/auth/manager.ts';
import type { AuthDriver } from '../../src/drivers/auth/driver.ts';
import { createLdapAuthDriver } from '../../src/drivers/auth/ldap/ldap.ts';
import type { LdapSettings } from '../../src/drivers/auth/ldap/settings.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { Secret } from '../../src/lib/secret.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { freePort } from '../support/free-port.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { slapdManager, slapdSettings, slapdSuffix, startSlapd, type SlapdServer } from '../support/slapd-server.ts';

let slapd: SlapdServer;
let database: TestDatabase;
const opened: AuthDriver[] = [];

beforeAll(async () => {
  [slapd, database] = await Promise.all([startSlapd(), createTestDatabase()]);
  const driver = open();
  await driver.createUser({ id: 'AIDAANN', name: 'ann', isAdmin: false, enabled: true });
  await driver.createProject({ id: '111111111111', name: 'red', description: 'red', managerId: 'AIDAANN' }, []);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((driver) => driver.close()));
});

afterAll(async () => {
  await Promise.all([slapd.close(), database.close()]);
});

function open(changes: Partial<LdapSettings> = {}, clock: Clock = systemClock): AuthDriver {
  const driver = createLdapAuthDriver({
    db: database.db, clock, log: silentLog, ownNames: ['admin'], ldap: slapdSettings(slapd, { cacheMs: 0, timeoutMs: 10_000, ...changes }),
  });
  opened.push(driver);
  return driver;
}

/** Who asks may ask again; it is not said that there is no such thing. */
const away = { name: 'DriverError', kind: 'timeout' };

describe('A7: a directory that does not answer', () => {
  test('that is restarted, or killed and started again, is asked on new connections, bound as before', async () => {
    const driver = open();
    expect(await driver.user('ann')).toBeDefined();
    await slapd.kill9();
    await expect(driver.user('ann')).rejects.toMatchObject(away);
    await slapd.start();
    for (let time = 0; time < 8; time += 1) expect(await driver.user('ann')).toMatchObject({ id: 'AIDAANN' });
    await slapd.kill9();
    await slapd.start();
    // The first to ask finds a broken connection, and asks again on another.
    await driver.modifyProject('111111111111', { description: 'redder' });
    expect(await driver.project('red')).toMatchObject({ description: 'redder' });
  });

  test('that hangs costs each as long as the limit, then nobody anything, until it answers', async () => {
    const driver = open({ timeoutMs: 1_000 });
    const answers = () => expect.poll(() => driver.user('ann').catch(() => undefined), { timeout: 30_000 }).toBeDefined();
    await answers();
    slapd.pause();
    try {
      for (let time = 0; time < 3; time += 1) await expect(driver.user('ann')).rejects.toMatchObject(away);
      const startedAt = performance.now();
      for (let time = 0; time < 50; time += 1) await expect(driver.user('ann')).rejects.toMatchObject(away);
      // Fifty that waited would have taken fifty seconds.
      expect(performance.now() - startedAt).toBeLessThan(20_000);
    } finally {
      slapd.resume();
    }
    await answers();
  });

  test('lets nobody in: no key, no password; and novact\'s own accounts go on', async () => {
    const driver = open();
    const auth = new AuthManager({ driver, sealer: createSealer(Buffer.alloc(32)) });
    const { accessKeyId } = await auth.createAccessKey({ user: 'ann', project: 'red' });
    await auth.createUser({ name: 'admin', isAdmin: true });
    await auth.createProject({ name: 'admin', manager: 'admin' });
    const own = await auth.createAccessKey({ user: 'admin', project: 'admin' });
    await slapd.kill9();
    await expect(auth.findCredential(accessKeyId)).rejects.toMatchObject(away);
    await expect(driver.checkPassword('ann', 'x')).rejects.toMatchObject(away);
    const credential = await auth.findCredential(own.accessKeyId);
    expect(credential && (await auth.principalOf(credential))).toMatchObject({ userName: 'admin', isSuperuser: true });
    await slapd.start();
    expect(await auth.findCredential(accessKeyId)).toBeDefined();
  });

  test('is remembered for as long as the settings say and no longer', async () => {
    const clock = createManualClock();
    const driver = open({ cacheMs: 10_000, timeoutMs: 60_000 }, clock);
    await driver.user('ann');
    await slapd.kill9();
    await clock.advance(9_999);
    expect(await driver.user('ann')).toMatchObject({ id: 'AIDAANN' });
    await clock.advance(1);
    await expect(driver.user('ann')).rejects.toMatchObject(away);
    await slapd.start();
  });

  test('has others that are asked in its place', async () => {
    const driver = open({ urls: [`ldap://127.0.0.1:${await freePort()}`, slapd.url] });
    expect(await driver.user('ann')).toBeDefined();
  });

  test('that takes a connection and says nothing is given up, also in the middle of the handshake of TLS', async () => {
    const sockets: Socket[] = [];
    const silent: Server = createServer((socket) => void sockets.push(socket));
    await new Promise<void>((resolve) => { silent.listen(0, '127.0.0.1', resolve); });
    const { port } = silent.address() as { port: number };
    for (const scheme of ['ldap', 'ldaps']) {
      const startedAt = performance.now();
      await expect(open({ urls: [`${scheme}://127.0.0.1:${port}`], timeoutMs: 300 }).user('ann')).rejects.toMatchObject(away);
      expect(performance.now() - startedAt).toBeLessThan(10_000);
    }
    for (const socket of sockets) socket.destroy();
    silent.close();
  });
});

describe('A7: TLS', () => {
  test('secures both kinds of connection, with an authority that is given', async () => {
    for (const changes of [{}, { urls: [slapd.secureUrl] }]) expect(await open(changes).user('ann')).toBeDefined();
    expect(await open({ startTls: false }).user('ann')).toBeDefined();
  });

  test('refuses a server whose authority is another, before any password is sent', async () => {
    const other = await startSlapd();
    try {
      for (const urls of [[slapd.url], [slapd.secureUrl]]) await expect(open({ urls, authority: other.authority }).user('ann')).rejects.toMatchObject(away);
      // Nor one that answers to another name than the one asked for.
      expect(await open({ urls: [slapd.unnamedUrl], startTls: false }).user('ann')).toBeDefined();
      await expect(open({ urls: [slapd.unnamedUrl] }).user('ann')).rejects.toMatchObject(away);
    } finally {
      await other.close();
    }
  });

  test('is never left out by a server that has none', async () => {
    const sent: Buffer[] = [];
    const plain = createServer((socket) => socket.on('data', (data) => {
      sent.push(data);
      // An extended response to message 2: protocolError, as of a server without StartTLS.
      socket.write(Buffer.from([0x30, 0x0c, 0x02, 0x01, data[4] ?? 2, 0x78, 0x07, 0x0a, 0x01, 0x02, 0x04, 0x00, 0x04, 0x00]));
    }));
    await new Promise<void>((resolve) => { plain.listen(0, '127.0.0.1', resolve); });
    const { port } = plain.address() as { port: number };
    await expect(open({ urls: [`ldap://127.0.0.1:${port}`], timeoutMs: 500 }).user('ann')).rejects.toMatchObject({ name: 'DriverError' });
    expect(sent.length).toBeGreaterThan(0);
    expect(Buffer.concat(sent).includes(slapdManager.password)).toBe(false);
    plain.close();
  });
});

describe('A7: names that are meant to be more', () => {
  const strange = [
    '*', 'a*', '*)(uid=*', 'ann)(objectClass=*', '\\2a', 'ann\\', '(', ')', '&', '|(uid=ann)', 'ann,ou=Groups',
    'ann+cn=x', '"ann"', '<ann>', '#ann', ' ann', 'ann ',
    'ann\0', '\0', 'ä', '漢字', '\u{1F600}', 'a\nb', 'a\rb: x',
    '__proto__', 'constructor', 'x'.repeat(5_000), '=', 'uid=AIDAANN', `uid=AIDAANN,ou=Users,${slapdSuffix}`,
  ];

  test('find nobody and nothing', async () => {
    const driver = open();
    for (const name of strange) {
      expect([name, await driver.user(name), await driver.project(name), await driver.roles(name)]).toEqual([name, undefined, undefined, []]);
      expect(await driver.checkPassword(name, 'x')).toBe(false);
    }
  });

  test('are, where they are made, found again as what they are, and nothing else is touched', async () => {
    const driver = open();
    const before = await slapd.ldapsearch('-b', slapdSuffix);
    const makeable = strange.filter((name) => name.length < 100 && !name.includes('\0') && name.trim() === name);
    for (const [number, name] of makeable.entries()) {
      const user = { id: `${name}!`, name, isAdmin: false, enabled: true };
      await driver.createUser(user);
      const project = { id: String(500_000_000_000 + number), name, description: 'strange', managerId: user.id };
      await driver.createProject(project, ['AIDAANN']);
      await driver.addRole(user.id, 'developer', project.id);
      expect([await driver.user(name), await driver.user(user.id), await driver.project(name)]).toMatchObject([user, user, project]);
      expect(await driver.members(project.id)).toEqual(['AIDAANN', user.id].toSorted());
      expect(await driver.roles(user.id, project.id)).toEqual(['developer']);
      await driver.deleteProject(project.id);
      await driver.deleteUser(user.id);
    }
    expect(await slapd.ldapsearch('-b', slapdSuffix)).toBe(before);
  });

  test('of two people who are called the same mean nobody', async () => {
    await slapd.load(['one', 'two'].map((uid) =>
      `dn: uid=${uid},ou=Users,${slapdSuffix}\nobjectClass: inetOrgPerson\nobjectClass: novaUser\nuid: ${uid}\ncn: twin\nsn: twin\n`).join('\n'));
    const driver = open();
    await expect(driver.user('twin')).rejects.toMatchObject({ kind: 'failed' });
    expect(await driver.user('two')).toMatchObject({ id: 'two', name: 'twin' });
  });
});

it('A7: fifty at once share a few connections, and each gets its own answer', async () => {
  const driver = open({ connectionsMax: 2 });
  const found = await Promise.all(Array.from({ length: 50 }, (_, number) => driver.user(number % 2 === 0 ? 'ann' : `nobody-${number}`)));
  expect(found.filter((user) => user?.id === 'AIDAANN')).toHaveLength(25);
  expect(found.filter((user) => user === undefined)).toHaveLength(25);
});

it('A7: of many who make the same user or project at once, one does', async () => {
  const driver = open();
  const users = await Promise.allSettled(Array.from({ length: 8 }, (_, number) =>
    driver.createUser({ id: `AIDARACE${number}`, name: 'racer', isAdmin: false, enabled: true })));
  expect(users.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  const projects = await Promise.allSettled(Array.from({ length: 8 }, (_, number) =>
    driver.createProject({ id: `70000000000${number}`, name: number < 4 ? 'race' : `race-${number}`, description: 'x', managerId: 'AIDAANN' }, [])));
  expect(projects.filter(({ status }) => status === 'fulfilled')).toHaveLength(5);
  for (const failed of [...users, ...projects].filter(({ status }) => status === 'rejected')) expect(failed).toMatchObject({ reason: { kind: 'busy' } });
});

it('A13: neither passwords nor the account of novact are in errors', async () => {
  const wrong = open({ password: new Secret('not the password') });
  const error = await wrong.user('ann').catch((caught: unknown) => caught);
  expect(error).toMatchObject(away);
  await slapd.kill9();
  const other = await open().checkPassword('ann', 'a password of ann').catch((caught: unknown) => caught);
  await slapd.start();
  for (const shown of [inspect(error, { depth: 10 }), inspect(other, { depth: 10 }), inspect(slapdSettings(slapd), { depth: 10 })]) {
    expect(shown).not.toMatch(/not the password|a password of ann|correct horse/);
  }
});
