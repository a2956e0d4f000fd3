import { inspect } from 'node:util';
import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { AuthManager } from '../../../src/auth/manager.ts';
import type { Principal } from '../../../src/auth/principal.ts';
import { createFakeAuthDriver } from '../../../src/drivers/auth/fake.ts';
import type { AuthDriver } from '../../../src/drivers/auth/driver.ts';
import { createSealer } from '../../../src/lib/sealed.ts';

let driver: AuthDriver;
let auth: AuthManager;

beforeEach(async () => {
  driver = createFakeAuthDriver();
  auth = new AuthManager({ driver, sealer: createSealer(randomBytes(32)) });
  for (const name of ['ann', 'bob', 'eve']) await auth.createUser({ name });
  await auth.createProject({ name: 'red', manager: 'ann', members: ['bob'] });
  await auth.createProject({ name: 'blue', manager: 'ann' });
});

async function actAs(accessKeyId: string): Promise<Principal | undefined> {
  const credential = await auth.findCredential(accessKeyId);
  return credential && auth.principalOf(credential);
}

const code = (value: string) => ({ name: 'ApiError', code: value });

describe('access keys', () => {
  test('a key finds its secret again, and the store never has it', async () => {
    const { accessKeyId, secretAccessKey } = await auth.createAccessKey({ user: 'bob' });
    expect((await auth.findCredential(accessKeyId))?.secret).toBe(secretAccessKey);
    expect(inspect(await driver.accessKeys((await auth.requireUser('bob')).id))).not.toContain(secretAccessKey);
    expect(inspect(await auth.accessKeys('bob'))).not.toMatch(/sealed/);
  });

  test('a disabled key, a deleted key, a rotated key and a key of a disabled user are refused at once', async () => {
    const { accessKeyId } = await auth.createAccessKey({ user: 'bob' });
    await auth.modifyAccessKey(accessKeyId, { enabled: false });
    expect(await auth.findCredential(accessKeyId)).toBeUndefined();
    await auth.modifyAccessKey(accessKeyId, { enabled: true });
    await auth.modifyUser('bob', { enabled: false });
    expect(await auth.findCredential(accessKeyId)).toBeUndefined();
    await auth.modifyUser('bob', { enabled: true });
    const rotated = await auth.rotateAccessKey(accessKeyId);
    expect(await auth.findCredential(accessKeyId)).toBeUndefined();
    expect((await auth.findCredential(rotated.accessKeyId))?.secret).toBe(rotated.secretAccessKey);
    await auth.deleteAccessKey(rotated.accessKeyId);
    expect(await auth.findCredential(rotated.accessKeyId)).toBeUndefined();
  });

  test('a secret moved to another row in the store cannot be used', async () => {
    const { accessKeyId } = await auth.createAccessKey({ user: 'bob' });
    const stolen = await driver.accessKey(accessKeyId);
    const userId = (await auth.requireUser('eve')).id;
    await driver.createAccessKey({ id: 'AKIDMOVED', userId, projectId: undefined, enabled: true, sealedSecret: stolen?.sealedSecret ?? '' });
    await expect(auth.findCredential('AKIDMOVED')).rejects.toMatchObject({ name: 'SetupError' });
  });

  test('given ids and secrets are kept, and those that no header could carry refused', async () => {
    const given = { user: 'bob', accessKeyId: 'f1e2d3c4-old-nova-key', secretAccessKey: 'old secret'.replace(' ', '-') };
    await auth.createAccessKey(given);
    expect((await auth.findCredential(given.accessKeyId))?.secret).toBe('old-secret');
    await expect(auth.createAccessKey(given)).rejects.toMatchObject(code('EntityAlreadyExists'));
    for (const accessKeyId of ['a:b', 'a/b', '', 'ü'.repeat(4), 'x'.repeat(129)]) {
      await expect(auth.createAccessKey({ ...given, accessKeyId })).rejects.toMatchObject(code('ValidationError'));
    }
  });

  test('strange ids find nothing and break nothing', async () => {
    for (const id of ['', ':', ':red', 'x'.repeat(10_000), 'a\0b', '__proto__', "' or 1=1"]) expect(await auth.findCredential(id)).toBeUndefined();
    expect(await actAs(`${(await auth.createAccessKey({ user: 'bob' })).accessKeyId}:a\0b`)).toBeUndefined();
  });
});

