// Terminated instances stay visible for their hour, and then nothing of them remains in the database.
import { eq } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { purgeTerminated } from '../../src/db/instance-work.ts';
import { instances, operations, reservations, tags } from '../../src/db/schema/all.ts';
import { createSimCloud, type SimCloud } from '../support/sim-cloud.ts';

let cloud: SimCloud;
beforeAll(async () => {
  cloud = await createSimCloud({ start: false });
});
afterAll(() => cloud.close());

const hourAgo = () => new Date(Date.now() - 3_600_000);

describe('a terminated instance', () => {
  it('stays for its hour; afterwards it goes with tags, operations and its empty reservation', async () => {
    const { db } = cloud.database;
    const [old = '', young = ''] = await cloud.launch(2);
    const [alone = ''] = await cloud.launch(1);
    for (const [id, minutes] of [[old, 61], [young, 59], [alone, 61]] as const) {
      await db.update(instances).set({ state: 'terminated', terminatedAt: new Date(Date.now() - minutes * 60_000) }).where(eq(instances.id, id));
      await db.insert(tags).values({ resourceId: id, key: 'k', value: 'v', projectId: cloud.projectId, resourceType: 'instance' });
    }
    expect((await purgeTerminated(db, hourAgo())).toSorted()).toEqual([old, alone].toSorted());
    expect((await db.select().from(instances)).map((row) => row.id)).toEqual([young]);
    expect((await db.select().from(tags)).map((row) => row.resourceId)).toEqual([young]);
    expect((await db.select().from(operations)).map((row) => row.resourceId)).toEqual([young]);
    expect(await db.select().from(reservations)).toHaveLength(1);
  });
});
