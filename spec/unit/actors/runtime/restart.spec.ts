// What a restart does to children, to failures passed on meanwhile, and to ticks that wait.
import { afterEach, expect, it } from 'vitest';
import type { ActorDefinition } from '../../../../src/actors/runtime/actor.ts';
import { createManualClock } from '../../../support/manual-clock.ts';
import { gate, until } from '../../../support/waiting.ts';
import { createRig, fast, obedient, type Rig } from './rig.ts';

const rigs: Rig[] = [];
const rig = (...args: Parameters<typeof createRig>): Rig => {
  const made = createRig(...args);
  rigs.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((each) => each.system.stop(500)));
});

it('children have ended before the old state is closed and the new one begins', async () => {
  const { system } = rig();
  const notes: string[] = [];
  const held = gate();
  const child: ActorDefinition<number, string> = { kind: 'child', init: () => 0, handle: () => undefined, onStop: async () => {
    notes.push('child stops');
    await held.opened;
    notes.push('child ended');
  } };
  const top = system.spawn<number, string, void>({
    kind: 'top',
    init: (context) => {
      notes.push('top begins');
      context.spawn(child, 'child', undefined);
      return 0;
    },
    handle: () => { throw new Error('fault'); },
    onStop: () => void notes.push('top closes'),
    restart: fast,
  }, 'top', undefined);
  await until(() => system.tree().every(({ state }) => state === 'idle'));
  system.tell(top, 'fail');
  await until(() => notes.includes('child stops'));
  held.open();
  await until(() => notes.length === 5);
  expect(notes).toEqual(['top begins', 'child stops', 'child ended', 'top closes', 'top begins']);
});

it('failures that several children pass on at once restart the parent once', async () => {
  const { system } = rig();
  const held = gate();
  let began = 0;
  let passedOn = 0;
  const top = system.spawn<number, string, void>({
    kind: 'top',
    init: (context) => {
      began += 1;
      for (const name of ['a', 'b', 'c']) {
        const child = context.spawn(obedient([], { onError: () => 'escalate' }), name, undefined);
        if (began === 1) context.after(5, 'hold');
        if (began === 1) setTimeout(() => system.tell(child, { say: 'throw' }), 15);
      }
      return 0;
    },
    handle: () => held.opened,
    onChildFailed: () => {
      passedOn += 1;
      return 'escalate';
    },
    restart: fast,
  }, 'top', undefined);
  await until(() => passedOn === 3);
  held.open();
  await until(() => began === 2);
  await until(() => system.tree().length === 4 && system.tree().every(({ state }) => state === 'idle'));
  expect(system.tree().find(({ path }) => path === top.path)?.restarts).toBe(1);
});

it('a tick that was cancelled while it waited in the mailbox is not delivered', async () => {
  const clock = createManualClock();
  const { system } = rig(clock);
  const held = gate();
  const notes: string[] = [];
  const ref = system.spawn<{ cancel(): void }, string, void>({
    kind: 'ticking',
    init: (context) => context.after(50, 'tick'),
    handle: async (timer, message) => {
      notes.push(message);
      if (message !== 'hold') return;
      await held.opened;
      timer.cancel();
    },
  }, 'a', undefined);
  system.tell(ref, 'hold');
  await clock.advance(60);
  expect(system.tree()[0]?.depth).toBe(1);
  system.tell(ref, 'last');
  held.open();
  await until(() => notes.includes('last'));
  expect(notes).toEqual(['hold', 'last']);
});
