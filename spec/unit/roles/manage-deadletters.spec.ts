// What `novact manage deadletters` does, over a transport in memory.
import { beforeEach, expect, it } from 'vitest';
import { systemClock } from '../../../src/lib/clock.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { deadLetterCommands } from '../../../src/roles/manage/deadletters.ts';
import { createLocalTransport } from '../../../src/transport/local.ts';
import type { Transport } from '../../../src/transport/transport.ts';
import { compute, handlers, host1 } from '../../contract/transport-protocol.ts';
import { eventually } from '../../support/waiting.ts';

let transport: Transport;
let fails: boolean;
let marked: number;

beforeEach(async () => {
  fails = true;
  marked = 0;
  transport = createLocalTransport({ clock: systemClock, log: silentLog, process: 'p' });
  await transport.serve(host1, compute, handlers({ mark: () => {
    if (fails) throw new Error('not now');
    marked += 1;
  } }), { deliveriesMax: 1 });
  await transport.tell(host1, compute, 'mark', { n: 1 });
  await transport.tell(host1, compute, 'mark', { n: 2 });
  await eventually(async () => (await transport.deadLetters()).length === 2);
});

async function manage(verb: string, args: object = {}): Promise<unknown> {
  const command = deadLetterCommands.find((each) => each.verb === verb);
  if (command === undefined) throw new Error(`no command ${verb}`);
  return command.run({ transport }, command.args.parse(args));
}

const ids = async (): Promise<string[]> => (await transport.deadLetters()).map(({ id }) => id);

it('list and show tell what it was, where to, and why', async () => {
  const [id] = await ids();
  expect(await manage('list')).toEqual([
    expect.objectContaining({ id, to: 'compute@host1', type: 'compute.mark', reason: 'poison', error: 'not now' }),
    expect.objectContaining({ to: 'compute@host1' }),
  ]);
  expect(await manage('list', { to: 'network@host1' })).toEqual([]);
  expect(await manage('show', { id })).toMatchObject({ id, type: 'compute.mark', envelope: expect.stringContaining('"n":1') });
  await expect(manage('show', { id: 'other' })).rejects.toMatchObject({ name: 'SetupError', message: 'there is no dead letter other' });
});

it('requeue sends it again', async () => {
  const [id] = await ids();
  fails = false;
  expect(await manage('requeue', { id })).toBe('compute.mark waits in compute@host1 again');
  await eventually(async () => marked === 1);
  expect(await ids()).not.toContain(id);
  await expect(manage('requeue', { id })).rejects.toMatchObject({ name: 'SetupError' });
});

it('drop forgets one, or all, and wants to be told which', async () => {
  const [id] = await ids();
  for (const args of [{}, { id, all: true }]) await expect(manage('drop', args)).rejects.toMatchObject({ message: 'an id is needed, or --all' });
  expect(await manage('drop', { id })).toBe(`dropped ${String(id)}`);
  await expect(manage('drop', { id })).rejects.toMatchObject({ name: 'SetupError' });
  expect(await manage('drop', { all: true })).toBe('dropped 1');
  expect(await ids()).toEqual([]);
});
