// What the database itself guarantees: duplicates are refused, taking one of many is one step for fifty at once, and what is purged goes with
// all that hangs on it. On PGlite, or on PostgreSQL when NOVACT_SPEC_DATABASE_URL names one (D3: the suite runs on both).
import { and, eq, isNotNull } from 'drizzle-orm';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isDatabaseAway } from '../../../src/db/away.ts';
import { claimRoom, releaseRoom, reportHost } from '../../../src/db/hosts.ts';
import { purgeTerminated } from '../../../src/db/instance-work.ts';
import { claimAddress } from '../../../src/db/networks.ts';
import { insertOperation, takeOperation } from '../../../src/db/operations.ts';
import { enrol } from '../../../src/db/owners.ts';
import {
  fixedAddresses, hosts, instances, instanceSecurityGroups, keyPairs, operations, outbox, reservations, securityGroups, services, tags,
} from '../../../src/db/schema/all.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { addInstance, cloudRows, type CloudRows } from '../../support/instance-rows.ts';

const now = new Date('2026-01-02T03:04:05Z');
let database: TestDatabase;
let cloud: CloudRows;
beforeAll(async () => {
  database = await createTestDatabase();
  cloud = await cloudRows(database.db, { cidr: '10.9.0.0/25', gateway: '10.9.0.1' });
});
afterAll(() => database.close());

const fifty = Array.from({ length: 50 }, (_, n) => n);

async function codeOf(work: PromiseLike<unknown>): Promise<string> {
  try {
    await work;
    return 'accepted';
  } catch (error) {
    expect(isDatabaseAway(error)).toBe(false);
    return String(((error as Error).cause as { code?: string } | undefined)?.code ?? (error as { code?: string }).code);
  }
}

const uniqueViolation = '23505';
const foreignKeyViolation = '23503';

describe('D1 the database refuses by itself', () => {
  it('a second address of one network, host, service of a host, group name or key name of a project, and MAC', async () => {
    const { db } = database;
    const { projectId, userId, network } = cloud;
    await addInstance(db, cloud, { id: 'i-d1', mac: '02:16:3e:0d:00:01' });
    const twice = async (insert: () => PromiseLike<unknown>): Promise<string[]> => [await codeOf(insert()), await codeOf(insert())];
    const host = { name: 'd1', zone: 'z', hypervisor: 'sim', cores: 1, memoryMiB: 1, diskGiB: 1, bootId: 'b', updatedAt: now };
    let n = 0;
    const next = (): string => `d1-${(n += 1)}`;
    const refused = ['accepted', uniqueViolation];
    expect(await codeOf(db.insert(fixedAddresses).values({ networkId: network.id, address: '10.9.0.1', position: 900 }))).toBe(uniqueViolation);
    expect(await twice(() => db.insert(hosts).values(host))).toEqual(refused);
    expect(await twice(() => db.insert(services).values({ host: 'd1', role: 'compute', epoch: 1, startedAt: now }))).toEqual(refused);
    expect(await twice(() => db.insert(securityGroups).values({ id: next(), projectId, name: 'web', description: '', createdAt: now }))).toEqual(refused);
    expect(await twice(() => db.insert(keyPairs).values({
      id: next(), projectId, userId, name: 'laptop', type: 'rsa', fingerprint: '', publicKey: '', createdAt: now,
    }))).toEqual(refused);
    expect(await codeOf(addInstance(db, cloud, { id: 'i-d1-b', mac: '02:16:3e:0d:00:01' }))).toBe(uniqueViolation);
    expect(await twice(() => db.insert(outbox).values({ id: 'm-1', mailbox: 'scheduler', envelope: '{}', createdAt: now }))).toEqual(refused);
    await db.delete(outbox);
  });

  it('children without parents, and parents that are still held', async () => {
    const { db } = database;
    expect(await codeOf(db.insert(instanceSecurityGroups).values({ instanceId: 'i-none', groupId: 'sg-none' }))).toBe(foreignKeyViolation);
    await db.insert(securityGroups).values({ id: 'sg-held', projectId: cloud.projectId, name: 'held', description: '', createdAt: now });
    await addInstance(db, cloud, { id: 'i-held', mac: '02:16:3e:0d:00:02' });
    await db.insert(instanceSecurityGroups).values({ instanceId: 'i-held', groupId: 'sg-held' });
    expect(await codeOf(db.delete(securityGroups).where(eq(securityGroups.id, 'sg-held')))).toBe(foreignKeyViolation);
  });
});

