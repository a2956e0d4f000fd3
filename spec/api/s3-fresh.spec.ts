// What one process of the objectstore, or an api, changes holds at the very next request to another: nothing that can change is kept (decision 0028).
import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createS3Server, type S3Server } from '../../src/api/s3/server.ts';
import { authenticateS3 } from '../../src/auth/authenticate.ts';
import { Lockout } from '../../src/auth/lockout.ts';
import { AuthManager } from '../../src/auth/manager.ts';
import { signV4 } from '../../src/auth/sign-v4.ts';
import { authDrivers } from '../../src/drivers/auth/index.ts';
import { MemoryStore } from '../../src/drivers/objectstore/memory.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { silentLog } from '../../src/lib/log.ts';
import { createSealer } from '../../src/lib/sealed.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { sendPlain, type PlainAnswer } from '../support/plain-http.ts';
import { amplyS3 } from '../support/s3-server.ts';

interface Key {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** A process, but for its memory: an auth manager and a server of its own. */
interface Process {
  readonly auth: AuthManager;
  readonly server: S3Server;
  readonly ask: (key: Key, method: string, path: string, body?: string) => Promise<PlainAnswer>;
}

let database: TestDatabase;
let one: Process;
let other: Process;
let ann: Key;
let bob: Key;
let bucket: string;
let count = 0;

async function startProcess(shared: { masterKey: Buffer; store: MemoryStore }): Promise<Process> {
  const { db } = database;
  const lockout = new Lockout({ db, clock: systemClock, log: silentLog, failuresMax: 3, windowMs: 60_000, lockMs: 60_000, exemptNames: [] });
  const auth = new AuthManager({ driver: authDrivers.db({ db, clock: systemClock }), sealer: createSealer(shared.masterKey), lockout });
  const server = createS3Server({
    db, store: shared.store, clock: systemClock, region: 'nova', quotas: amplyS3, log: silentLog, authority: auth,
    authenticate: (request) => authenticateS3(request, { auth, clock: systemClock }),
  });
  const port = await server.listen('127.0.0.1', 0);
  return {
    auth, server,
    ask(key, method, path, body = '') {
      const url = new URL(path, `http://127.0.0.1:${port}`);
      const payloadSha256 = createHash('sha256').update(body).digest('hex');
      const headers = signV4({ ...key, method, url, region: 'nova', service: 's3', payloadSha256, date: systemClock.date() });
      return sendPlain({ method, url, headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) }, body });
    },
  };
}

beforeAll(async () => {
  database = await createTestDatabase();
  const shared = { masterKey: randomBytes(32), store: new MemoryStore({ clock: systemClock }) };
  [one, other] = [await startProcess(shared), await startProcess(shared)];
});
afterAll(async () => {
  await Promise.all([one, other].map(({ server }) => server.close({ graceMs: 100 })));
  await database.close();
});

/** Both processes have served both users before anything is changed. */
beforeEach(async () => {
  count += 1;
  for (const name of [`ann${count}`, `bob${count}`]) {
    await one.auth.createUser({ name });
    await one.auth.createProject({ name, manager: name });
  }
  ann = await one.auth.createAccessKey({ user: `ann${count}`, project: `ann${count}` });
  bob = await one.auth.createAccessKey({ user: `bob${count}`, project: `bob${count}` });
  bucket = `/fresh-${count}`;
  await one.ask(ann, 'PUT', bucket);
  await one.ask(ann, 'PUT', `${bucket}/k`, 'old');
  for (let time = 0; time < 3; time += 1) {
    for (const { ask } of [one, other]) {
      expect([(await ask(ann, 'GET', `${bucket}/k`)).text, (await ask(bob, 'GET', `${bucket}/k`)).code]).toEqual(['old', 'AccessDenied']);
    }
  }
});

