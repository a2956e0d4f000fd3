// What happens to messages while Redis is killed, emptied, paused, cut off, slow or failed over. The sender is what the outbox is: it sends
// again, with the same id, what has had no effect yet. The receiver is guarded by ids, as rows guard the product. In all cases no call
// hangs, no effect comes twice and none is missing.
import { afterEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/lib/clock.ts';
import { newMessageId } from '../../src/lib/ids.ts';
import { encodeEnvelope } from '../../src/messages/envelope.ts';
import { group } from '../../src/transport/redis-keys.ts';
import { TransportError } from '../../src/transport/transport.ts';
import { compute, handlers, host1, scheduler } from '../contract/transport-protocol.ts';
import { createRedisCloud, within, type RedisCloud } from '../support/redis-cloud.ts';
import { startRedis, startSentinels, type RedisServer } from '../support/redis-server.ts';
import { gate } from '../support/waiting.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function serverWith(settings: readonly (readonly [string, string])[] = []): Promise<RedisServer> {
  const redis = await startRedis({ settings });
  ends.push(() => redis.close());
  return redis;
}

function cloudOn(url: string, maxima = {}): RedisCloud {
  const cloud = createRedisCloud(url, { commandTimeoutMs: 2000, keepMs: 1000, blockMs: 1000, ...maxima });
  ends.push(() => cloud.close());
  return cloud;
}

interface Outcome {
  readonly sent: number;
  readonly effects: ReadonlyMap<string, number>;
  readonly asks: { answered: number; rejected: number };
  readonly hung: number;
  /** Handlers of one order key that ran beside one another. */
  readonly overlaps: number;
}

/** Sends 60 messages a second for `forMs`, hurts the server meanwhile, and returns when each message had its effect. */
async function underLoad(cloud: RedisCloud, forMs: number, hurt: () => Promise<void>): Promise<Outcome> {
  const [api, worker] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1')];
  const effects = new Map<string, number>();
  const running = new Set<string>();
  let overlaps = 0;
  await worker.serve(host1, compute, handlers({ note: async ({ instanceId }, { id }) => {
    if (running.has(instanceId)) overlaps += 1;
    running.add(instanceId);
    const isNew = !effects.has(id);
    await systemClock.sleep(1);
    // Only the order of a key keeps two deliveries of one id from both finding it new.
    if (isNew) effects.set(id, (effects.get(id) ?? 0) + 1);
    running.delete(instanceId);
  } }));
  const open = new Set<Promise<unknown>>();
  const track = <T>(promise: Promise<T>): Promise<T> => {
    open.add(promise);
    promise.catch(() => undefined).finally(() => open.delete(promise));
    return promise;
  };
  const asks = { answered: 0, rejected: 0 };
  const rows = new Map<string, { id: string; mailbox: string; envelope: string }>();
  const endsAt = performance.now() + forMs;
  const hurting = hurt();
  for (let n = 0; performance.now() < endsAt; n += 1) {
    const id = newMessageId(Date.now());
    const body = { instanceId: `i-${n % 7}`, n };
    const envelope = { v: 1 as const, id, type: 'compute.note', to: 'compute@host1', from: 'outbox', orderKey: body.instanceId, body };
    rows.set(id, { id, mailbox: 'compute@host1', envelope: encodeEnvelope(envelope) });
    if (n % 4 === 0) {
      track(api.ask(host1, compute, 'double', { n }, { timeoutMs: 3000 })).then(() => (asks.answered += 1), () => (asks.rejected += 1));
      track(api.deliver([...rows.values()].filter((row) => !effects.has(row.id)).slice(0, 100))).catch(() => undefined);
    }
    await systemClock.sleep(16);
  }
  await hurting;
  await within(60_000, async () => {
    const missing = [...rows.values()].filter((row) => !effects.has(row.id));
    if (missing.length === 0) return true;
    await track(api.deliver(missing.slice(0, 200))).catch(() => undefined);
    await systemClock.sleep(200);
    return false;
  }, 'every message has its effect');
  await within(30_000, () => open.size === 0, 'every call has ended').catch(() => undefined);
  return { sent: rows.size, effects, asks, hung: open.size, overlaps };
}

