// The transport between real processes: asks, casts and fan-out (M1), messages that end as dead letters, and a process that is stopped and
// goes on (kill -9 and SIGSTOP are the real ones).
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { compute, host1, scheduler } from '../contract/transport-protocol.ts';
import type { RedisTransport } from '../../src/transport/redis-streams.ts';
import { createRedisCloud, within, type RedisCloud } from '../support/redis-cloud.ts';
import { startRedis, type RedisServer } from '../support/redis-server.ts';

const root = resolve(import.meta.dirname, '../..');
let redis: RedisServer;
let cloud: RedisCloud;
let api: RedisTransport;
let children: ChildProcess[] = [];
let said: string[] = [];

beforeAll(async () => {
  redis = await startRedis();
});
afterAll(() => redis.close());
beforeEach(async () => {
  await redis.command('FLUSHALL');
  said = [];
  cloud = createRedisCloud(redis.url);
  api = cloud.process(`api@h1#${Math.random()}`);
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await cloud.close();
});

/** A serving process. `who` stands before what it says. */
async function serving(who: string): Promise<ChildProcess> {
  const execArgv = ['--import', join(root, 'node_modules/tsx/dist/loader.mjs')];
  const child = fork(join(root, 'spec/support/serve-in-process.mts'), [redis.url], { execArgv });
  children.push(child);
  child.on('message', (what) => said.push(`${who} ${String(what)}`));
  await within(60_000, () => said.includes(`${who} serves`) || child.exitCode !== null || child.signalCode !== null);
  return child;
}

it('M1: an ask has its answer by its deadline, a cast returns at once, both between two processes', async () => {
  await serving('a');
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => api.ask(host1, compute, 'double', { n }, { timeoutMs: 30_000 })));
  expect(answers.map(({ n }) => n)).toEqual(Array.from({ length: 50 }, (_, n) => 2 * n));
  await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 7 });
  await within(30_000, () => said.includes('a i-1:7:1'));
});

it('a message that throws, one that cannot be read and one that kills its process are dead letters, each after its five deliveries', async () => {
  await api.tell(host1, compute, 'note', { instanceId: 'i-kill', n: 1 });
  await api.tell(host1, compute, 'note', { instanceId: 'i-throw', n: 2 });
  await redis.command('XADD', 'nv:{compute@host1}:mb', '*', 'm', 'no envelope');
  await redis.command('XADD', 'nv:{compute@host1}:mb', '*', 'other', 'field');
  await api.tell(host1, compute, 'note', { instanceId: 'i-1', n: 3 });
  let lives = 0;
  for (; lives < 5; lives += 1) {
    const child = await serving(`life${lives}`);
    if (child.signalCode === null && child.exitCode === null) await once(child, 'exit');
    expect(child.signalCode).toBe('SIGKILL');
  }
  await serving('last');
  await within(30_000, async () => (await api.deadLetters()).length === 4);
  const letters = await api.deadLetters();
  expect(letters.map(({ reason, type }) => `${reason} ${type}`).toSorted()).toEqual(['invalid ', 'invalid ', 'poison compute.note', 'poison compute.note']);
  expect(letters.find(({ error }) => error?.includes('its receivers ended 5 times'))).toBeDefined();
  expect(letters.find(({ error }) => error === 'as always')).toBeDefined();
  // What was in hand beside it was done in the end, once, and is no dead letter.
  expect(said.filter((each) => each.includes('i-1:3'))).toHaveLength(1);
  await within(30_000, async () => (await api.depths()).some(({ mailbox, waiting, inHand }) => mailbox === 'compute@host1' && waiting + inHand === 0));
});

it('two readers of a shared mailbox, one of them stopped: its work is done by the other, and what it had not begun is not done twice', async () => {
  const first = await serving('a'); // what it begins it does not end before it is told to
  for (const n of [1, 2]) await api.tell({ role: 'scheduler' }, scheduler, 'place', { n });
  await within(30_000, () => said.filter((each) => each.includes('begun')).length === 2);
  first.kill('SIGSTOP');
  for (const n of [3, 4]) await api.tell({ role: 'scheduler' }, scheduler, 'place', { n });
  (await serving('b')).send('end');
  await within(60_000, () => [1, 2, 3, 4].every((n) => said.includes(`b placed:${n}`)));
  first.kill('SIGCONT');
  first.send('end');
  await api.tell({ role: 'scheduler' }, scheduler, 'place', { n: 5 });
  await within(30_000, () => said.some((each) => each.endsWith('placed:5')));
  await within(30_000, async () => (await api.depths()).every(({ waiting, inHand }) => waiting + inHand === 0));
  for (const n of [3, 4, 5]) expect(said.filter((each) => each.endsWith(`placed:${n}`)), `${n}`).toHaveLength(1);
  expect(await api.deadLetters()).toEqual([]);
});
