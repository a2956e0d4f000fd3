// What actor.ts promises to everyone who writes an actor.
import { afterEach, describe, expect, it } from 'vitest';
import { ActorError, type ActorDefinition, type Decision, type Ref, type ReplyTo } from '../../../../src/actors/runtime/actor.ts';
import { createManualClock } from '../../../support/manual-clock.ts';
import { gate, until } from '../../../support/waiting.ts';
import { createRig, fast, obedient, type Rig, type Say } from './rig.ts';

const rigs: Rig[] = [];
const rig = (...args: Parameters<typeof createRig>): Rig => {
  const made = createRig(...args);
  rigs.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((each) => each.system.stop(500)));
});

const states = ({ system }: Rig): string[] => system.tree().map(({ path, state }) => `${path} ${state}`);

describe('messages', () => {
  it('are handled in order, after init, and undefined keeps the state', async () => {
    const { system } = rig();
    const notes: string[] = [];
    const ref = system.spawn(obedient(notes, { handle: (state, { say }) => {
      notes.push(`${say} at ${state}`);
      return say === 'keep' ? undefined : state + 1;
    } }), 'a', undefined);
    for (const say of ['add', 'keep', 'add']) system.tell(ref, { say });
    await until(() => notes.length === 4);
    expect(notes).toEqual(['init', 'add at 0', 'keep at 1', 'add at 1']);
  });

  it('a full mailbox refuses tell and ask with mailboxFull, and takes messages again when there is room', async () => {
    const { system } = rig();
    const held = gate();
    let handled = 0;
    const ref = system.spawn<number, string, void>({ kind: 'slow', mailboxMax: 3, init: () => 0, handle: async () => {
      handled += 1;
      await held.opened;
    } }, 'a', undefined);
    system.tell(ref, 'in hand');
    await until(() => handled === 1);
    for (let n = 0; n < 3; n += 1) system.tell(ref, 'waits');
    expect(() => system.tell(ref, 'too many')).toThrow(expect.objectContaining({ name: 'ActorError', kind: 'mailboxFull' }));
    await expect(system.ask(ref, () => 'too many', { timeoutMs: 1000 })).rejects.toMatchObject({ kind: 'mailboxFull' });
    held.open();
    await until(() => handled === 4);
    system.tell(ref, 'room');
    await until(() => handled === 5);
  });

  it('names that nact does not accept are encoded, and different ones stay different', async () => {
    const { system } = rig();
    const names = ['fe80::1', 'fe80/1', 'host@1', 'ü', '', '$', '$3a', ':', 'plain-1_2.3'];
    const refs = names.map((name) => system.spawn(obedient([]), name, undefined));
    expect(new Set(refs.map(({ path }) => path)).size).toBe(names.length);
    expect(refs.at(-1)?.path).toBe('/plain-1_2.3');
    expect(() => system.spawn(obedient([]), 'host@1', undefined)).toThrow(/already exists/);
  });
});

describe('ask', () => {
  it('resolves with the answer, rejects with the failure, the thrown error or the time-out', async () => {
    const { system } = rig();
    const ref = system.spawn(obedient([]), 'a', undefined);
    const ask = (say: string, timeoutMs = 1000) => system.ask<Say, string>(ref, (replyTo) => ({ say, replyTo }), { timeoutMs });
    await expect(ask('answer')).resolves.toBe('state 0');
    await expect(ask('fail')).rejects.toThrow('refused');
    await expect(ask('silence', 5)).rejects.toMatchObject({ kind: 'timeout' });
    await expect(ask('throw')).rejects.toThrow('told to');
    await expect(system.ask<Say, string>(ref, () => { throw new Error('no message'); }, { timeoutMs: 1000 })).rejects.toThrow('no message');
  });

  it('second and late answers are dead letters', async () => {
    const { system } = rig();
    let late: ReplyTo<string> | undefined;
    const ref = system.spawn(obedient([]), 'a', undefined);
    await expect(system.ask<Say, string>(ref, (replyTo) => ({ say: 'answer twice', replyTo }), { timeoutMs: 1000 })).resolves.toBe('first');
    expect(system.deadLetterCount()).toBe(1);
    await expect(system.ask<Say, string>(ref, (replyTo) => {
      late = replyTo;
      return { say: 'silence' };
    }, { timeoutMs: 1 })).rejects.toMatchObject({ kind: 'timeout' });
    late?.answer('too late');
    expect(system.deadLetterCount()).toBe(2);
  });
});

