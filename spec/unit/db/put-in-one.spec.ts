// Puts as one statement do what the transaction does, or nothing.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { insertBucket, setVersioning } from '../../../src/db/buckets.ts';
import { deleteObjects, findObject, putObject, putObjectIn, type NewObject } from '../../../src/db/objects.ts';
import { unlimitedBytes } from '../../../src/db/project-bytes.ts';
import { putInOne } from '../../../src/db/put-in-one.ts';
import { projectQuotas, projects, users } from '../../../src/db/schema/identity.ts';
import { blobGarbage, objects } from '../../../src/db/schema/objects.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const now = new Date('2026-11-30T10:00:00.123Z');
let database: TestDatabase;
let bucket: string;
let count = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  await database.db.insert(users).values({ id: 'u', name: 'u', createdAt: now });
  await database.db.insert(projects).values({ id: '111111111111', name: 'p', description: '', managerId: 'u', createdAt: now });
});
afterAll(() => database.close());
beforeEach(async () => {
  count += 1;
  bucket = `bucket-${count}`;
  await insertBucket(database.db, { name: bucket, projectId: '111111111111', createdAt: now });
});

const objectOf = (key: string, blobId: string): NewObject & { tags: Record<string, string> } => ({
  bucket, key, blobId: `${bucket}-${blobId}`, sizeBytes: 5_000_000_000, etag: 'e"\'\\', headers: { 'content-type': 'text/plain; charset="ü"' },
  metadata: { one: "it's", two: '' }, checksums: { crc32: 'AAAAAA==' }, projectId: '222222222222', acl: 'public-read', modifiedAt: now, tags: { a: 'b' },
});
const garbage = async (): Promise<string[]> =>
  (await database.db.select().from(blobGarbage)).map(({ blobId }) => blobId).filter((id) => id.startsWith(`${bucket}-`));

it('stores in every column what the transaction stores', async () => {
  const { db } = database;
  expect(await putInOne(db, objectOf('one/ü/\u{1f600}', '1'))).toBe(true);
  await db.transaction((tx) => putObjectIn(tx, objectOf('other', '1')));
  const [one, other] = [await findObject(db, bucket, 'one/ü/\u{1f600}'), await findObject(db, bucket, 'other')];
  expect({ ...one, key: 'other' }).toEqual(other);
  expect(await garbage()).toEqual([]);
});

it('replaces whole what was there, whose blob is garbage, and no other key', async () => {
  const { db } = database;
  for (const key of ['k', 'k2']) await putInOne(db, objectOf(key, `old-${key}`));
  const next = { ...objectOf('k', 'new'), tags: {}, metadata: {}, sizeBytes: 0, acl: 'private', modifiedAt: new Date(now.getTime() + 1) };
  expect(await putInOne(db, next)).toBe(true);
  expect(await findObject(db, bucket, 'k')).toEqual({ ...next, parts: null, versionId: 'null' });
  expect((await findObject(db, bucket, 'k2'))?.blobId).toBe(`${bucket}-old-k2`);
  expect(await garbage()).toEqual([`${bucket}-old-k`]);
});

it('changes nothing where there is no such bucket, where the bucket has or had versions, and where the project has a limit', async () => {
  const { db } = database;
  expect(await putInOne(db, { ...objectOf('k', 'x'), bucket: 'none' })).toBe(false);
  await db.insert(projectQuotas).values({ projectId: '111111111111', name: 'bytes', limit: 10 });
  expect(await putInOne(db, objectOf('k', 'x'))).toBe(false);
  expect(await putObject(db, objectOf('k', 'x'), { bytesMax: unlimitedBytes })).toBe('overQuota');
  await db.delete(projectQuotas);
  for (const versioning of ['Enabled', 'Suspended'] as const) {
    await setVersioning(db, bucket, versioning);
    expect(await putInOne(db, objectOf('k', 'x'))).toBe(false);
  }
  expect(await db.select().from(objects).where(eq(objects.bucket, bucket))).toEqual([]);
});

it('of many puts at once leaves one object, and every other blob as garbage', async () => {
  const ids = Array.from({ length: 12 }, (_, number) => `${number}`);
  for (const key of ['new', 'new', 'other']) {
    const outcomes = await Promise.all(ids.map((id) => putObject(database.db, objectOf(key, `${key}-${id}-${Math.random()}`), {})));
    expect(outcomes).toEqual(ids.map(() => ({ versionId: undefined })));
  }
  const stored = await database.db.select().from(objects).where(eq(objects.bucket, bucket));
  expect(stored).toHaveLength(2);
  const thrownAway = await garbage();
  expect(thrownAway).toHaveLength(3 * ids.length - 2);
  for (const { blobId } of stored) expect(thrownAway).not.toContain(blobId);
});

it('stores many of one moment, new and old, and leaves out what is not for it', async () => {
  const { db } = database;
  const versioned = `${bucket}-versioned`;
  await insertBucket(db, { name: versioned, projectId: '111111111111', createdAt: now });
  await setVersioning(db, versioned, 'Enabled');
  for (const key of ['a', 'b']) await putInOne(db, objectOf(key, `old-${key}`));
  const puts = [objectOf('a', 'new-a'), objectOf('b', 'new-b'), objectOf('c', 'new-c'), { ...objectOf('a', 'x'), bucket: versioned },
    { ...objectOf('a', 'y'), bucket: 'none' }];
  expect(await Promise.all(puts.map((put) => putInOne(db, put)))).toEqual([true, true, true, false, false]);
  const stored = await db.select().from(objects).where(eq(objects.bucket, bucket)).orderBy(objects.key);
  expect(stored.map(({ blobId }) => blobId)).toEqual(['a', 'b', 'c'].map((key) => `${bucket}-new-${key}`));
  expect((await garbage()).toSorted()).toEqual([`${bucket}-old-a`, `${bucket}-old-b`]);
});

it('one that the database cannot take harms no other of its batch', async () => {
  const { db } = database;
  const told = await Promise.allSettled(['a', '\0', 'b'].map((key) => putObject(db, objectOf(key, `blob-${key}`))));
  expect(told.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  const stored = await db.select().from(objects).where(eq(objects.bucket, bucket));
  expect(stored.map(({ key }) => key).toSorted()).toEqual(['a', 'b']);
});

it('beside transactions and deletions of the same keys names every blob once: as an object, or as garbage', async () => {
  const { db } = database;
  const keys = ['a', 'b', 'c', 'd'];
  const put = new Set<string>();
  const objectAt = (key: string, blobId: string) => {
    const object = objectOf(key, blobId);
    put.add(object.blobId);
    return object;
  };
  for (let round = 0; round < 10; round += 1) {
    const work = keys.flatMap((key, index) => [
      putObject(db, objectAt(key, `${round}-${key}-1`)),
      putObject(db, objectAt(key, `${round}-${key}-2`)),
      db.transaction((tx) => putObjectIn(tx, objectAt(key, `${round}-${key}-3`))),
      ...(index === round % keys.length ? [deleteObjects(db, bucket, round % 2 === 0 ? keys : keys.toReversed(), now)] : []),
    ]);
    await Promise.all<unknown>(work);
  }
  const stored = (await db.select().from(objects).where(eq(objects.bucket, bucket))).map(({ blobId }) => blobId);
  const all = [...stored, ...(await garbage())];
  expect(all.toSorted()).toEqual([...put].toSorted());
});
