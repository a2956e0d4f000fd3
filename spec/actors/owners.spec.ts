// Who may act: the latest start of a host's role, and of a shared owner whoever holds the operation.
import { eq } from 'drizzle-orm';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { performOperation, type Ending, type Owner } from '../../src/actors/operations/perform-operation.ts';
import { defineResource } from '../../src/actors/operations/resource-actor.ts';
import { defineWorkSweeper, unlessSuperseded } from '../../src/actors/operations/sweep-work.ts';
import type { ActorDefinition } from '../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../src/actors/runtime/system.ts';
import { insertOperation, takeOperation, unfinishedOperations } from '../../src/db/operations.ts';
import { enrol, holdMs, releaseHolds } from '../../src/db/owners.ts';
import { takeEpoch } from '../../src/db/hosts.ts';
import { operations } from '../../src/db/schema/operations.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Flow } from '../../src/lib/flow.ts';
import { silentLog as log } from '../../src/lib/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { createManualClock } from '../support/manual-clock.ts';
import { createSimCloud, startCompute } from '../support/sim-cloud.ts';
import { eventually, gate, until } from '../support/waiting.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterEach(() => database.db.delete(operations));
afterAll(() => database.close());

const clock = createManualClock(Date.parse('2026-01-01T00:00:00Z'));
const never = new AbortController().signal;

async function wish(owner: string, kind: string, resourceId = 'ami-1'): Promise<string> {
  return insertOperation(database.db, {
    kind, resourceId, projectId: 'p', userId: 'u', requestId: 'r', owner, deadline: new Date(clock.now() + 3_600_000),
  }, clock.date());
}

async function take(owner: Owner, id: string) {
  return takeOperation(database.db, { id, owner: owner.name, epoch: owner.epoch, firstStep: 'one', now: clock.date() });
}

const start = async (name: string): Promise<Owner> => ({ name, epoch: await enrol(database.db, name, clock.date()) });

async function perform(owner: Owner, id: string, flow: Flow<null>, signal = never): Promise<Ending> {
  const [operation] = await database.db.select().from(operations).where(eq(operations.id, id));
  if (operation === undefined) throw new Error('no operation');
  return performOperation({ db: database.db, clock, log, owner, operation, flow, context: null, signal, onFailed: async () => false });
}

describe('an owner with a host', () => {
  it('is the latest start: an earlier one takes nothing, not even what nobody has taken', async () => {
    const earlier = await start('compute@h1');
    const id = await wish('compute@h1', 'instance.run', 'i-1');
    const later = await start('compute@h1');
    expect(await take(earlier, id)).toBeUndefined();
    expect(await take(later, id)).toMatchObject({ epoch: later.epoch });
    expect(await take({ ...later, name: 'compute@h2' }, id)).toBeUndefined();
  });

  it('ends itself when it sees its successor, and says who that is', async () => {
    const earlier = await start('compute@h3');
    const fatal: unknown[] = [];
    const system = createActorSystem({ name: 'superseded', clock: systemClock, log, onFatal: (error) => void fatal.push(error) });
    const parent: ActorDefinition<null, never> = {
      kind: 'parent',
      init(context) {
        context.spawn(defineWorkSweeper({ db: database.db, owner: earlier, intervalMs: 20, wake: () => undefined }), 'sweeper', undefined);
        return null;
      },
      handle: () => undefined,
      onError: (error) => unlessSuperseded(error, 'resume'),
      onChildFailed: (_child, error) => unlessSuperseded(error, 'restart'),
    };
    system.spawn(parent, 'parent', undefined);
    await database.db.$count(operations);
    expect(fatal).toEqual([]);
    const later = await start('compute@h3');
    await until(() => fatal.length > 0);
    expect(String(fatal[0])).toContain(`compute@h3: start ${later.epoch} has taken over (since 2026-01-01T00:00:00.000Z); this is start ${earlier.epoch}`);
    await system.stop(1_000);
  });
});