describe('supervision', () => {
  it('resume keeps the state, stop ends the actor', async () => {
    const one = rig();
    const notes: string[] = [];
    const onError = (): Decision => (notes.length > 4 ? 'stop' : 'resume');
    const ref = one.system.spawn(obedient(notes, { onError }), 'a', undefined);
    for (const say of ['one', 'throw', 'two', 'throw', 'three']) one.system.tell(ref, { say });
    await until(() => one.system.tree().length === 0);
    expect(notes).toEqual(['init', 'one at 0', 'throw at 1', 'two at 1', 'throw at 2', 'onStop at 2']);
    expect(one.fatal).toEqual([]);
  });

  it('M8: restart closes the old state, begins afresh and keeps the mailbox', async () => {
    const one = rig();
    const notes: string[] = [];
    const ref = one.system.spawn(obedient(notes), 'a', undefined);
    for (const say of ['one', 'throw', 'two']) one.system.tell(ref, { say });
    await until(() => notes.length === 6);
    expect(notes).toEqual(['init', 'one at 0', 'throw at 1', 'onStop at 1', 'init', 'two at 0']);
    expect(one.system.tree()).toEqual([expect.objectContaining({ path: '/a', restarts: 1, failed: 1, handled: 3, depth: 0 })]);
  });

  it('M8: restarts come slower and slower, then the failure is escalated; at the top it is fatal', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const began: number[] = [];
    const startedAt = clock.now();
    one.system.spawn<number, string, void>({ kind: 'broken', init: () => {
      began.push(clock.now() - startedAt);
      throw new Error('broken');
    }, handle: () => undefined }, 'a', undefined);
    await clock.advance(60_000);
    const pauses = began.slice(1).map((at, index) => at - (began[index] ?? 0));
    expect(pauses).toHaveLength(5);
    for (const [index, pauseMs] of pauses.entries()) {
      expect(pauseMs).toBeGreaterThanOrEqual(0.74 * 100 * 2 ** index);
      expect(pauseMs).toBeLessThanOrEqual(100 * 2 ** index);
    }
    expect(one.fatal).toEqual([expect.objectContaining({ message: 'broken' })]);
    expect(one.system.tree()).toEqual([]);
  });

  it('restarts long ago do not count', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const ref = one.system.spawn(obedient([], { restart: { restartsMax: 2, withinMs: 10_000 } }), 'a', undefined);
    for (let n = 0; n < 6; n += 1) {
      one.system.tell(ref, { say: 'throw' });
      await clock.advance(6000);
    }
    expect(one.fatal).toEqual([]);
    expect(one.system.tree()[0]?.restarts).toBe(6);
  });

  it.each([
    ['restart', ['/top busy', '/top/child restarting']],
    ['stop', ['/top busy']],
  ] as const)('a parent that says %s decides on the child alone, even while it is busy', async (verdict, tree) => {
    const clock = createManualClock();
    const one = rig(clock);
    const failed: string[] = [];
    const top = one.system.spawn<number, string, void>({
      kind: 'top',
      init: (context) => {
        const child = context.spawn(obedient([], { onError: () => 'escalate' }), 'child', undefined);
        one.system.tell(child, { say: 'throw' });
        return 0;
      },
      handle: () => new Promise(() => undefined),
      onChildFailed: (child) => {
        failed.push(child.path);
        return verdict;
      },
    }, 'top', undefined);
    one.system.tell(top, 'for ever');
    await until(() => failed.length === 1);
    await until(() => states(one).join() === tree.join());
    expect(failed).toEqual(['/top/child']);
    const stopped = one.system.stop(100);
    await clock.advance(200);
    await stopped;
  });

  it('an escalated failure is the parent\'s own: it restarts with fresh children, within its limits, then fails in turn', async () => {
    const one = rig();
    let began = 0;
    one.system.spawn<number, string, void>({
      kind: 'top',
      init: (context) => {
        began += 1;
        const child = context.spawn(obedient([], { onError: () => 'escalate' }), 'child', undefined);
        one.system.tell(child, { say: 'throw' });
        return 0;
      },
      handle: () => undefined,
      restart: { ...fast, restartsMax: 3 },
    }, 'top', undefined);
    await until(() => one.fatal.length === 1);
    expect(began).toBe(4);
    await until(() => one.system.tree().length === 0);
  });
});