function expectWhole({ sent, effects, asks, hung, overlaps }: Outcome): void {
  expect({ hung, overlaps }).toEqual({ hung: 0, overlaps: 0 });
  expect(effects.size).toBe(sent);
  expect([...effects.values()].every((count) => count === 1)).toBe(true);
  expect(asks.answered).toBeGreaterThan(0);
}

describe('under load', () => {
  it('M5: Redis is killed and started again', async () => {
    const redis = await serverWith();
    expectWhole(await underLoad(cloudOn(redis.url), 4000, async () => {
      for (let round = 0; round < 2; round += 1) {
        await systemClock.sleep(800);
        await redis.kill9();
        await systemClock.sleep(300);
        await redis.start();
      }
    }));
  });

  it('Redis is emptied', async () => {
    const redis = await serverWith();
    expectWhole(await underLoad(cloudOn(redis.url), 4000, async () => {
      for (let round = 0; round < 3; round += 1) {
        await systemClock.sleep(700);
        await redis.command('FLUSHALL');
      }
    }));
  });

  it('M4: Redis is paused for 6 s', async () => {
    const redis = await serverWith();
    expectWhole(await underLoad(cloudOn(redis.url), 9000, async () => {
      await systemClock.sleep(800);
      redis.pause();
      await systemClock.sleep(6000);
      redis.resume();
    }));
  });

  it('every connection is cut 20 times', async () => {
    const redis = await serverWith();
    expectWhole(await underLoad(cloudOn(redis.url), 5000, async () => {
      for (let round = 0; round < 20; round += 1) {
        await systemClock.sleep(200);
        await redis.command('CLIENT', 'KILL', 'TYPE', 'normal');
      }
    }));
  });

  it('the disk is slow: each write waits for it, and the server stands still now and then', async () => {
    const redis = await serverWith([['appendfsync', 'always']]);
    expectWhole(await underLoad(cloudOn(redis.url), 5000, async () => {
      for (let round = 0; round < 2; round += 1) {
        await systemClock.sleep(500);
        await redis.command('DEBUG', 'SLEEP', '1.5');
      }
    }));
  });

  it('the primary dies and the sentinels make the replica the primary', async () => {
    const sentinels = await startSentinels();
    ends.push(() => sentinels.close());
    expectWhole(await underLoad(cloudOn(sentinels.url), 8000, async () => {
      await systemClock.sleep(1000);
      await sentinels.primary.kill9();
      await within(60_000, async () => (await sentinels.primaryPort()) === sentinels.replica.port);
    }));
  });
});

it('M5: while Redis is away sends are refused as unavailable within the command\'s time; afterwards all goes on by itself', async () => {
  const redis = await serverWith();
  const cloud = cloudOn(redis.url);
  const [api, worker] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1')];
  await worker.serve(host1, compute, handlers());
  expect(await api.ask(host1, compute, 'double', { n: 1 })).toEqual({ n: 2 });
  await redis.kill9();
  await systemClock.sleep(100);
  for (let round = 0; round < 3; round += 1) {
    const startedAt = performance.now();
    const errors = await Promise.all([
      api.tell(host1, compute, 'mark', { n: 1 }), api.ask(host1, compute, 'double', { n: 1 }), api.depths(), api.deadLetters(),
      api.deliver([{ id: 'x', mailbox: 'compute@host1', envelope: '{}' }]),
    ].map((call) => (call as Promise<unknown>).then(() => undefined, (error: unknown) => error)));
    for (const error of errors) expect((error as TransportError).kind).toBe('unavailable');
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  }
  await within(30_000, () => worker.health().readerLagMs > 5000);
  await redis.start();
  await within(30_000, () => api.ask(host1, compute, 'double', { n: 2 }, { timeoutMs: 1000 }).then(({ n }) => n === 4, () => false));
  await within(30_000, () => worker.health().readerLagMs < 2000);
});

