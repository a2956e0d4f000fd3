// What the local transport promises beyond the contract: one order over all receivers of a shared mailbox, bounded dead
// letters, undecodable texts, and the medium under a clock that is passed in.
import { expect, it } from 'vitest';
import { z } from 'zod';
import { systemClock } from '../../../src/lib/clock.ts';
import { SetupError } from '../../../src/lib/errors.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { protocol } from '../../../src/messages/protocol.ts';
import { createLocalMedium, createLocalTransport } from '../../../src/transport/local.ts';
import { createManualClock } from '../../support/manual-clock.ts';
import { gate, until } from '../../support/waiting.ts';

const scheduler = protocol('scheduler', {
  place: { doc: 'Shared work.', body: z.object({ instanceId: z.string(), n: z.number() }) },
  where: { doc: 'An answer.', body: z.object({}), reply: z.object({ host: z.string() }) },
});
const work = { where: () => ({ host: 'host1' }) };
const to = { role: 'scheduler' } as const;
const settings = { clock: systemClock, log: silentLog };

it('order holds per key over all receivers of a shared mailbox', async () => {
  const medium = createLocalMedium(settings);
  const seen = new Map<string, number[]>();
  const processes = ['a', 'b', 'c'].map((process) => createLocalTransport({ ...settings, medium, process }));
  for (const transport of processes) {
    await transport.serve(to, scheduler, { ...work, place: async ({ instanceId, n }) => {
      await new Promise((resolve) => { setTimeout(resolve, Math.random() * 2); });
      seen.set(instanceId, [...(seen.get(instanceId) ?? []), n]);
    } });
  }
  const [sender] = processes;
  for (let n = 0; n < 30; n += 1) for (const instanceId of ['i-1', 'i-2']) await sender?.tell(to, scheduler, 'place', { instanceId, n });
  await until(() => [...seen.values()].flat().length === 60);
  for (const numbers of seen.values()) expect(numbers).toEqual(Array.from({ length: 30 }, (_, n) => n));
  await Promise.all(processes.map((transport) => transport.close()));
});

it('retries follow the clock that was passed in, with a growing pause', async () => {
  const clock = createManualClock();
  const transport = createLocalTransport({ clock, log: silentLog, process: 'p' });
  const at: number[] = [];
  const startedAt = clock.now();
  await transport.serve(to, scheduler, { ...work, place: () => {
    at.push(clock.now() - startedAt);
    throw new Error('always');
  } });
  await transport.tell(to, scheduler, 'place', { instanceId: 'i-1', n: 1 });
  await clock.advance(10_000);
  expect(at).toEqual([0, 100, 300, 700, 1500]);
  expect((await transport.deadLetters()).map(({ reason }) => reason)).toEqual(['poison']);
});

it('the dead letters are bounded, and the newest are kept', async () => {
  const transport = createLocalTransport({ ...settings, process: 'p', maxima: { deadLettersMax: 3 } });
  await transport.serve(to, scheduler, { ...work, place: () => { throw new Error('always'); } }, { deliveriesMax: 1 });
  for (let n = 0; n < 5; n += 1) await transport.tell(to, scheduler, 'place', { instanceId: `i-${n}`, n });
  await transport.ask(to, scheduler, 'where', {});
  expect(await transport.deadLetters()).toHaveLength(3);
});

it('a text that is no envelope is a dead letter with its reason, and the mailbox goes on', async () => {
  const medium = createLocalMedium(settings);
  const transport = createLocalTransport({ ...settings, medium, process: 'p' });
  medium.mailbox('scheduler').put('{"v":2,"id":"x","type":"scheduler.place"}', undefined);
  medium.mailbox('scheduler').put('garbage', undefined);
  await transport.serve(to, scheduler, { ...work, place: () => undefined });
  await transport.ask(to, scheduler, 'where', {});
  expect((await transport.deadLetters()).map(({ reason }) => reason)).toEqual(['unknownVersion', 'invalid']);
});

it('an owned mailbox has one owner, and a process name is given once', async () => {
  const medium = createLocalMedium(settings);
  const first = createLocalTransport({ ...settings, medium, process: 'p' });
  expect(() => createLocalTransport({ ...settings, medium, process: 'p' })).toThrow(SetupError);
  const second = createLocalTransport({ ...settings, medium, process: 'q' });
  const owned = { role: 'scheduler', host: 'h' } as const;
  const subscription = await first.serve(owned, scheduler, { ...work, place: () => undefined });
  await expect(second.serve(owned, scheduler, { ...work, place: () => undefined })).rejects.toMatchObject({ kind: 'invalid' });
  await subscription.stop(100);
  await second.serve(owned, scheduler, { ...work, place: () => undefined });
  await first.close();
  await second.close();
  createLocalTransport({ ...settings, medium, process: 'p' });
});

it('fan-out leaves out a host whose mailbox is full', async () => {
  const transport = createLocalTransport({ ...settings, process: 'p' });
  for (const [host, depthMax] of [['h1', 0], ['h2', 5]] as const) {
    await transport.serve({ role: 'scheduler', host }, scheduler, { ...work, place: () => undefined }, { depthMax });
  }
  expect(await transport.fanOut('scheduler', scheduler, 'place', { instanceId: 'i-1', n: 1 })).toEqual(['h2']);
  await transport.close();
});

it('a receiver that was given up and ends late does not let the next message of its key begin', async () => {
  const transport = createLocalTransport({ ...settings, process: 'p' });
  const [first, second] = [gate(), gate()];
  const seen: string[] = [];
  const place = (name: string, held: ReturnType<typeof gate>) => async ({ n }: { n: number }): Promise<void> => {
    seen.push(`${name} begins ${n}`);
    await held.opened;
    seen.push(`${name} ends ${n}`);
  };
  const subscription = await transport.serve(to, scheduler, { ...work, place: place('first', first) });
  for (const n of [1, 2]) await transport.tell(to, scheduler, 'place', { instanceId: 'i-1', n });
  await until(() => seen.length === 1);
  await subscription.stop(1);
  await transport.serve(to, scheduler, { ...work, place: place('second', second) });
  await until(() => seen.length === 2);
  first.open();
  await until(() => seen.length === 3);
  await transport.ask(to, scheduler, 'where', {});
  expect(seen).toEqual(['first begins 1', 'second begins 1', 'first ends 1']);
  second.open();
  await until(() => seen.length === 6);
  expect(seen.slice(3)).toEqual(['second ends 1', 'second begins 2', 'second ends 2']);
});

it('a handler never runs within the call that sends', async () => {
  const transport = createLocalTransport({ ...settings, process: 'p' });
  const order: string[] = [];
  await transport.serve(to, scheduler, { ...work, place: () => void order.push('handled') });
  const told = transport.tell(to, scheduler, 'place', { instanceId: 'i-1', n: 1 });
  order.push('sent');
  await told;
  await until(() => order.length === 2);
  expect(order).toEqual(['sent', 'handled']);
});