describe('the project of a request', () => {
  test('is the one after the colon, by name or id, and only for members', async () => {
    const { accessKeyId } = await auth.createAccessKey({ user: 'bob', project: 'red' });
    const red = await auth.requireProject('red');
    expect((await actAs(`${accessKeyId}:red`))?.projectId).toBe(red.id);
    expect((await actAs(`${accessKeyId}:${red.id}`))?.projectName).toBe('red');
    expect(await actAs(`${accessKeyId}:blue`)).toBeUndefined();
    expect(await actAs(`${accessKeyId}:none`)).toBeUndefined();
  });

  test('is else the key’s, else the one named like the user, else the only one', async () => {
    const annBlue = await auth.createAccessKey({ user: 'ann', project: 'blue' });
    expect((await actAs(annBlue.accessKeyId))?.projectName).toBe('blue');
    const ann = await auth.createAccessKey({ user: 'ann' });
    expect(await actAs(ann.accessKeyId)).toBeUndefined();
    await auth.createProject({ name: 'ann', manager: 'ann' });
    expect((await actAs(ann.accessKeyId))?.projectName).toBe('ann');
    const bob = await auth.createAccessKey({ user: 'bob' });
    expect((await actAs(bob.accessKeyId))?.projectName).toBe('red');
    const eve = await auth.createAccessKey({ user: 'eve' });
    expect(await actAs(eve.accessKeyId)).toBeUndefined();
  });

  test('may be any for an admin, who needs no membership', async () => {
    await auth.modifyUser('eve', { isAdmin: true });
    const { accessKeyId } = await auth.createAccessKey({ user: 'eve' });
    expect(await actAs(`${accessKeyId}:red`)).toMatchObject({ isAdmin: true, isSuperuser: true, projectName: 'red', userName: 'eve', accessKeyId });
    await auth.modifyUser('eve', { isAdmin: false });
    await auth.addRole('eve', 'itsec');
    expect(await actAs(`${accessKeyId}:red`)).toMatchObject({ isAdmin: true, isSuperuser: false });
  });
});

describe('roles', () => {
  test('count where they are held globally and in the project', async () => {
    await auth.addRole('bob', 'sysadmin');
    expect([await auth.hasRole('bob', 'sysadmin'), await auth.hasRole('bob', 'sysadmin', 'red')]).toEqual([true, false]);
    await auth.addRole('bob', 'sysadmin', 'red');
    expect(await auth.hasRole('bob', 'sysadmin', 'red')).toBe(true);
    expect([...(await auth.principalFor('bob', 'red')).roles]).toEqual(['sysadmin']);
    await auth.removeRole('bob', 'sysadmin');
    expect(await auth.hasRole('bob', 'sysadmin', 'red')).toBe(false);
    expect(await auth.roles('bob', 'red')).toEqual(['sysadmin']);
  });

  test('unknown ones, derived ones and global-only ones in a project are refused', async () => {
    for (const role of ['root', 'projectmanager', '']) await expect(auth.addRole('bob', role)).rejects.toMatchObject(code('NoSuchEntity'));
    for (const role of ['cloudadmin', 'itsec']) {
      await expect(auth.addRole('bob', role, 'red')).rejects.toMatchObject(code('NoSuchEntity'));
      await auth.addRole('bob', role);
    }
    expect([await auth.isSuperuser('bob'), await auth.isAdmin('bob')]).toEqual([true, true]);
    await expect(auth.addRole('nobody', 'sysadmin')).rejects.toMatchObject(code('NoSuchEntity'));
    await expect(auth.addRole('bob', 'sysadmin', 'nothing')).rejects.toMatchObject(code('NoSuchEntity'));
  });
});

describe('projects and users', () => {
  test('the manager is derived from the project and stays a member', async () => {
    expect([...(await auth.principalFor('ann', 'red')).roles]).toEqual(['projectmanager']);
    await expect(auth.removeMember('red', 'ann')).rejects.toMatchObject(code('DeleteConflict'));
    await auth.modifyProject('red', { manager: 'eve', description: 'new' });
    expect([await auth.isMember('red', 'eve'), await auth.isManager('red', 'eve'), await auth.isManager('red', 'ann')]).toEqual([true, true, false]);
    await auth.removeMember('red', 'ann');
    await expect(auth.principalFor('ann', 'red')).rejects.toMatchObject(code('NoSuchEntity'));
    expect((await auth.projects('ann')).map(({ name }) => name)).toEqual(['blue']);
  });

  test('a manager cannot be deleted, anybody else can, with all keys', async () => {
    await expect(auth.deleteUser('ann')).rejects.toMatchObject(code('DeleteConflict'));
    const { accessKeyId } = await auth.createAccessKey({ user: 'bob' });
    await auth.deleteUser('bob');
    expect([await auth.user('bob'), await auth.findCredential(accessKeyId)]).toEqual([undefined, undefined]);
  });

  test('names that are taken, empty, or look like ids are refused', async () => {
    await expect(auth.createUser({ name: 'ann' })).rejects.toMatchObject(code('EntityAlreadyExists'));
    await expect(auth.createProject({ name: 'red', manager: 'ann' })).rejects.toMatchObject(code('EntityAlreadyExists'));
    await expect(auth.createProject({ name: 'x', manager: 'nobody' })).rejects.toMatchObject(code('NoSuchEntity'));
    for (const name of ['', 'a b', 'a:b', 'a/b', '123456789012', 'x'.repeat(65), '../x']) {
      await expect(auth.createUser({ name })).rejects.toMatchObject(code('ValidationError'));
      await expect(auth.createProject({ name, manager: 'ann' })).rejects.toMatchObject(code('ValidationError'));
    }
  });
});