describe('the end', () => {
  it('aborts the signal, refuses to spawn, and gives up what does not end in time', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const notes: string[] = [];
    const ref = one.system.spawn<number, string, void>({
      kind: 'stuck',
      init: () => 0,
      handle: async (_state, _message, context) => {
        context.signal.addEventListener('abort', () => {
          notes.push('aborted');
          try {
            context.spawn(obedient([]), 'late', undefined);
          } catch (error) {
            notes.push((error as ActorError).kind);
          }
        });
        notes.push('begun');
        await new Promise(() => undefined);
      },
      onStop: () => void notes.push('onStop'),
    }, 'a', undefined);
    one.system.tell(ref, 'go');
    await until(() => notes.length === 1);
    const stopped = one.system.stop(1000);
    expect(() => one.system.spawn(obedient([]), 'b', undefined)).toThrow(expect.objectContaining({ kind: 'stopping' }));
    await clock.advance(999);
    expect(states(one)).toEqual(['/a stopping']);
    await clock.advance(1);
    await stopped;
    expect(notes).toEqual(['begun', 'aborted', 'stopping']);
    expect(one.logged.join('')).toContain('given up');
  });

  it('is told to who watches, for whatever reason, also of an actor that has ended already', async () => {
    const one = rig();
    const told: string[] = [];
    const own = one.system.spawn(obedient([]), 'own', undefined);
    const broken = one.system.spawn(obedient([], { onError: () => 'escalate' }), 'broken', undefined);
    const gone = one.system.spawn(obedient([]), 'gone', undefined);
    one.system.tell(gone, { say: 'stop' });
    await until(() => one.system.tree().length === 2);
    one.system.spawn<number, string, void>({
      kind: 'watcher',
      init: (context) => {
        context.watch(own, 'own');
        context.watch(broken, 'broken');
        context.watch(gone, 'gone');
        return 0;
      },
      handle: (_state, message) => void told.push(message),
    }, 'watcher', undefined);
    await until(() => told.length === 1);
    one.system.tell(own, { say: 'stop' });
    await until(() => told.length === 2);
    one.system.tell(broken, { say: 'throw' });
    await until(() => told.length === 3);
    expect(told).toEqual(['gone', 'own', 'broken']);
  });

  it('of a child can be waited for, and its name is free at once for one that begins after it', async () => {
    const one = rig();
    const notes: string[] = [];
    const held = gate();
    const child = (name: string): ActorDefinition<number, string> => ({
      kind: 'child',
      init: () => {
        notes.push(`${name} init`);
        return 0;
      },
      handle: () => undefined,
      onStop: async () => {
        await held.opened;
        notes.push(`${name} ended`);
      },
    });
    const top = one.system.spawn<Ref<string>, string, void>({
      kind: 'top',
      init: (context) => context.ensure(child('first'), 'x', undefined),
      handle: async (first, _message, context) => {
        expect(context.ensure(child('never'), 'x', undefined)).toEqual(first);
        const ended = context.stop(first);
        expect(context.child('x')).toBeUndefined();
        const second = context.ensure(child('second'), 'x', undefined);
        expect(second).not.toEqual(first);
        one.system.tell(second, 'kept');
        held.open();
        await ended;
        notes.push('waited');
        return second;
      },
    }, 'top', undefined);
    one.system.tell(top, 'go');
    await until(() => notes.includes('second init'));
    expect(notes.filter((note) => note !== 'waited')).toEqual(['first init', 'first ended', 'second init']);
    await until(() => one.system.tree().some(({ path, handled }) => path === '/top/x' && handled === 1));
  });
});

