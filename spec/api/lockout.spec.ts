// Who is wrong too often is locked out, whichever process of the api they ask: two auth managers over one database stand for two of them.
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { authenticateEc2, authenticateS3 } from '../../src/auth/authenticate.ts';
import { Lockout } from '../../src/auth/lockout.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { createDbAuthDriver } from '../../src/drivers/auth/db.ts';
import { systemClock, type Clock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { fixtureNow } from '../support/auth-fixture.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { signByAws4, signV2 } from '../support/signers.ts';

const minute = 60_000;
const form = { method: 'POST', target: '/', body: 'Action=DescribeRegions', headers: { 'Content-Type': 'application/x-www-form-urlencoded' } };
const blocked = { code: 'Blocked', status: 403 };

let database: TestDatabase;
let now: number;
let processes: { readonly auth: AuthManager; readonly clock: Clock }[];
let key: { readonly accessKeyId: string; readonly secretAccessKey: string };

beforeEach(async () => {
  database = await createTestDatabase();
  now = fixtureNow;
  const { db } = database;
  const clock: Clock = { ...systemClock, now: () => now, date: () => new Date(now) };
  const sealer = createSealer(randomBytes(32));
  processes = [1, 2].map(() => {
    const lockout = new Lockout({ db, clock, log: silentLog, failuresMax: 5, windowMs: 15 * minute, lockMs: 15 * minute, exemptNames: ['novact-system'] });
    const driver = { ...createDbAuthDriver({ db, clock }), checkPassword: async (_user: string, password: string) => password === 'right' };
    return { auth: new AuthManager({ driver, sealer, lockout }), clock };
  });
  const { auth } = any();
  for (const name of ['ann', 'novact-system']) {
    await auth.createUser({ name });
    await auth.createProject({ name, manager: name });
  }
  key = await auth.createAccessKey({ user: 'ann', project: 'ann' });
});

afterEach(() => database.close());

let turn = 0;
/** One process after the other. */
function any(): { readonly auth: AuthManager; readonly clock: Clock } {
  const found = processes[(turn += 1) % processes.length];
  if (found === undefined) throw new Error('there are no processes');
  return found;
}

/** Signatures are of the instant of the fixture, whatever the time of the lockout is. */
const atSigning = (deps: { readonly auth: AuthManager }) => ({ auth: deps.auth, clock: { ...systemClock, now: () => fixtureNow } });
const ask = (secretAccessKey = key.secretAccessKey, accessKeyId = key.accessKeyId) =>
  authenticateEc2(signByAws4({ accessKeyId, secretAccessKey }, 'ec2', form), atSigning(any()));

async function beWrong(times: number, accessKeyId = key.accessKeyId): Promise<void> {
  for (let time = 0; time < times; time += 1) await expect(ask('wrong', accessKeyId)).rejects.toMatchObject({ code: 'AuthFailure' });
}

describe('an access key', () => {
  test('is locked out after five wrong signatures in all processes together, in the words of each service, and works again when the time is over', async () => {
    await beWrong(4);
    expect(await ask()).toMatchObject({ userName: 'ann' });
    await beWrong(1);
    for (let time = 0; time < processes.length; time += 1) await expect(ask()).rejects.toMatchObject(blocked);
    await expect(ask('wrong')).rejects.toMatchObject(blocked);
    await expect(authenticateEc2(signV2(key, { Action: 'x' }), atSigning(any()))).rejects.toMatchObject(blocked);
    await expect(authenticateEc2(signByAws4(key, 'sts', form), atSigning(any()))).rejects.toMatchObject({ code: 'AccessDenied', status: 403 });
    await expect(authenticateS3(signByAws4(key, 's3', { target: '/bucket' }), atSigning(any()))).rejects.toMatchObject({ code: 'AccessDenied', status: 403 });
    now += 15 * minute - 1;
    await expect(ask()).rejects.toMatchObject(blocked);
    now += 1;
    expect(await ask()).toMatchObject({ userName: 'ann' });
    await beWrong(4);
    expect(await ask()).toMatchObject({ userName: 'ann' });
  });

  test('is not for what was wrong longer ago than the window', async () => {
    await beWrong(4);
    now += 15 * minute + 1;
    await beWrong(4);
    expect(await ask()).toMatchObject({ userName: 'ann' });
    await beWrong(1);
    await expect(ask()).rejects.toMatchObject(blocked);
  });

  test('is counted once for each wrong signature, also of many at once', async () => {
    await Promise.allSettled(Array.from({ length: 4 }, () => ask('wrong')));
    expect(await ask()).toMatchObject({ userName: 'ann' });
    await Promise.allSettled(Array.from({ length: 20 }, () => ask('wrong')));
    await expect(ask()).rejects.toMatchObject(blocked);
    expect(await any().auth.lockedOut()).toEqual([{ kind: 'key', id: key.accessKeyId, until: new Date(now + 15 * minute) }]);
  });

  test('locks out neither the other keys of its user nor keys that do not exist, nor is anything counted of those', async () => {
    const other = await any().auth.createAccessKey({ user: 'ann', project: 'ann' });
    await beWrong(5);
    expect(await ask(other.secretAccessKey, other.accessKeyId)).toMatchObject({ userName: 'ann' });
    await beWrong(10, 'AKIANOBODYSKEYATALL0');
    expect(await any().auth.lockedOut()).toHaveLength(1);
  });

  test('of the cloud itself is never locked out', async () => {
    const system = await any().auth.createAccessKey({ user: 'novact-system', project: 'novact-system' });
    await beWrong(10, system.accessKeyId);
    expect(await ask(system.secretAccessKey, system.accessKeyId)).toMatchObject({ userName: 'novact-system' });
  });

  test('is let in again by an operator at once', async () => {
    await beWrong(5);
    expect(await any().auth.unlock('key', key.accessKeyId)).toBe(true);
    expect(await any().auth.unlock('key', key.accessKeyId)).toBe(false);
    expect(await ask()).toMatchObject({ userName: 'ann' });
  });

  test('is not locked out for what is wrong with a request but its signature', async () => {
    for (let time = 0; time < 10; time += 1) {
      await expect(ask(key.secretAccessKey, `${key.accessKeyId}:nowhere`)).rejects.toMatchObject({ code: 'AuthFailure' });
      const late = { auth: any().auth, clock: { ...systemClock, now: () => fixtureNow + 60 * minute } };
      await expect(authenticateEc2(signByAws4(key, 'ec2', form), late)).rejects.toMatchObject({ code: 'RequestExpired' });
    }
    expect(await ask()).toMatchObject({ userName: 'ann' });
  });
});

describe('a password', () => {
  const logIn = (password: string, user = 'ann') => any().auth.checkPassword(user, password);

  test('is not looked at after five that were wrong, and nobody is told why', async () => {
    for (let time = 0; time < 5; time += 1) expect(await logIn('wrong')).toBe(false);
    expect(await logIn('right')).toBe(false);
    // Keys are counted apart.
    expect(await ask()).toMatchObject({ userName: 'ann' });
    expect(await any().auth.unlock('password', 'ann')).toBe(true);
    expect(await logIn('right')).toBe(true);
  });

  test('is nobody\'s who is unknown or disabled', async () => {
    expect([await logIn('right', 'nobody'), await logIn('right')]).toEqual([false, true]);
    await any().auth.modifyUser('ann', { enabled: false });
    expect(await logIn('right')).toBe(false);
  });
});
