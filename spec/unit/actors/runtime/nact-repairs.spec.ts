// One spec for each fault of nact 7.6.2 (actors.md 1.2), against the layer; where it is cheap, nact itself is shown to have it.
import { dispatch, query, spawn, start, stop, type ActorSystemRef } from 'nact';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ActorDefinition, ReplyTo } from '../../../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../../../src/actors/runtime/system.ts';
import { ReplyReference } from '../../../../src/actors/runtime/nact-repairs.ts';
import { silentLog } from '../../../../src/lib/log.ts';
import { systemClock } from '../../../../src/lib/clock.ts';
import { createManualClock } from '../../../support/manual-clock.ts';
import { gate, until } from '../../../support/waiting.ts';
import { createRig, fast, noting, type Rig } from './rig.ts';

/** nact takes a name here, whatever its types say. */
const startBare = (name: string): ActorSystemRef => start({ name } as never);

const rigs: Rig[] = [];
const rig = (...args: Parameters<typeof createRig>): Rig => {
  const made = createRig(...args);
  rigs.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((each) => each.system.stop(500)));
});

/** Messages per millisecond at a parent of so many children. */
/** How often anything walks through all children of a parent while it handles messages: nact copies them for each one. */
const walksOfAllChildren = async (children: number, messages: number): Promise<number> => {
  const { system } = rig();
  const done = gate();
  let handled = 0;
  const parent = system.spawn<number, number, void>({
    kind: 'parent',
    init: (context) => {
      for (let n = 0; n < children; n += 1) context.spawn({ kind: 'child', init: () => 0, handle: () => undefined }, `c${n}`, undefined);
      return 0;
    },
    handle: () => {
      handled += 1;
      if (handled === messages) done.open();
    },
  }, 'parent', undefined);
  await until(() => system.tree().length === children + 1 && system.tree().every((row) => row.state === 'idle'));
  let walks = 0;
  const spies = [Symbol.iterator, 'entries', 'values', 'keys', 'forEach'] as const;
  for (const name of spies) {
    const real = Map.prototype[name] as (...given: unknown[]) => unknown;
    vi.spyOn(Map.prototype, name as 'entries').mockImplementation(function count(this: Map<unknown, unknown>, ...given: unknown[]) {
      if (this.size === children) walks += 1;
      return real.apply(this, given) as never;
    });
  }
  try {
    for (let n = 0; n < messages; n += 1) system.tell(parent, n);
    await done.opened;
  } finally {
    vi.restoreAllMocks();
  }
  return walks;
};