describe('idle actors', () => {
  it('are put away, and a message to a fresh ensure is never lost, whenever it comes', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    let handled = 0;
    let lives = 0;
    const leaf: ActorDefinition<number, string> = { kind: 'leaf', idleMs: 100, init: () => {
      lives += 1;
      return 0;
    }, handle: () => void (handled += 1), onStop: () => clock.sleep(3) };
    const top = one.system.spawn<number, string, void>({ kind: 'top', init: () => 0, handle: (_state, message, context) => {
      one.system.tell(context.ensure(leaf, 'leaf', undefined), message);
    } }, 'top', undefined);
    for (let pauseMs = 95; pauseMs <= 110; pauseMs += 1) {
      one.system.tell(top, 'go');
      await clock.advance(pauseMs);
    }
    await clock.advance(50);
    expect(handled).toBe(16);
    expect(lives).toBeGreaterThan(3);
    await clock.advance(200);
    expect(states(one)).toEqual(['/top idle']);
    expect(one.system.deadLetterCount()).toBe(0);
    expect(clock.timers).toBe(0);
  });

  it('with children or open questions are not idle', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const parent = one.system.spawn(obedient([], { idleMs: 100, init: (context) => {
      context.spawn(obedient([]), 'child', undefined);
      return 0;
    } }), 'parent', undefined);
    const asked = one.system.spawn(obedient([], { idleMs: 100 }), 'asked', undefined);
    const answer = one.system.ask<Say, string>(asked, (replyTo) => ({ say: 'later', replyTo }), { timeoutMs: 5000 });
    const open = expect(answer).rejects.toMatchObject({ kind: 'timeout' });
    await clock.advance(4000);
    expect(states(one)).toEqual(['/asked idle', '/parent idle', '/parent/child idle']);
    await clock.advance(2000);
    await open;
    expect(states(one)).toEqual(['/parent idle', '/parent/child idle']);
    one.system.tell(parent, { say: 'stop' });
    await until(() => one.system.tree().length === 0);
  });
});

describe('timers', () => {
  it('after and every send by the clock, never two ticks waiting, and are cancelled by hand, restart and stop', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const notes: string[] = [];
    let held = gate();
    const ref = one.system.spawn<number, string, void>({
      kind: 'ticking',
      init: (context) => {
        context.after(50, 'once');
        context.after(60, 'cancelled').cancel();
        context.every(1000, 'tick');
        return 0;
      },
      handle: async (_state, message) => {
        notes.push(message);
        if (message === 'hold') await held.opened;
        if (message === 'throw') throw new Error('told to');
      },
      restart: { firstDelayMs: 5000, delayMsMax: 5000 },
    }, 'a', undefined);
    await clock.advance(5600);
    expect(notes).toEqual(['once', 'tick', 'tick', 'tick', 'tick', 'tick']);
    one.system.tell(ref, 'hold');
    await clock.advance(5000);
    expect(one.system.tree()[0]).toMatchObject({ state: 'busy', depth: 1 });
    expect(one.system.tree()[0]?.busyMs).toBe(5000);
    one.system.tell(ref, 'throw');
    held.open();
    held = gate();
    await clock.advance(0);
    notes.length = 0;
    await clock.advance(3000);
    expect(notes).toEqual([]);
    expect(one.system.tree()[0]?.state).toBe('restarting');
    await one.system.stop(1000);
    expect(clock.timers).toBe(0);
  });

  it('dead letters are counted always and logged once a second, without bodies', async () => {
    const clock = createManualClock();
    const one = rig(clock);
    const ref = one.system.spawn(obedient([]), 'a', undefined);
    one.system.tell(ref, { say: 'stop' });
    await clock.advance(10);
    for (let n = 0; n < 50; n += 1) one.system.tell(ref, { say: 'secret' });
    await clock.advance(1000);
    one.system.tell(ref, { say: 'secret' });
    const lines = one.logged.filter((line) => line.includes('dead letter'));
    expect(one.system.deadLetterCount()).toBe(51);
    expect(lines).toHaveLength(2);
    expect(lines.join('')).not.toContain('secret');
    expect(JSON.parse(lines[1] ?? '')).toMatchObject({ actor: '/a', count: 51, unlogged: 49 });
  });
});