it.each(['all', 'one'])('goes on when it is cut off and of the sentinels, which it asks for the primary, %s are frozen for a while', async (which) => {
  const sentinels = await startSentinels();
  ends.push(() => sentinels.close());
  const cloud = cloudOn(sentinels.url, { commandTimeoutMs: 500 });
  const [api, worker] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1')];
  await worker.serve(host1, compute, handlers());
  const isAnswered = (n: number) => api.ask(host1, compute, 'double', { n }, { timeoutMs: 2000 }).then((answer) => answer.n === 2 * n, () => false);
  await within(30_000, () => isAnswered(1));
  sentinels.pauseSentinels(which === 'all' ? undefined : 1);
  await sentinels.primary.command('CLIENT', 'KILL', 'TYPE', 'normal');
  if (which === 'one') return within(60_000, () => isAnswered(2));
  // Its new connection waits for a sentinel. The command is given up, and with it that connection.
  for (let round = 0; round < 3; round += 1) await expect(api.tell(host1, compute, 'mark', { n: 1 })).rejects.toMatchObject({ kind: 'unavailable' });
  sentinels.resumeSentinels();
  await within(60_000, () => isAnswered(2));
});

it('M9: order of one key holds over the end of its reader, and over one that is killed', async () => {
  const redis = await serverWith();
  const cloud = cloudOn(redis.url);
  const api = cloud.process('api@h1#1');
  const seen: number[] = [];
  const note = async ({ n }: { n: number }): Promise<void> => {
    await systemClock.sleep(1);
    if (!seen.includes(n)) seen.push(n);
  };
  for (let n = 0; n < 300; n += 1) void api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
  for (let life = 0; seen.length < 300; life += 1) {
    const worker = cloud.process(`compute@host1#${life}`);
    const subscription = await worker.serve(host1, compute, handlers({ note }));
    const target = Math.min(300, seen.length + 60);
    await within(30_000, () => seen.length >= target);
    if (life % 2 === 0) worker.abandon();
    else await subscription.stop(1000);
  }
  expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
});

it('M10: the memory of Redis is stable under 10 000 casts, and nothing of them is left', async () => {
  const redis = await serverWith();
  const cloud = cloudOn(redis.url);
  const [api, worker] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1')];
  let handled = 0;
  await worker.serve(host1, compute, handlers({ mark: () => void (handled += 1) }));
  const used = async (): Promise<number> => Number(/used_memory:(\d+)/.exec(await redis.command('INFO', 'memory'))?.[1]);
  const casts = async (count: number): Promise<void> => {
    const target = handled + count;
    for (let n = 0; n < count; n += 250) await Promise.all(Array.from({ length: 250 }, () => api.tell(host1, compute, 'mark', { n })));
    for (let n = 0; n < count; n += 50) await api.ask(host1, compute, 'double', { n });
    await within(60_000, () => handled === target);
  };
  await casts(1000);
  const before = await used();
  await casts(10_000);
  await within(30_000, async () => (await redis.command('XLEN', 'nv:{compute@host1}:mb')) === '0');
  expect((await used()) - before).toBeLessThan(1_500_000);
  expect(Number(await redis.command('XLEN', 'nv:{p:api@h1#1}:re'))).toBeLessThan(300);
});

it('M2: an answer that nobody waits for any more leaves nothing behind', async () => {
  const redis = await serverWith();
  const cloud = cloudOn(redis.url);
  const [api, worker] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1')];
  let asked = 0;
  let answer = (): void => undefined;
  const nobodyWaits = new Promise<void>((resolve) => { answer = resolve; });
  await worker.serve(host1, compute, handlers({ double: async ({ n }) => {
    asked += 1;
    await nobodyWaits;
    return { n };
  } }));
  await expect(api.ask(host1, compute, 'double', { n: 1 }, { timeoutMs: 4000 })).rejects.toMatchObject({ kind: 'timeout' });
  await api.close();
  answer();
  await within(30_000, async () => asked === 1 && (await redis.command('XLEN', 'nv:{compute@host1}:mb')) === '0');
  expect(await redis.command('KEYS', 'nv:{p:*')).toBe('');
});