const getAs = (key: Key): Promise<PlainAnswer> => other.ask(key, 'GET', `${bucket}/k`);
const policy = (effect: 'Allow' | 'Deny'): string => JSON.stringify({
  Version: '2012-10-17', Statement: [{ Effect: effect, Principal: '*', Action: 's3:GetObject', Resource: `arn:aws:s3:::${bucket.slice(1)}/*` }],
});

describe('the next request after another process', () => {
  it('disabled the key is refused, and served again when it is enabled', async () => {
    await one.auth.modifyAccessKey(ann.accessKeyId, { enabled: false });
    expect(await getAs(ann)).toMatchObject({ status: 403, code: 'InvalidAccessKeyId' });
    await one.auth.modifyAccessKey(ann.accessKeyId, { enabled: true });
    expect((await getAs(ann)).text).toBe('old');
  });

  it('deleted or rotated the key is refused', async () => {
    const { accessKeyId } = await one.auth.rotateAccessKey(ann.accessKeyId);
    expect((await getAs(ann)).code).toBe('InvalidAccessKeyId');
    await one.auth.deleteAccessKey(accessKeyId);
    expect((await getAs({ ...ann, accessKeyId })).code).toBe('InvalidAccessKeyId');
  });

  it('disabled the user is refused', async () => {
    await one.auth.modifyUser(`ann${count}`, { enabled: false });
    expect((await getAs(ann)).code).toBe('InvalidAccessKeyId');
  });

  it('took the user from the project is refused', async () => {
    await one.auth.addMember(`ann${count}`, `bob${count}`);
    const key = await one.auth.createAccessKey({ user: `bob${count}`, project: `ann${count}` });
    expect((await getAs(key)).text).toBe('old');
    await one.auth.removeMember(`ann${count}`, `bob${count}`);
    expect((await getAs(key)).status).toBe(403);
  });

  it('locked the key out for wrong signatures is refused', async () => {
    const wrong = { ...ann, secretAccessKey: 'wrong' };
    for (let time = 0; time < 3; time += 1) expect((await one.ask(wrong, 'GET', `${bucket}/k`)).code).toBe('SignatureDoesNotMatch');
    expect((await getAs(ann)).status).toBe(403);
    await one.auth.unlock('key', ann.accessKeyId);
    expect((await getAs(ann)).text).toBe('old');
  });

  it('made somebody an administrator is served as one', async () => {
    await one.auth.modifyUser(`bob${count}`, { isAdmin: true });
    expect((await getAs(bob)).text).toBe('old');
  });

  it('changed the policy of the bucket goes by the new one', async () => {
    expect((await one.ask(ann, 'PUT', `${bucket}?policy`, policy('Allow'))).status).toBe(204);
    expect((await getAs(bob)).text).toBe('old');
    await one.ask(ann, 'PUT', `${bucket}?policy`, policy('Deny'));
    expect([(await getAs(bob)).code, (await getAs(ann)).code]).toEqual(['AccessDenied', 'AccessDenied']);
    await one.ask(ann, 'DELETE', `${bucket}?policy`);
    expect([(await getAs(bob)).code, (await getAs(ann)).text]).toEqual(['AccessDenied', 'old']);
  });

  it('replaced, deleted and put the object again has what is there', async () => {
    await one.ask(ann, 'PUT', `${bucket}/k`, 'new');
    expect((await getAs(ann)).text).toBe('new');
    await one.ask(ann, 'DELETE', `${bucket}/k`);
    expect((await getAs(ann)).code).toBe('NoSuchKey');
    await one.ask(ann, 'PUT', `${bucket}/k`, 'again');
    expect((await getAs(ann)).text).toBe('again');
  });

  it('deleted the bucket finds none, and the new owner\'s when somebody else has made one of that name', async () => {
    await one.ask(ann, 'DELETE', `${bucket}/k`);
    await one.ask(ann, 'DELETE', bucket);
    expect([(await getAs(ann)).code, (await other.ask(ann, 'PUT', `${bucket}/k`, 'x')).code]).toEqual(['NoSuchBucket', 'NoSuchBucket']);
    await one.ask(bob, 'PUT', bucket);
    await one.ask(bob, 'PUT', `${bucket}/k`, 'of bob');
    expect([(await getAs(ann)).code, (await getAs(bob)).text]).toEqual(['AccessDenied', 'of bob']);
    expect((await other.ask(ann, 'PUT', `${bucket}/k`, 'x')).code).toBe('AccessDenied');
  });
});