describe('a compute host', () => {
  it('whose successor has started goes down whole, so that its process ends', async () => {
    const cloud = await createSimCloud({ start: false });
    const [host] = cloud.hosts;
    if (host === undefined) throw new Error('no host');
    const fatal: unknown[] = [];
    const system = createActorSystem({ name: 'woken', clock: systemClock, log, onFatal: (error) => void fatal.push(error) });
    await startCompute({ ...host.compute, system, limits: { ...host.compute.limits, sweepIntervalMs: 20 } }, cloud.transport);
    await takeEpoch(cloud.database.db, { host: host.name, role: 'compute' }, new Date());
    await until(() => fatal.length > 0);
    expect(String(fatal[0])).toContain('has taken over');
    await system.stop(1_000);
    await cloud.close();
  });
});

describe('the processes of a shared owner', () => {
  it('are numbered together, whatever their hosts', async () => {
    const numbers = [(await start('objectstore')).epoch, (await start('objectstore')).epoch, (await start('scheduler')).epoch];
    expect(numbers[1]).toBe((numbers[0] ?? 0) + 1);
    expect(numbers[2]).toBe(1);
  });

  it('do not take from each other what is worked on, however long a step lasts', async () => {
    const [one, other] = [await start('objectstore'), await start('objectstore')];
    const id = await wish('objectstore', 'image.register');
    const { opened, open } = gate();
    const performed: number[] = [];
    const flow = (owner: Owner): Flow<null> => ({ name: 'f', steps: [{ name: 'one', do: async () => {
      performed.push(owner.epoch);
      await opened;
    } }] });
    const first = perform(one, id, flow(one));
    await until(() => performed.length === 1);
    for (let time = 0; time < 12; time += 1) {
      await until(() => clock.timers > 0, 'the renewal is due');
      await clock.advance(holdMs / 3);
      const renewedAt = async () => (await unfinishedOperations(database.db, 'ami-1'))[0]?.updatedAt.getTime();
      await eventually(async () => (await renewedAt()) === clock.now(), 'it is renewed');
      expect(await perform(other, id, flow(other))).toBe('lost');
    }
    open();
    expect(await first).toBe('done');
    expect(performed).toEqual([one.epoch]);
  });

  it('take what a dead one held when nobody renews it, and that one can record nothing any more', async () => {
    const [dead, living] = [await start('objectstore'), await start('objectstore')];
    const id = await wish('objectstore', 'image.register');
    expect(await take(dead, id)).toBeDefined();
    expect(await take(living, id)).toBeUndefined();
    await clock.advance(holdMs + 1);
    expect(await take(living, id)).toMatchObject({ epoch: living.epoch, attempts: 2 });
    expect(await take(dead, id)).toBeUndefined();
  });

  it('take at once what a dead one held when there can be no other', async () => {
    const dead = await start('objectstore');
    const [id, elsewhere] = [await wish('objectstore', 'image.register'), await wish('compute@h7', 'instance.run', 'i-7')];
    const host = await start('compute@h7');
    expect([await take(dead, id), await take(host, elsewhere)]).not.toContain(undefined);
    await releaseHolds(database.db, 'objectstore');
    const living = await start('objectstore');
    expect(await take(living, id)).toMatchObject({ epoch: living.epoch, attempts: 2 });
    const [untouched] = await database.db.select({ epoch: operations.epoch }).from(operations).where(eq(operations.id, elsewhere));
    expect(untouched).toEqual({ epoch: host.epoch });
  });

  it('take at once what one gave back that was told to stop', async () => {
    const [one, other] = [await start('objectstore'), await start('objectstore')];
    const id = await wish('objectstore', 'image.register');
    const stopping = new AbortController();
    const flow: Flow<null> = { name: 'f', steps: [{ name: 'one', do: async () => stopping.abort() }, { name: 'two', do: async () => undefined }] };
    await expect(perform(one, id, flow, stopping.signal)).rejects.toThrow('stopping');
    expect(await perform(other, id, flow)).toBe('done');
    expect(await unfinishedOperations(database.db, 'ami-1')).toEqual([]);
  });

  it('one that lost its hold stops at the next step', async () => {
    const [one, other] = [await start('objectstore'), await start('objectstore')];
    const id = await wish('objectstore', 'image.register');
    const steps: string[] = [];
    const { opened, open } = gate();
    const flow: Flow<null> = { name: 'f', steps: [
      { name: 'one', do: async () => { steps.push('one'); await opened; } }, { name: 'two', do: async () => void steps.push('two') },
    ] };
    const first = perform(one, id, flow);
    await until(() => steps.length === 1);
    await database.db.update(operations).set({ updatedAt: new Date(0) });
    expect(await take(other, id)).toBeDefined();
    open();
    await expect(first).rejects.toThrow(/not held|stopping/);
    expect(steps).toEqual(['one']);
  });
});

