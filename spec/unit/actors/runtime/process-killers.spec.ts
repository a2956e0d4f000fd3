// Faults C1 to C7 of nact 7.6.2 (actors.md 1.2): each ended the process with an unhandled rejection or an uncaught exception.
import { afterEach, describe, expect, it } from 'vitest';
import { until } from '../../../support/waiting.ts';
import { createRig, fast, noting, type Rig } from './rig.ts';

const rigs: Rig[] = [];
const rig = (...args: Parameters<typeof createRig>): Rig => {
  const made = createRig(...args);
  rigs.push(made);
  return made;
};

afterEach(async () => {
  await Promise.all(rigs.splice(0).map((each) => each.system.stop(500)));
});

describe('what ended the process no longer does', () => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  const survives = async (what: () => Promise<void>): Promise<void> => {
    process.on('unhandledRejection', note);
    process.on('uncaughtException', note);
    try {
      await what();
      await new Promise((resolve) => { setTimeout(resolve, 5); });
    } finally {
      process.off('unhandledRejection', note);
      process.off('uncaughtException', note);
    }
    expect(unhandled).toEqual([]);
  };

  it('nact C1 and C2: a policy that throws, or answers nonsense, escalates', () => survives(async () => {
    for (const onError of [() => { throw new Error('policy'); }, () => 'stopChild' as never]) {
      const { system, fatal } = rig();
      const ref = system.spawn(noting([], { handle: () => { throw new Error('fault'); }, onError }), 'a', 'a');
      system.tell(ref, 'go');
      await until(() => fatal.length === 1 && system.tree().length === 0);
    }
  }));

  it('nact C3: a fault after stop changes nothing', () => survives(async () => {
    const { system, fatal } = rig();
    const ref = system.spawn(noting([], {
      handle: async (_state, _message, context) => {
        await context.stop(context.self);
        throw new Error('late');
      },
      onError: () => 'escalate',
    }), 'a', 'a');
    system.tell(ref, 'go');
    await until(() => system.tree().length === 0);
    expect(fatal).toEqual([]);
  }));

  it('nact C4 and C5: an onStop that throws or rejects is logged', () => survives(async () => {
    const { system, logged } = rig();
    system.spawn(noting([], { onStop: () => { throw new Error('thrown'); } }), 'a', 'a');
    system.spawn(noting([], { onStop: () => Promise.reject(new Error('rejected')) }), 'b', 'b');
    await until(() => system.tree().every((row) => row.state === 'idle'));
    await system.stop(1000);
    expect(logged.join('')).toContain('thrown');
    expect(logged.join('')).toContain('rejected');
  }));

  it('nact C6: an init that always fails leaves the event loop free and ends in escalation', () => survives(async () => {
    const { system, fatal } = rig();
    let tries = 0;
    let timerRan = false;
    setTimeout(() => { timerRan = true; }, 5);
    system.spawn(noting([], {
      init: () => {
        tries += 1;
        throw new Error('never');
      },
      restart: { ...fast, firstDelayMs: 5, delayMsMax: 5 },
    }), 'a', 'a');
    await until(() => fatal.length === 1);
    expect(timerRan).toBe(true);
    expect(tries).toBe(6);
  }));

  it('nact C7: a verdict on a child that has gone meanwhile is harmless', () => survives(async () => {
    const { system } = rig();
    let told = 0;
    const top = system.spawn<number, string, void>({
      kind: 'top',
      init: (context) => {
        const child = context.spawn<number, string, void>({
          kind: 'child',
          init: () => 0,
          handle: (_state, _message, own) => {
            void own.stop(own.self);
            throw new Error('fault');
          },
          onError: () => 'escalate',
        }, 'child', undefined);
        context.watch(child, 'ended');
        system.tell(child, 'go');
        return 0;
      },
      handle: () => void (told += 1),
      onChildFailed: () => 'restart',
    }, 'top', undefined);
    await until(() => told === 1);
    expect(system.tree().map((row) => row.path)).toEqual([top.path]);
  }));
});
