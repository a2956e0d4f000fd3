// What `novact manage user`, `project`, `role`, `instance-type`, `config` and `db` do.
import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createManage, type ManageAnswer } from '../../../src/api/ops/perform-manage.ts';
import { AuthManager } from '../../../src/auth/manager.ts';
import { expandWords } from '../../../src/cli/manage.ts';
import { loadSettings } from '../../../src/config/load.ts';
import { seedInstanceTypes } from '../../../src/db/instance-types.ts';
import { createDbAuthDriver } from '../../../src/drivers/auth/db.ts';
import { systemClock as clock } from '../../../src/lib/clock.ts';
import { createSealer } from '../../../src/lib/sealed.ts';
import type { ManageDeps } from '../../../src/roles/manage/deps.ts';
import { manageCommands } from '../../../src/roles/manage/index.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let auth: AuthManager;
let ask: (category: string, verb: string, args?: Record<string, unknown>) => Promise<ManageAnswer>;

beforeAll(async () => {
  database = await createTestDatabase();
  const sealer = createSealer(randomBytes(32));
  auth = new AuthManager({ driver: createDbAuthDriver({ db: database.db, clock }), sealer });
  const around = { isRoot: true, home: '/root', hostname: 'host1', installation: '/opt/novact' };
  const { settings } = loadSettings({ environment: { NOVACT_DATABASE_URL: 'postgres://joe:geheim@db/novact' }, directory: '/nowhere', around });
  const perform = createManage(manageCommands, { db: database.db, auth, sealer, clock, settings } as unknown as ManageDeps);
  ask = (category, verb, args = {}) => perform({ category, verb, args });
  await seedInstanceTypes(database.db);
});
afterAll(() => database.close());

async function done(...wanted: Parameters<typeof ask>): Promise<unknown> {
  const answer = await ask(...wanted);
  return answer.outcome === 'done' ? answer.result : answer;
}
const refusal = async (...wanted: Parameters<typeof ask>): Promise<string> => {
  const answer = await ask(...wanted);
  return answer.outcome === 'refused' ? answer.message : JSON.stringify(answer);
};

describe('A1: users', () => {
  it('are made with a key that is told once, listed, disabled, and removed', async () => {
    const made = (await done('user', 'create', { name: 'ann' })) as { accessKey: string; secretKey: string };
    expect((await auth.findCredential(made.accessKey))?.secret).toBe(made.secretKey);
    const given = { name: 'bob', access: 'bobs-key', secret: 'bobs-secret', admin: true };
    expect(await done('user', 'create', given)).toEqual({ name: 'bob', accessKey: 'bobs-key', secretKey: 'bobs-secret' });
    expect(await refusal('user', 'create', { name: 'ann' })).toContain('ann');
    expect(await refusal('user', 'create', { name: 'carl', access: 'bobs-key', secret: 'x'.repeat(20) })).toContain('bobs-key');
    expect(await auth.user('carl')).toBeUndefined();
    expect(await done('user', 'list')).toMatchObject([{ name: 'ann', admin: false, keys: 1 }, { name: 'bob', admin: true, enabled: true }]);
    await done('user', 'modify', { name: 'bob', admin: 'no', enabled: 'no' });
    expect(await done('user', 'list')).toMatchObject([{}, { name: 'bob', admin: false, enabled: false }]);
    expect(await refusal('user', 'exports', { name: 'bob' })).toBe('bob has no key that is good');
    expect(await done('user', 'exports', { name: 'ann' })).toBe(`export EC2_ACCESS_KEY=${made.accessKey}\nexport EC2_SECRET_KEY=${made.secretKey}`);
    await done('user', 'delete', { name: 'bob' });
    expect(await refusal('user', 'delete', { name: 'bob' })).toContain('cannot be found');
  });

  it('have several keys: an old one is refused as soon as it is rotated or disabled', async () => {
    const { accessKey } = (await done('user', 'key', { name: 'ann' })) as { accessKey: string };
    const rotated = (await done('user', 'rotate', { key: accessKey })) as { accessKey: string; secretKey: string };
    expect(await auth.findCredential(accessKey)).toBeUndefined();
    expect((await auth.findCredential(rotated.accessKey))?.secret).toBe(rotated.secretKey);
    await done('user', 'switch-key', { key: rotated.accessKey, enabled: 'no' });
    expect(await auth.findCredential(rotated.accessKey)).toBeUndefined();
    const keys = (await done('user', 'keys', { name: 'ann' })) as { accessKey: string; enabled: boolean }[];
    expect(keys.find((key) => key.accessKey === rotated.accessKey)).toMatchObject({ enabled: false, project: '(any)' });
    expect(JSON.stringify(keys)).not.toContain(rotated.secretKey);
    expect(await refusal('user', 'rotate', { key: 'nobodys' })).toContain('cannot be found');
    expect(await done('user', 'blocked')).toEqual([]);
    expect(await done('user', 'unblock', { kind: 'password', id: 'ann' })).toBe('nothing was held against ann');
  });
});