describe('M7 periodic tasks', () => {
  it('run at their interval with jitter, never two at once, and one that raises stops no other', async () => {
    const own = createManualClock();
    const times: Record<string, number[]> = { good: [], bad: [], slow: [] };
    let inSlow = 0;
    let atOnce = 0;
    const { opened, open } = gate();
    const task = (name: string, work: () => Promise<void>): ActorDefinition<null, 'tick'> => ({
      kind: name,
      init(context) {
        context.every(1_000, 'tick');
        return null;
      },
      async handle() {
        times[name]?.push(own.now());
        await work();
      },
      onError: () => 'resume',
    });
    let seed = 0;
    const system = createActorSystem({ name: 'm7', clock: own, log, onFatal: (error) => { throw error; }, random: () => (seed = (seed + 0.37) % 1) });
    system.spawn(task('good', async () => undefined), 'good', undefined);
    system.spawn(task('bad', async () => { throw new Error('again and again'); }), 'bad', undefined);
    system.spawn(task('slow', async () => {
      atOnce = Math.max(atOnce, (inSlow += 1));
      await opened;
      inSlow -= 1;
    }), 'slow', undefined);
    for (let second = 0; second < 20; second += 1) await own.advance(1_000);
    const gaps = (times['good'] ?? []).slice(1).map((at, position) => at - (times['good']?.[position] ?? 0));
    expect(gaps.length).toBeGreaterThanOrEqual(17);
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(900);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(1_100);
    expect(new Set(gaps).size).toBeGreaterThan(1);
    expect((times['bad'] ?? []).length).toBeGreaterThanOrEqual(17);
    expect(times['slow']).toHaveLength(1);
    open();
    await eventually(async () => inSlow === 0);
    await own.advance(5_000);
    expect((times['slow'] ?? []).length).toBeGreaterThan(3);
    expect(atOnce).toBe(1);
    const stopped = system.stop(1_000);
    await own.advance(1_000);
    await stopped;
  });
});

describe('the worker of a resource', () => {
  it('that is stopped in the middle leaves its operation to the next start, and that is no failure', async () => {
    const entries: { level: number; msg: string }[] = [];
    const noted = pino({ level: 'info' }, { write: (line: string) => void entries.push(JSON.parse(line)) });
    const owner = await start('compute@h7');
    const id = await wish(owner.name, 'instance.run', 'i-7');
    const began: string[] = [];
    const flow: Flow<AbortSignal> = { name: 'f', steps: [
      { name: 'one', do: (signal) => new Promise((resolve) => {
        began.push('one');
        signal.addEventListener('abort', () => resolve(undefined));
      }) },
      { name: 'two', do: async () => void began.push('two') },
    ] };
    const system = createActorSystem({ name: 'leaves', clock: systemClock, log: noted, onFatal: (error) => { throw error; } });
    const resource = defineResource({
      kind: 'instance', db: database.db, system, owner: owner.name, urgent: [],
      perform: (operation, { signal }) => performOperation({
        db: database.db, clock, log, owner, operation, flow, context: signal, signal, onFailed: async () => false,
      }),
    });
    system.tell(system.spawn(resource, 'i-7', 'i-7'), { type: 'work' });
    await until(() => began.length === 1);
    await system.stop(1_000);
    expect(began).toEqual(['one']);
    expect(await unfinishedOperations(database.db, 'i-7')).toMatchObject([{ id, state: 'running', steps: [{ name: 'one', state: 'done' }] }]);
    expect(entries).toMatchObject([{ level: 30, msg: 'left in the middle, for the next start', operation: id }]);
  });
});