describe('nact 7.6.2, repaired', () => {
  it('B1: children end before their parent, and nothing that waits at them is handled', async () => {
    const { system } = rig();
    const notes: string[] = [];
    const held = gate();
    const leaf = (name: string) => ({
      kind: 'leaf',
      init: () => 0,
      handle: async () => {
        notes.push(`${name} handles`);
        await held.opened;
      },
      onStop: () => void notes.push(`${name} ends`),
    });
    const top = system.spawn({
      kind: 'top',
      init: (context) => {
        const child = context.spawn(leaf('child'), 'child', undefined);
        for (let n = 0; n < 10; n += 1) system.tell(child, n as never);
        return 0;
      },
      handle: () => undefined,
      onStop: () => void notes.push('top ends'),
    }, 'top', undefined);
    await until(() => notes.length === 1);
    const ended = system.stop(1000);
    held.open();
    await ended;
    expect(notes).toEqual(['child handles', 'child ends', 'top ends']);
    expect(system.deadLetterCount()).toBe(9);
    system.tell(top, undefined as never);
    expect(system.deadLetterCount()).toBe(10);
  });

  it('B1 is in nact itself: the queue of an orphan goes on being handled', async () => {
    const root = startBare('bare-b1');
    const held = gate();
    let handled = 0;
    const parent = spawn(root, (state = 0) => state, 'parent');
    const child = spawn(parent, async () => {
      handled += 1;
      await held.opened;
    }, 'child');
    for (let n = 0; n < 10; n += 1) dispatch(child, n);
    await until(() => handled === 1);
    stop(parent);
    held.open();
    await until(() => handled === 10);
    stop(root);
  });

  it('B2: stopping the system stops the actors and calls onStop once', async () => {
    const { system } = rig();
    const notes: string[] = [];
    const ref = system.spawn(noting(notes), 'a', 'a');
    system.tell(ref, '1');
    await until(() => notes.length === 2);
    for (let n = 0; n < 5; n += 1) system.tell(ref, 'late');
    await system.stop(1000);
    expect(notes).toEqual(['a begins', 'handles 1', 'ends with 1']);
    expect(system.tree()).toEqual([]);
    expect(system.deadLetterCount()).toBe(5);
  });

  it('B3: a parent that restarts while a child is busy waits for it, and a stale result never becomes the new state', async () => {
    const { system } = rig();
    let inHand = 0;
    let most = 0;
    const held = gate();
    const seen: number[] = [];
    const child: ActorDefinition<number, string> = {
      kind: 'child',
      init: () => 0,
      handle: async (state, message) => {
        inHand += 1;
        most = Math.max(most, inHand);
        seen.push(state);
        if (message === 'hold') await held.opened;
        inHand -= 1;
        return state + 100;
      },
    };
    const top = system.spawn<number, string, void>({
      kind: 'top',
      init: (context) => {
        const ref = context.spawn(child, 'child', undefined);
        system.tell(ref, seen.length === 0 ? 'hold' : 'next');
        return 0;
      },
      handle: () => {
        throw new Error('fault');
      },
      restart: fast,
    }, 'top', undefined);
    await until(() => inHand === 1);
    system.tell(top, 'fail');
    await until(() => system.tree().some((row) => row.path === '/top' && row.state === 'restarting'));
    expect(seen).toEqual([0]);
    held.open();
    await until(() => seen.length === 2);
    expect(seen).toEqual([0, 0]);
    expect(most).toBe(1);
  });

  it('B4: an init that fails is tried again before any message, even when its policy says resume', async () => {
    const { system } = rig();
    const notes: string[] = [];
    let tries = 0;
    const ref = system.spawn(noting(notes, {
      init: () => {
        tries += 1;
        if (tries < 3) throw new Error('not yet');
        return 0;
      },
      onError: () => 'resume',
    }), 'a', 'a');
    for (const message of ['1', '2', '3']) system.tell(ref, message);
    await until(() => notes.length === 3);
    expect(tries).toBe(3);
    expect(notes).toEqual(['handles 1', 'handles 2', 'handles 3']);
  });

  it('B5 and B6: a failure passed to the parent leaves the child at work and the parent at one message', async () => {
    const { system } = rig();
    const held = gate();
    let inHand = 0;
    let most = 0;
    const handled: string[] = [];
    const child: ActorDefinition<number, string> = {
      kind: 'child',
      init: () => 0,
      handle: (_state, message) => {
        handled.push(message);
        if (message === 'fail') throw new Error('fault');
      },
      onError: () => 'escalate',
      restart: fast,
    };
    const top = system.spawn<number, string, void>({
      kind: 'top',
      init: (context) => {
        const ref = context.spawn(child, 'child', undefined);
        for (const message of ['1', 'fail', '2']) system.tell(ref, message);
        return 0;
      },
      handle: async () => {
        inHand += 1;
        most = Math.max(most, inHand);
        await held.opened;
        inHand -= 1;
      },
      onChildFailed: () => 'restart',
    }, 'top', undefined);
    system.tell(top, 'hold');
    await until(() => handled.length === 3);
    expect(handled).toEqual(['1', 'fail', '2']);
    held.open();
    await until(() => inHand === 0);
    expect(most).toBe(1);
  });

  it('B7 and B8: onStop runs once, after the message in hand, with the state it left', async () => {
    const { system } = rig();
    const notes: string[] = [];
    const held = gate();
    const ref = system.spawn(noting(notes, {
      handle: async (state, message, context) => {
        void context.stop(context.self);
        await held.opened;
        notes.push('handled');
        if (message === 'throw') throw new Error('after stop');
        return state + 7;
      },
    }), 'a', 'a');
    const other = system.spawn(noting(notes, { handle: async (_state, _message, context) => {
      await context.stop(context.self);
      throw new Error('after stop');
    } }), 'b', 'b');
    system.tell(ref, 'go');
    await until(() => notes.length === 2);
    held.open();
    await until(() => notes.includes('ends with 7'));
    system.tell(other, 'throw');
    await until(() => notes.includes('ends with 0'));
    expect(notes).toEqual(['a begins', 'b begins', 'handled', 'ends with 7', 'ends with 0']);
  });

  it('B9: an ask is rejected at once when the asked actor ends, whether it waits or is in hand', async () => {
    const { system } = rig(createManualClock()); // its timers never fire: only the end of the actor can settle the asks
    const held = gate();
    const ref = system.spawn<number, { replyTo: ReplyTo<string> } | 'stop', void>({
      kind: 'a',
      init: () => 0,
      handle: async (_state, message, context) => {
        if (message !== 'stop') return; // keeps the question open
        void context.stop(context.self);
        await held.opened;
      },
    }, 'a', undefined);
    const ask = () => system.ask<{ replyTo: ReplyTo<string> } | 'stop', string>(ref, (replyTo) => ({ replyTo }), { timeoutMs: 60_000 });
    const open = ask();
    system.tell(ref, 'stop');
    const waits = ask();
    await expect(waits).rejects.toMatchObject({ kind: 'terminated' });
    held.open();
    await expect(open).rejects.toMatchObject({ kind: 'terminated' });
    await expect(ask()).rejects.toMatchObject({ kind: 'terminated' });
  });

  it('B10: time-outs beyond 2^31-1 ms do not fire at once, and NaN is refused', async () => {
    const { system } = rig();
    const ref = system.spawn<number, { replyTo: ReplyTo<string> }, void>({
      kind: 'a',
      init: () => 0,
      handle: (_state, { replyTo }, context) => {
        context.after(30, { replyTo });
        replyTo.answer('now');
      },
    }, 'a', undefined);
    for (const timeoutMs of [Infinity, 2 ** 31, 30 * 24 * 3_600_000]) {
      await expect(system.ask(ref, (replyTo: ReplyTo<string>) => ({ replyTo }), { timeoutMs })).resolves.toBe('now');
    }
    await expect(system.ask(ref, (replyTo: ReplyTo<string>) => ({ replyTo }), { timeoutMs: Number.NaN })).rejects.toThrow(RangeError);
  });

  it('B10 is in nact itself: a time-out of Infinity fires at once', async () => {
    const root = startBare('bare-b10');
    const silent = spawn(root, () => undefined, 'silent');
    await expect(query(silent, () => 1, Infinity)).rejects.toThrow();
    stop(root);
  });

  it('B11: an actor that gets messages is not idle, however often it restarts', async () => {
    const clock = createManualClock();
    const { system } = rig(clock);
    const notes: string[] = [];
    const ref = system.spawn(noting(notes, {
      idleMs: 200,
      handle: (state, message) => {
        if (message === 'fail') throw new Error('fault');
        return state;
      },
    }), 'a', 'a');
    for (let n = 0; n < 12; n += 1) {
      system.tell(ref, n === 3 ? 'fail' : 'ok');
      await clock.advance(150);
      expect(system.tree().map((row) => row.path)).toEqual(['/a']);
    }
    await clock.advance(400);
    expect(system.tree()).toEqual([]);
  });

  it('B12: every failure reaches the policy and the log', async () => {
    const { system, logged } = rig();
    const errors: string[] = [];
    const ref = system.spawn(noting([], {
      handle: () => {
        throw new Error('seen');
      },
      onError: (error) => {
        errors.push((error as Error).message);
        return 'resume';
      },
    }), 'a', 'a');
    system.tell(ref, 'secret body');
    await until(() => errors.length === 1);
    expect(logged.join('')).toContain('seen');
    expect(logged.join('')).not.toContain('secret body');
  });

  it('B13: a second system of one name is refused, and the name is free again after stop', async () => {
    const { system } = rig();
    const options = { name: system.name, clock: systemClock, log: silentLog, onFatal: () => undefined };
    expect(() => createActorSystem(options)).toThrow(/runs already/);
    await system.stop(100);
    await createActorSystem(options).stop(100);
  });

  it('B14: a stale ref does not reach the next incarnation', async () => {
    const { system } = rig();
    const notes: string[] = [];
    const first = system.spawn(noting(notes, { handle: (_state, _message, context) => void context.stop(context.self) }), 'a', 'first');
    system.tell(first, 'stop');
    await until(() => system.tree().length === 0);
    const second = system.spawn(noting(notes), 'a', 'second');
    system.tell(first, 'stale');
    system.tell(second, 'fresh');
    await until(() => notes.includes('handles fresh'));
    expect(second.path).toBe(first.path);
    expect(notes).not.toContain('handles stale');
    expect(system.deadLetterCount()).toBe(1);
  });

  it('B15: the cost of a message does not grow with the number of children', async () => {
    expect(await walksOfAllChildren(3000, 200)).toBe(0); // nact: 200
  });

  it('B16: reply ids are counted, so that no two open questions share one', () => {
    const ids = Array.from({ length: 10_000 }, () => new ReplyReference('any').id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('B17: an actor stopped while its restart waits does not begin again', async () => {
    const clock = createManualClock();
    const { system } = rig(clock);
    const notes: string[] = [];
    const ref = system.spawn(noting(notes, {
      handle: () => {
        throw new Error('fault');
      },
      restart: { firstDelayMs: 5000 },
    }), 'a', 'a');
    system.tell(ref, 'fail');
    await clock.advance(10);
    expect(system.tree()[0]?.state).toBe('restarting');
    await system.stop(1000);
    await clock.advance(60_000);
    expect(notes).toEqual(['a begins', 'ends with 0']);
  });
});