describe('A2: projects', () => {
  it('are made, given members and another manager, and removed', async () => {
    await done('user', 'create', { name: 'dora' });
    expect(await done('project', 'create', { name: 'shop', manager: 'ann', description: 'Our shop' })).toMatch(/^the project shop is there: \d{12}$/);
    await done('project', 'add', { project: 'shop', user: 'dora' });
    expect(await done('project', 'list')).toMatchObject([{ name: 'shop', manager: 'ann', members: 'ann dora', description: 'Our shop' }]);
    expect(await refusal('project', 'remove', { project: 'shop', user: 'ann' })).toContain('manages the project');
    await done('project', 'modify', { project: 'shop', manager: 'dora' });
    await done('project', 'remove', { project: 'shop', user: 'ann' });
    expect(await done('project', 'list', { user: 'dora' })).toMatchObject([{ name: 'shop', manager: 'dora', members: 'dora' }]);
    expect(await refusal('user', 'delete', { name: 'dora' })).toContain('manages the project');
    const environment = (await done('project', 'environment', { project: 'shop', user: 'dora' })) as { file: { name: string; base64: string } };
    expect(environment.file.name).toBe('novarc');
    expect(Buffer.from(environment.file.base64, 'base64').toString()).toContain('export EC2_URL=http://127.0.0.1:8773/services/Cloud\n');
    await done('project', 'delete', { project: 'shop' });
    expect(await done('project', 'list')).toEqual([]);
    expect(await refusal('project', 'create', { name: 'x', manager: 'nobody' })).toContain('cannot be found');
  });
});

describe('A3: roles', () => {
  it('count in a project where they are held globally and there', async () => {
    await done('project', 'create', { name: 'mill', manager: 'dora' });
    await done('project', 'add', { project: 'mill', user: 'ann' });
    const has = () => done('role', 'has', { user: 'ann', role: 'netadmin', project: 'mill' });
    await done('role', 'add', { user: 'ann', role: 'netadmin', project: 'mill' });
    expect(await has()).toBe('no');
    await done('role', 'add', { user: 'ann', role: 'netadmin' });
    expect(await has()).toBe('yes');
    expect(await done('role', 'list', { user: 'ann' })).toEqual([{ role: 'netadmin', project: '(global)' }, { role: 'netadmin', project: 'mill' }]);
    await done('role', 'remove', { user: 'ann', role: 'netadmin', project: 'mill' });
    expect(await has()).toBe('no');
    expect(await refusal('role', 'add', { user: 'ann', role: 'king' })).toContain('role');
    expect(await refusal('role', 'add', { user: 'ann', role: 'itsec', project: 'mill' })).toContain('global only');
  });
});

describe('the rest', () => {
  it('instance types are added and taken away, but not those that come with novact', async () => {
    expect(await done('instance-type', 'create', { name: 'z1.huge', memoryMiB: 65_536, cores: 32 })).toBe('z1.huge can be launched');
    expect(await refusal('instance-type', 'create', { name: 'z1.huge', memoryMiB: 1_024, cores: 1 })).toContain('already');
    expect(((await done('instance-type', 'list')) as unknown[]).at(-1)).toEqual({ name: 'z1.huge', memoryMiB: 65_536, cores: 32, rootGiB: 0 });
    expect(await done('instance-type', 'delete', { name: 'z1.huge' })).toBe('z1.huge is gone');
    expect(await refusal('instance-type', 'delete', { name: 'z1.huge' })).toContain('there is no instance type');
    expect(await refusal('instance-type', 'delete', { name: 'm1.tiny' })).toContain('comes with novact');
  });

  it('settings are shown without secrets, and the age of the schema', async () => {
    const rows = (await done('config', 'list')) as { name: string; value: string }[];
    expect(rows).toContainEqual({ name: 'NOVACT_API_PORT', value: '8773' });
    expect(JSON.stringify(rows)).not.toContain('geheim');
    expect(await done('config', 'list', { match: 'api_port' })).toEqual([{ name: 'NOVACT_API_PORT', value: '8773' }]);
    expect(String(await done('db', 'version'))).toMatch(/^20\d\d-\d\d-\d\dT/);
  });

  it('G1: categories and verbs can be shortened as long as it is clear what they mean', () => {
    expect(expandWords(['u', 'l'], manageCommands)).toEqual(['user', 'list']);
    expect(expandWords(['proj', 'zip', 'shop', 'ann'], manageCommands)).toEqual(['project', 'zipfile', 'shop', 'ann']);
    for (const word of ['instances', 'inst', 'instance']) expect(expandWords([word, 'l'], manageCommands)).toEqual(['instance', 'list']);
    expect(expandWords(['vm', 'live_migration'], manageCommands)).toEqual(['vm', 'live-migration']);
    expect(() => expandWords(['v'], manageCommands)).toThrow('short for vm and volume and vpn');
    const names = manageCommands.map(({ category, verb }) => `${category} ${verb}`);
    expect(new Set(names).size).toBe(names.length);
  });
});