describe('D4 fifty at once', () => {
  it('get fifty addresses, none twice and none lost', async () => {
    const { db } = database;
    for (const n of fifty) await addInstance(db, cloud, { id: `i-race-${n}`, mac: `02:16:3e:04:00:${n}`, host: 'one' });
    const claimed = await Promise.all(fifty.map((n) => claimAddress(db, { instanceId: `i-race-${n}`, networkId: cloud.network.id, now })));
    expect(new Set(claimed.map((each) => each?.address)).size).toBe(50);
    const rows = await db.select().from(fixedAddresses).where(and(eq(fixedAddresses.networkId, cloud.network.id), isNotNull(fixedAddresses.instanceId)));
    expect(rows).toHaveLength(50);
  });

  it('get the room of a host that has room for thirty: thirty do, and all of it comes back', async () => {
    const { db } = database;
    await reportHost(db, { name: 'room', zone: 'nova', hypervisor: 'sim', cores: 30, memoryMiB: 30_000, diskGiB: 30, bootId: 'b' }, now);
    const claim = { cores: 1, memoryMiB: 1_000, diskGiB: 1 };
    const taken = await Promise.all(fifty.map(() => claimRoom(db, 'room', claim, { cores: 1, memory: 1, disk: 1 })));
    expect(taken.filter(Boolean)).toHaveLength(30);
    await Promise.all(taken.filter(Boolean).map(() => releaseRoom(db, 'room', claim)));
    const [row] = await db.select().from(hosts).where(eq(hosts.name, 'room'));
    expect(row).toMatchObject({ claimedCores: 0, claimedMemoryMiB: 0, claimedDiskGiB: 0 });
  });

  it('take one operation of a shared owner: one of them does', async () => {
    const { db } = database;
    const id = await insertOperation(db, {
      kind: 'image.register', resourceId: 'ami-race', projectId: 'p', userId: 'u', requestId: 'r', owner: 'objectstore', deadline: now,
    }, now);
    const epochs = await Promise.all(fifty.map(() => enrol(db, 'objectstore', now)));
    expect(new Set(epochs).size).toBe(50);
    const taken = await Promise.all(epochs.map((epoch) => takeOperation(db, { id, owner: 'objectstore', epoch, firstStep: 'inspect', now })));
    expect(taken.filter((operation) => operation !== undefined)).toHaveLength(1);
  });
});

describe('D2 what ended', () => {
  it('is kept for its time and then purged with its tags, groups, operations and reservation; whoever waits for it is told', async () => {
    const { db } = database;
    const replyTo = { mailbox: 'scheduler', actor: 'drain-one' };
    for (const [id, terminatedAt, mac] of [['i-old', new Date(0), '02:16:3e:02:00:01'], ['i-new', now, '02:16:3e:02:00:02']] as const) {
      await addInstance(db, cloud, { id, mac, state: 'terminated', terminatedAt });
      await db.insert(tags).values({ resourceId: id, key: 'Name', projectId: cloud.projectId, resourceType: 'instance', value: id });
      await db.insert(instanceSecurityGroups).values({ instanceId: id, groupId: 'sg-held' });
      await insertOperation(db, {
        kind: 'instance.migrate', resourceId: id, projectId: 'p', userId: 'u', requestId: 'r', owner: 'compute@one', deadline: now, replyTo,
      }, now);
    }
    await db.delete(outbox);
    expect(await purgeTerminated(db, new Date(now.getTime() - 3_600_000))).toEqual(['i-old']);
    const left = async (id: string): Promise<number[]> => Promise.all([
      db.$count(instances, eq(instances.id, id)), db.$count(tags, eq(tags.resourceId, id)),
      db.$count(reservations, eq(reservations.id, id.replace('i-', 'r-'))),
      db.$count(instanceSecurityGroups, eq(instanceSecurityGroups.instanceId, id)), db.$count(operations, eq(operations.resourceId, id)),
    ]);
    expect(await left('i-old')).toEqual([0, 0, 0, 0, 0]);
    expect(await left('i-new')).toEqual([1, 1, 1, 1, 1]);
    expect((await db.select().from(outbox)).map((row) => JSON.parse(row.envelope).body)).toMatchObject([{ actor: 'drain-one', state: 'failed' }]);
  });
});
