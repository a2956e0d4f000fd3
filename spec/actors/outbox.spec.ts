// What is written with a row reaches its owner: through a relay that dies at any moment, mailboxes that are full, messages that come twice.
import { eq } from 'drizzle-orm';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { startRelay, type RelayDeps } from '../../src/actors/operations/relay.ts';
import type { ActorSystem } from '../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { finishOperation, insertOperation, recordProgress, takeOperation, type NewOperation } from '../../src/db/operations.ts';
import { countOutbox, relayBatch } from '../../src/db/outbox.ts';
import { enrol } from '../../src/db/owners.ts';
import { operations, outbox } from '../../src/db/schema/operations.ts';
import { systemClock as clock } from '../../src/lib/clock.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { decodeEnvelope } from '../../src/messages/envelope.ts';
import type { OutboxMessage, Relay, Transport } from '../../src/transport/transport.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { allOperations, createSimCloud, stateOf, type SimCloud } from '../support/sim-cloud.ts';
import { waitUntil } from '../support/patience.ts';
import { eventually } from '../support/waiting.ts';

let database: TestDatabase;
const systems: ActorSystem[] = [];
let names = 0;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(async () => {
  for (const system of systems.splice(0)) await system.stop(1_000);
  await database.db.delete(outbox);
  await database.db.delete(operations);
});
afterAll(() => database.close());

const wish = (changes: Partial<NewOperation> = {}): NewOperation => ({
  kind: 'instance.run', resourceId: 'i-1', projectId: 'p', userId: 'u', requestId: 'req-1', owner: 'scheduler',
  deadline: new Date(clock.now() + 60_000), ...changes,
});
const write = (changes: Partial<NewOperation> = {}) => insertOperation(database.db, wish(changes), clock.date());

function relayWith(deliver: Transport['deliver'], options: Partial<RelayDeps> = {}): Relay {
  const system = createActorSystem({ name: `outbox-${(names += 1)}`, clock, log, onFatal: (error) => { throw error; } });
  systems.push(system);
  return startRelay({ db: database.db, transport: { deliver }, clock, log, system, intervalMs: 20, ...options });
}

const ids = (messages: readonly OutboxMessage[]): string[] => messages.map(({ id }) => id);
const isEmpty = async () => (await countOutbox(database.db, 10)) === 0;

describe('the outbox', () => {
  it('has the message to the owner as soon as the operation is there, and neither when the transaction fails', async () => {
    const id = await write({ owner: 'compute@h1' });
    const [row] = await database.db.select().from(outbox);
    const decoded = decodeEnvelope(row?.envelope ?? '');
    expect(row?.mailbox).toBe('compute@h1');
    expect('envelope' in decoded ? decoded.envelope : decoded).toMatchObject({
      id: row?.id, type: 'compute.performOperation', to: 'compute@h1', orderKey: 'i-1', requestId: 'req-1', body: { instanceId: 'i-1', operationId: id },
    });
    await expect(database.db.transaction(async (tx) => {
      await insertOperation(tx, wish(), clock.date());
      throw new Error('not this time');
    })).rejects.toThrow('not this time');
    expect(await countOutbox(database.db, 10)).toBe(1);
    expect(await database.db.select().from(operations)).toHaveLength(1);
  });

  it('an owner that nobody knows how to tell is a mistake, and nothing is written', async () => {
    await expect(write({ kind: 'teapot.boil' })).rejects.toThrow('nobody knows how to tell scheduler of teapot.boil');
    expect(await database.db.select().from(operations)).toEqual([]);
  });

  it('counts no further than it must', async () => {
    for (let n = 0; n < 5; n += 1) await write();
    expect(await countOutbox(database.db, 3)).toBe(3);
  });
});

describe('the relay', () => {
  it('M3 sends what was committed by a process that died before it could send', async () => {
    const written = [await write(), await write({ resourceId: 'i-2' })];
    const seen: string[] = [];
    relayWith(async (messages) => {
      seen.push(...messages.map(({ envelope }) => JSON.parse(envelope).body.operationId as string));
      return ids(messages);
    });
    await eventually(isEmpty);
    expect(seen).toEqual(written);
  });

  it('M4 sends again with the same ids what a relay had delivered that died before its commit', async () => {
    await write();
    const first: string[] = [];
    await expect(relayBatch(database.db, { countMax: 10, except: [] }, async (messages) => {
      first.push(...ids(messages));
      throw new Error('kill -9');
    })).rejects.toThrow('kill -9');
    const second: string[] = [];
    await relayBatch(database.db, { countMax: 10, except: [] }, async (messages) => {
      second.push(...ids(messages));
      return ids(messages);
    });
    expect(second).toEqual(first);
    expect(await isEmpty()).toBe(true);
  });

  it('goes on by itself after refusals of everything', async () => {
    await write();
    let tries = 0;
    const relay = relayWith(async (messages) => {
      tries += 1;
      if (tries < 3) throw new Error('Redis is away');
      return ids(messages);
    });
    relay.kick();
    await eventually(isEmpty);
    expect(tries).toBe(3);
  });

  it('many relays on one outbox send each message once', async () => {
    for (let n = 0; n < 60; n += 1) await write({ resourceId: `i-${n}` });
    const sent: string[] = [];
    const relays = Array.from({ length: 4 }, () => relayWith(async (messages) => {
      sent.push(...ids(messages));
      return ids(messages);
    }, { batchMax: 7 }));
    for (const relay of relays) relay.kick();
    await eventually(isEmpty);
    expect(new Set(sent).size).toBe(60);
    expect(sent).toHaveLength(60);
  });

  it('a full mailbox keeps its messages, does not hold up others, says that it accepts no more, and recovers without loss', async () => {
    for (let n = 0; n < 10; n += 1) await write({ resourceId: `i-${n}` });
    await write({ resourceId: 'i-other', owner: 'compute@h1' });
    let room = 0;
    const sent: string[] = [];
    const relay = relayWith(async (messages) => {
      const stored = messages.filter(({ mailbox }) => mailbox !== 'scheduler' || (room -= 1) >= 0);
      sent.push(...ids(stored));
      return ids(stored);
    }, { batchMax: 4 });
    relay.kick();
    await eventually(async () => !relay.accepts('scheduler') && sent.length === 1);
    expect(relay.accepts('compute@h1')).toBe(true);
    await eventually(async () => (await countOutbox(database.db, 100)) === 10); // what was sent goes with the commit after it
    room = 1_000;
    await eventually(isEmpty);
    expect(new Set(sent).size).toBe(11);
    await eventually(async () => relay.accepts('scheduler'));
  });

  it('accepts nothing while too much waits, and again when it has gone', async () => {
    for (let n = 0; n < 5; n += 1) await write({ resourceId: `i-${n}` });
    let isAway = true;
    const relay = relayWith(async (messages) => {
      if (isAway) throw new Error('Redis is away');
      return ids(messages);
    }, { backlogMax: 5 });
    await eventually(async () => !relay.accepts('scheduler'));
    isAway = false;
    await eventually(isEmpty);
    await eventually(async () => relay.accepts('scheduler'));
  });
});