it('a receiver of a shared mailbox that is paused loses its work to another, and long work that lives is not taken', async () => {
  const redis = await serverWith();
  const claimIdleMs = 4000;
  const cloud = cloudOn(redis.url, { claimIdleMs, claimEveryMs: 200, keepMs: 300, blockMs: 200 });
  const [api, one, two] = [cloud.process('api@h1#1'), cloud.process('scheduler@h1#1'), cloud.process('scheduler@h2#1')];
  const begun: string[] = [];
  let end = (): void => undefined;
  const ended = new Promise<void>((resolve) => { end = resolve; });
  await one.serve({ role: 'scheduler' }, scheduler, { place: async ({ n }) => {
    begun.push(`one:${n}`);
    await ended;
  } }, { concurrencyMax: 1 });
  await api.tell({ role: 'scheduler' }, scheduler, 'place', { n: 0 });
  await within(30_000, () => begun.length === 1);
  await two.serve({ role: 'scheduler' }, scheduler, { place: ({ n }) => void begun.push(`two:${n}`) });
  await systemClock.sleep(2 * claimIdleMs); // kept by its receiver
  expect(begun).toEqual(['one:0']);
  one.abandon(); // silent from now on, as a process that is stopped
  await within(30_000, () => begun.includes('two:0'));
  await within(30_000, async () => (await redis.command('XLEN', 'nv:{scheduler}:mb')) === '0');
  end(); // what it says now is not heard
  await api.tell({ role: 'scheduler' }, scheduler, 'place', { n: 1 });
  await within(30_000, () => begun.length === 3);
  expect(begun).toEqual(['one:0', 'two:0', 'two:1']);
});

it('an owner that another process has replaced handles and acknowledges nothing more, and what it still took is not lost', async () => {
  const redis = await serverWith();
  const cloud = cloudOn(redis.url, { keepMs: 300, blockMs: 200 });
  const [api, old, heir] = [cloud.process('api@h1#1'), cloud.process('compute@host1#1'), cloud.process('compute@host1#2')];
  const seen: string[] = [];
  const held = gate();
  await old.serve(host1, compute, handlers({ note: async ({ n }) => {
    seen.push(`old:${n}`);
    await held.opened;
  } }));
  for (const n of [1, 2, 3]) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
  // All three are in its hands, two of them not begun.
  const pending = async () => (await redis.command('XPENDING', 'nv:{compute@host1}:mb', group, '-', '+', '9')).split('\n');
  const deliveriesOfEach = async () => (await pending()).filter((_line, index) => index % 4 === 3);
  await within(20_000, async () => String(await deliveriesOfEach()) === '1,0,0');
  await heir.serve(host1, compute, handlers({ note: ({ n }, { deliveries }) => void seen.push(n > 3 ? `heir:${n}` : `heir:${n}:${deliveries}`) }));
  // Redis gives them to the one that waits longer, which is the old one until it has looked whether it is still the owner.
  for (const n of [4, 5]) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
  const all = ['old:1', 'heir:1:2', 'heir:2:1', 'heir:3:1', 'heir:4', 'heir:5'];
  await within(20_000, () => seen.length === all.length);
  expect(seen).toEqual(all);
  await within(20_000, async () => (await redis.command('XLEN', 'nv:{compute@host1}:mb')) === '0');
  held.open();
  for (const n of [6, 7]) await api.tell(host1, compute, 'note', { instanceId: 'i-1', n });
  await within(20_000, () => seen.length === all.length + 2);
  expect(seen).toEqual([...all, 'heir:6', 'heir:7']);
});