describe('many requests at once', () => {
  it('have each its own answer, whoever asks for what', async () => {
    const keys = Array.from({ length: 90 }, (_, number) => `k${number}/ä ${number}`);
    const pathOf = (key: string): string => `${bucket}/${encodeURIComponent(key).replaceAll('%2F', '/')}`;
    for (const key of keys) await one.ask(ann, 'PUT', pathOf(key), `content of ${key}`);
    const asked = keys.flatMap((key, number) => [
      { key: ann, path: pathOf(key), told: `content of ${key}` },
      { key: bob, path: pathOf(key), told: 'AccessDenied' },
      ...(number % 9 > 0 ? [] : [
        { key: { ...ann, accessKeyId: `AKIANONE${number}` }, path: pathOf(key), told: 'InvalidAccessKeyId' },
        { key: { ...ann, secretAccessKey: bob.secretAccessKey }, path: pathOf(key), told: number < 18 ? 'SignatureDoesNotMatch' : undefined },
        { key: ann, path: `${pathOf(key)}-none`, told: 'NoSuchKey' },
        { key: ann, path: `${bucket}-none/${number}`, told: 'NoSuchBucket' },
        { key: ann, path: `${bucket}%00/${number}`, told: 'NoSuchBucket' },
      ]),
    ]).filter(({ told }) => told !== undefined);
    const answers = await Promise.all(asked.map(({ key, path }) => other.ask(key, 'GET', path)));
    expect(answers.map(({ code, text }) => (code === '' || code === undefined ? text : code))).toEqual(asked.map(({ told }) => told));
  });

  it('put into their own buckets, and into no other, whoever asks for what', async () => {
    await one.ask(bob, 'PUT', `${bucket}-of-bob`);
    const asked = Array.from({ length: 60 }, (_, number) => [
      { key: ann, path: `${bucket}/${number}`, told: 200 },
      { key: bob, path: `${bucket}/${number}`, told: 'AccessDenied' },
      { key: bob, path: `${bucket}-of-bob/${number}`, told: 200 },
      { key: ann, path: `${bucket}-of-bob/${number}`, told: 'AccessDenied' },
      ...(number % 9 > 0 ? [] : [`${bucket}-none${number}`, `${bucket}%00`].map((name) => ({ key: ann, path: `${name}/${number}`, told: 'NoSuchBucket' }))),
    ]).flat();
    const answers = await Promise.all(asked.map(({ key, path }, number) => other.ask(key, 'PUT', path, `put ${number}`)));
    expect(answers.map(({ code, status }) => (status === 200 ? status : code))).toEqual(asked.map(({ told }) => told));
    const stored = asked.flatMap((put, number) => (put.told === 200 ? [{ ...put, content: `put ${number}` }] : []));
    const found = await Promise.all(stored.map(({ key, path }) => other.ask(key, 'GET', path)));
    expect(found.map(({ text }) => text)).toEqual(stored.map(({ content }) => content));
  });

  it('see what was put before they were sent, while others are on their way', async () => {
    const over = new AbortController();
    const crowd = Array.from({ length: 12 }, async () => {
      while (!over.signal.aborted) await other.ask(ann, 'GET', `${bucket}/k`);
    });
    for (let number = 0; number < 40; number += 1) {
      await one.ask(ann, 'PUT', `${bucket}/k`, `content ${number}`);
      expect((await getAs(ann)).text).toBe(`content ${number}`);
    }
    await one.auth.modifyAccessKey(ann.accessKeyId, { enabled: false });
    expect((await getAs(ann)).code).toBe('InvalidAccessKeyId');
    over.abort();
    await Promise.all(crowd);
  });
});
