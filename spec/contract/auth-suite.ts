// What every auth store must do. spec/contract runs it over those of the database and of memory, spec/services over a directory.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { AuthDriver, UserRecord } from '../../src/drivers/auth/driver.ts';

/** Names differ from test to test: all tests share one database. */
let suffix = 0;

/** `create` is asked anew for each test. */
export function authSuite(store: string, create: () => Promise<AuthDriver> | AuthDriver): void {
  describe(`the auth store ${store}`, () => {
    let driver: AuthDriver;
    let ann: UserRecord;
    let bob: UserRecord;
    let project: { id: string; name: string; description: string; managerId: string };

    beforeEach(async () => {
      suffix += 1;
      driver = await create();
      ann = { id: `ID-ann-${suffix}`, name: `ann-${suffix}`, isAdmin: false, enabled: true };
      bob = { id: `ID-bob-${suffix}`, name: `bob-${suffix}`, isAdmin: true, enabled: true };
      project = { id: `${suffix}`.padStart(12, '9'), name: `project-${suffix}`, description: 'a test', managerId: ann.id };
      await driver.createUser(ann);
      await driver.createUser(bob);
      await driver.createProject(project, [bob.id]);
    });

    afterEach(() => driver.close());

    const key = (id: string, projectId?: string) =>
      ({ id: `${id}-${suffix}`, userId: ann.id, projectId: projectId ?? undefined, sealedSecret: 'sealed', enabled: true });

    test('a user is found by id and by name, and by nothing else', async () => {
      expect(await driver.user(ann.id)).toMatchObject(ann);
      expect(await driver.user(bob.name)).toMatchObject(bob);
      expect(await driver.user(ann.name.toUpperCase())).toBeUndefined();
      for (const name of ["' or '1'='1", `${ann.name}\0`, '\0', '']) {
        expect([await driver.user(name), await driver.project(name), await driver.accessKey(name)]).toEqual([undefined, undefined, undefined]);
      }
      expect((await driver.users()).filter(({ id }) => [ann.id, bob.id].includes(id))).toMatchObject([ann, bob]);
    });

    test('a taken name or id is busy', async () => {
      await expect(driver.createUser({ ...ann, id: 'other' })).rejects.toMatchObject({ kind: 'busy' });
      await expect(driver.createUser({ ...ann, name: 'other' })).rejects.toMatchObject({ kind: 'busy' });
      await expect(driver.createProject({ ...project, id: '000000000000' }, [])).rejects.toMatchObject({ kind: 'busy' });
      await driver.createAccessKey(key('AK'));
      await expect(driver.createAccessKey(key('AK'))).rejects.toMatchObject({ kind: 'busy' });
    });

    test('changes touch what they name and nothing else', async () => {
      await driver.modifyUser(ann.id, { enabled: false });
      await driver.modifyUser(ann.id, {});
      expect(await driver.user(ann.id)).toMatchObject({ ...ann, enabled: false });
      await driver.modifyProject(project.id, { description: 'new' });
      expect(await driver.project(project.name)).toEqual({ ...project, description: 'new' });
    });

    test('what does not exist is notFound', async () => {
      const absent = { kind: 'notFound' };
      await expect(driver.modifyUser('nobody', { enabled: false })).rejects.toMatchObject(absent);
      await expect(driver.modifyUser('nobody', {})).rejects.toMatchObject(absent);
      await expect(driver.deleteUser('nobody')).rejects.toMatchObject(absent);
      await expect(driver.modifyProject('nothing', { description: 'x' })).rejects.toMatchObject(absent);
      await expect(driver.deleteProject('nothing')).rejects.toMatchObject(absent);
      await expect(driver.modifyAccessKey('none', { enabled: false })).rejects.toMatchObject(absent);
      await expect(driver.deleteAccessKey('none')).rejects.toMatchObject(absent);
      await expect(driver.createProject({ ...project, id: '1', name: 'other', managerId: 'nobody' }, [])).rejects.toMatchObject(absent);
      await expect(driver.addMember(project.id, 'nobody')).rejects.toMatchObject(absent);
      await expect(driver.addMember('nothing', ann.id)).rejects.toMatchObject(absent);
      await expect(driver.addRole('nobody', 'sysadmin')).rejects.toMatchObject(absent);
      await expect(driver.addRole(ann.id, 'sysadmin', 'nothing')).rejects.toMatchObject(absent);
      await expect(driver.createAccessKey({ ...key('AK'), userId: 'nobody' })).rejects.toMatchObject(absent);
      expect([await driver.project('nothing'), await driver.accessKey('none')]).toEqual([undefined, undefined]);
      expect(await driver.members('nothing')).toEqual([]);
    });

    test('a project that could not be made whole is not there', async () => {
      await expect(driver.createProject({ ...project, id: '2', name: `half-${suffix}` }, ['nobody'])).rejects.toMatchObject({ kind: 'notFound' });
      expect(await driver.project(`half-${suffix}`)).toBeUndefined();
    });

    test('the manager is a member, also a new one', async () => {
      expect(await driver.members(project.id)).toEqual([ann.id, bob.id]);
      await driver.removeMember(project.id, bob.id);
      await driver.removeMember(project.id, bob.id);
      expect(await driver.members(project.id)).toEqual([ann.id]);
      await driver.modifyProject(project.id, { managerId: bob.id });
      expect(await driver.members(project.id)).toEqual([ann.id, bob.id]);
    });

    test('the projects of a member are listed, and those of others not', async () => {
      await driver.createProject({ ...project, id: `${suffix}`.padStart(12, '8'), name: `z-${suffix}` }, []);
      expect((await driver.projects(ann.id)).map(({ name }) => name)).toEqual([project.name, `z-${suffix}`]);
      expect(await driver.projects(bob.id)).toEqual([project]);
      expect((await driver.projects()).map(({ name }) => name)).toEqual(expect.arrayContaining([project.name, `z-${suffix}`]));
    });

    test('roles are kept apart, global and of each project, and given and taken twice without harm', async () => {
      await driver.addRole(ann.id, 'sysadmin');
      await driver.addRole(ann.id, 'sysadmin');
      await driver.addRole(ann.id, 'netadmin', project.id);
      await driver.addRole(ann.id, 'developer', project.id);
      expect(await driver.roles(ann.id)).toEqual(['sysadmin']);
      expect(await driver.roles(ann.id, project.id)).toEqual(['developer', 'netadmin']);
      await driver.removeRole(ann.id, 'netadmin');
      await driver.removeRole(ann.id, 'netadmin', project.id);
      await driver.removeRole(ann.id, 'netadmin', project.id);
      expect([await driver.roles(ann.id), await driver.roles(ann.id, project.id)]).toEqual([['sysadmin'], ['developer']]);
    });

    test('a member who leaves loses the roles of the project and no others', async () => {
      await driver.addRole(bob.id, 'sysadmin');
      await driver.addRole(bob.id, 'sysadmin', project.id);
      await driver.removeMember(project.id, bob.id);
      await driver.addMember(project.id, bob.id);
      await driver.addMember(project.id, bob.id);
      expect([await driver.roles(bob.id), await driver.roles(bob.id, project.id)]).toEqual([['sysadmin'], []]);
    });

    test('a user who is deleted takes memberships, roles and keys along', async () => {
      await driver.addRole(bob.id, 'sysadmin', project.id);
      await driver.createAccessKey({ ...key('AK-bob'), userId: bob.id });
      await driver.deleteUser(bob.id);
      expect(await driver.members(project.id)).toEqual([ann.id]);
      expect(await driver.accessKey(`AK-bob-${suffix}`)).toBeUndefined();
      await driver.createUser(bob);
      expect(await driver.roles(bob.id, project.id)).toEqual([]);
    });

    test('what is told of a key in one look, where a store has that, is what the single questions tell', async () => {
      const { keyHolder } = driver;
      if (keyHolder === undefined) return;
      for (const role of ['sysadmin', 'developer']) await driver.addRole(bob.id, role);
      await driver.createAccessKey({ ...key('AK-with', project.id), userId: bob.id });
      await driver.createAccessKey({ ...key('AK-without'), userId: bob.id });
      const compare = async (id: string) => {
        const accessKey = await driver.accessKey(id);
        const held = accessKey?.projectId === undefined ? undefined : await driver.project(accessKey.projectId);
        const inProject = held && {
          ...held, isMember: (await driver.members(held.id)).includes(bob.id), roles: await driver.roles(bob.id, held.id),
        };
        expect(await keyHolder(id)).toEqual({
          key: accessKey, user: await driver.user(bob.id), globalRoles: await driver.roles(bob.id), project: inProject, lockedUntil: undefined,
        });
        return inProject;
      };
      expect(await compare(`AK-with-${suffix}`)).toMatchObject({ isMember: true, roles: [] });
      await driver.addRole(bob.id, 'netadmin', project.id);
      expect(await compare(`AK-with-${suffix}`)).toMatchObject({ isMember: true, roles: ['netadmin'] });
      expect(await compare(`AK-without-${suffix}`)).toBeUndefined();
      await driver.removeMember(project.id, bob.id);
      await driver.modifyUser(bob.id, { enabled: false });
      await driver.modifyAccessKey(`AK-with-${suffix}`, { enabled: false });
      expect(await compare(`AK-with-${suffix}`)).toMatchObject({ isMember: false, roles: [] });
      for (const id of ['none', '', `AK-with-${suffix}\0`]) expect(await keyHolder(id)).toBeUndefined();
    });

    test('a manager is busy, and is still there after being refused', async () => {
      await expect(driver.deleteUser(ann.id)).rejects.toMatchObject({ kind: 'busy' });
      expect(await driver.user(ann.id)).toMatchObject(ann);
    });

    test('keys are made, listed, disabled and deleted; a deleted project leaves its keys', async () => {
      await driver.createAccessKey(key('AK-1', project.id));
      await driver.createAccessKey(key('AK-2'));
      await driver.modifyAccessKey(`AK-2-${suffix}`, { enabled: false });
      expect(await driver.accessKeys(ann.id)).toMatchObject([key('AK-1', project.id), { ...key('AK-2'), enabled: false }]);
      await driver.addRole(ann.id, 'sysadmin', project.id);
      await driver.deleteProject(project.id);
      expect(await driver.accessKey(`AK-1-${suffix}`)).toMatchObject(key('AK-1'));
      expect([await driver.members(project.id), await driver.roles(ann.id, project.id)]).toEqual([[], []]);
      await driver.deleteAccessKey(`AK-1-${suffix}`);
      expect(await driver.accessKeys(ann.id)).toMatchObject([{ ...key('AK-2'), enabled: false }]);
    });
  });
}
