// `novact manage image`: what operators see of images and imports, and what they can begin and end.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createManage, type ManageAnswer } from '../../../src/api/ops/perform-manage.ts';
import { expandWords } from '../../../src/cli/manage.ts';
import { noteImport, publishImport } from '../../../src/db/imports.ts';
import { operationsOf } from '../../../src/db/operations.ts';
import { setLimit } from '../../../src/db/quotas.ts';
import { images, projects, users } from '../../../src/db/schema/all.ts';
import { systemClock as clock } from '../../../src/lib/clock.ts';
import type { ManageDeps } from '../../../src/roles/manage/deps.ts';
import { manageCommands } from '../../../src/roles/manage/index.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let kicks = 0;
let ask: (verb: string, args?: Record<string, unknown>) => Promise<ManageAnswer>;
const projectId = '111122223333';

beforeAll(async () => {
  database = await createTestDatabase();
  await database.db.insert(users).values({ id: 'u', name: 'ann', createdAt: clock.date() });
  await database.db.insert(projects).values({ id: projectId, name: 'shop', description: '', managerId: 'u', createdAt: clock.date() });
  const deps = { db: database.db, clock, relay: { kick: () => void (kicks += 1) }, settings: { imagesPerProjectMax: 100 } };
  const perform = createManage(manageCommands, deps as unknown as ManageDeps);
  ask = (verb, args = {}) => perform({ category: 'image', verb, args });
});
afterAll(() => database.close());

async function done<T>(...wanted: Parameters<typeof ask>): Promise<T> {
  const answer = await ask(...wanted);
  return (answer.outcome === 'done' ? answer.result : answer) as T;
}

interface Begun {
  readonly task: string;
  readonly image: string;
}

const begin = (more: Record<string, unknown> = {}) => done<Begun>('import', { location: '/srv/disk.vmdk', project: 'shop', ...more });

describe('G1: novact manage image', () => {
  it('begins an import of a file or of an object, for a project, and tells the objectstore', async () => {
    const before = kicks;
    const { task, image } = await begin({ name: 'web', format: 'vmdk', public: true, description: 'old' });
    expect(kicks).toBe(before + 1);
    expect((await database.db.select().from(images).where(eq(images.id, image)))[0]).toMatchObject({
      name: 'web', projectId, isPublic: true, state: 'pending', location: '/srv/disk.vmdk', description: 'old', type: 'machine',
    });
    expect((await operationsOf(database.db, image, 5))[0]).toMatchObject({
      kind: 'image.import', owner: 'objectstore', userId: 'operator', input: { taskId: task, source: { kind: 'file', path: '/srv/disk.vmdk' }, format: 'vmdk' },
    });
    for (const location of ['disks/a/web.vdi', 's3://disks/a/web.vdi']) {
      const object = await begin({ location, project: projectId });
      expect((await operationsOf(database.db, object.image, 5))[0]?.input).toMatchObject({ source: { kind: 'object', bucket: 'disks', key: 'a/web.vdi' } });
    }
  });

  it('shows the numbers that clients see, by task and by image', async () => {
    const { task, image } = await begin({ location: 'disks/x.vmdk' });
    await noteImport(database.db, task, { stage: 'converting', bytesDone: 40, bytesTotal: 100, format: 'vmdk', virtualSizeBytes: 100 }, clock.date());
    const shown = async () => (await done<{ id: string }[]>('tasks', { project: 'shop' })).find(({ id }) => id === task);
    expect(await shown()).toMatchObject({
      state: 'active', stage: 'converting', progress: '55 %', bytesDone: 40, bytesTotal: 100, format: 'vmdk', image, source: 'disks/x.vmdk',
    });
    expect(await done('show', { id: image })).toMatchObject({
      id: image, state: 'pending', import: task, importState: 'active', stage: 'converting', bytesDone: 40,
    });
    const facts = { format: 'qcow2' as const, sizeBytes: 7, virtualSizeBytes: 100, sha256: 'abc', blobId: 'b' };
    await publishImport(database.db, { taskId: task, imageId: image, facts }, clock.date());
    expect(await shown()).toMatchObject({ state: 'completed', progress: '-' });
    const listed = (await done<{ id: string }[]>('list')).find(({ id }) => id === image);
    expect(listed).toMatchObject({ state: 'available', format: 'qcow2', bytes: 7, type: 'machine' });
  });

  it('cancels what goes on, and deregisters', async () => {
    const { task, image } = await begin();
    expect(await done('cancel', { task })).toBe(`${task} is being cancelled`);
    expect(await ask('cancel', { task })).toMatchObject({ outcome: 'refused' });
    expect(await ask('show', { id: image })).toMatchObject({ outcome: 'refused' });
    const other = await begin();
    expect(await done('delete', { id: other.image })).toBe(`${other.image} is deregistered`);
    expect((await operationsOf(database.db, other.image, 5))[0]).toMatchObject({ kind: 'image.deregister', owner: 'objectstore' });
    expect(await ask('delete', { id: other.image })).toMatchObject({ outcome: 'refused' });
  });

  it('has Nova\'s words, and makes an image with its kernel and ramdisk', async () => {
    const made = await done<Begun & { kernel: string; ramdisk: string }>('all-register', {
      image: 'disks/root', kernel: 'disks/vmlinuz', ramdisk: 'disks/initrd', project: 'shop', name: 'natty', public: true,
    });
    const rowOf = async (id: string) => (await database.db.select().from(images).where(eq(images.id, id)))[0];
    expect(await rowOf(made.image)).toMatchObject({ name: 'natty', kernelId: made.kernel, ramdiskId: made.ramdisk });
    expect(await rowOf(made.kernel)).toMatchObject({ name: 'natty-kernel', type: 'kernel', isPublic: true });
    const kernel = await done<Begun>('kernel-register', { location: '/boot/vmlinuz', project: 'shop', name: 'plain' });
    expect(kernel.image).toMatch(/^aki-/);
    expect(await done('image-register', { location: '/srv/disk', project: 'shop', name: 'with a kernel', kernel: kernel.image })).toHaveProperty('task');
    expect(expandWords(['im', 'kernel_register'], manageCommands)).toEqual(['image', 'kernel-register']);
    expect(expandWords(['image', 'imp'], manageCommands)).toEqual(['image', 'import']);
  });

  it('refuses what is wrong, before anything is made', async () => {
    const count = (await database.db.select().from(images)).length;
    const wrong: readonly Record<string, unknown>[] = [
      { project: 'nobody' }, { location: 'https://example.com/x' }, { location: 'relative' }, { name: 'ab' }, { name: 'web' }, { format: 'iso' },
      { kernel: 'aki-00000000' }, { type: 'disk' }, { description: 'x'.repeat(256) },
    ];
    for (const more of wrong) expect([more, (await ask('import', { location: '/x', project: 'shop', ...more })).outcome]).not.toEqual([more, 'done']);
    await setLimit(database.db, projectId, 'images', 1);
    expect(await ask('import', { location: '/x', project: 'shop' })).toMatchObject({ outcome: 'refused' });
    expect((await database.db.select().from(images)).length).toBe(count);
  });
});