describe('a durable reply', () => {
  const replyTo = { mailbox: 'scheduler', actor: 'drain-h1' };
  const replies = async () => (await database.db.select().from(outbox)).map((row) => JSON.parse(row.envelope))
    .filter((envelope) => envelope.type === 'scheduler.operationEnded');

  it.each(['done', 'failed'] as const)('is written with the record that an operation is %s, once', async (state) => {
    const now = clock.date();
    const id = await write({ owner: 'compute@h1', replyTo });
    const epoch = await enrol(database.db, 'compute@h1', now);
    const taken = await takeOperation(database.db, { id, owner: 'compute@h1', epoch, firstStep: 'a', now });
    const held = { id, owner: 'compute@h1', epoch, replyTo: taken?.replyTo ?? null };
    expect(await replies()).toEqual([]);
    expect(await recordProgress(database.db, held, { state, error: null }, now)).toBe('held');
    expect(await recordProgress(database.db, held, { state, error: null }, now)).toBe('lost');
    expect(await replies()).toMatchObject([{ to: 'scheduler', requestId: 'req-1', body: { actor: 'drain-h1', operationId: id, state } }]);
  });

  it('is written when the operation is ended by another hand', async () => {
    const id = await write({ replyTo });
    await finishOperation(database.db, id, { state: 'failed', error: 'gone' }, clock.date());
    await finishOperation(database.db, id, { state: 'done' }, clock.date());
    expect(await replies()).toMatchObject([{ body: { operationId: id, state: 'failed' } }]);
  });
});

describe('a cloud whose messages', () => {
  let cloud: SimCloud;
  afterEach(() => cloud.close());

  it('M4 come twice each, and late once more, does everything once', async () => {
    cloud = await createSimCloud({ hosts: ['h1', 'h2'] });
    const { db } = cloud.database;
    const original = cloud.transport.deliver.bind(cloud.transport);
    const all: OutboxMessage[] = [];
    cloud.transport.deliver = async (messages) => {
      all.push(...messages);
      await original(messages);
      return original(messages);
    };
    const launched = await cloud.launch(6);
    await waitUntil('all to run', { timeoutMs: 25_000, pollMs: 20 }, async () =>
      (await Promise.all(launched.map((id) => stateOf(cloud, id)))).every((row) => row?.state === 'running'));
    await original(all);
    await eventually(async () => (await cloud.transport.depths()).every(({ waiting, inHand }) => waiting + inHand === 0));
    expect(cloud.hosts.flatMap((host) => [...host.world.domains.keys()]).toSorted()).toEqual(launched.toSorted());
    // An instance is told to run before its operation is told to be done.
    await eventually(async () => (await allOperations(cloud)).every(({ state }) => state !== 'running'));
    expect((await allOperations(cloud)).map(({ state, attempts }) => ({ state, attempts }))).toEqual(launched.map(() => ({ state: 'done', attempts: 1 })));
    for (const id of launched) expect(await db.$count(operations, eq(operations.resourceId, id))).toBe(1);
  });

  it('M3 cannot be sent for a while, nor kicked, does all of it when they can, with nobody asking again', async () => {
    cloud = await createSimCloud({ hosts: ['h1', 'h2'] });
    const original = cloud.transport.deliver.bind(cloud.transport);
    let isAway = true;
    let refused = 0;
    cloud.transport.deliver = async (messages) => {
      if (!isAway) return original(messages);
      refused += messages.length;
      throw new Error('Redis is away');
    };
    const launched = await cloud.launch(4);
    await eventually(async () => refused > 0);
    expect(await countOutbox(cloud.database.db, 10)).toBe(4);
    isAway = false;
    await waitUntil('all to run', { timeoutMs: 25_000, pollMs: 20 }, async () =>
      (await Promise.all(launched.map((id) => stateOf(cloud, id)))).every((row) => row?.state === 'running'));
    await eventually(async () => (await countOutbox(cloud.database.db, 10)) === 0);
  });
});
