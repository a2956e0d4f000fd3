// A system for specs, which collects what was fatal and what was logged, and actors that note what happens to them.
import { pino } from 'pino';
import { systemClock, type Clock } from '../../../../src/lib/clock.ts';
import type { ActorDefinition, ActorSystem, ReplyTo } from '../../../../src/actors/runtime/actor.ts';
import { createActorSystem } from '../../../../src/actors/runtime/system.ts';

let systems = 0;

export interface Rig {
  readonly system: ActorSystem;
  readonly fatal: unknown[];
  readonly logged: string[];
}

export function createRig(clock: Clock = systemClock): Rig {
  systems += 1;
  const fatal: unknown[] = [];
  const logged: string[] = [];
  const log = pino({ level: 'debug' }, { write: (line: string) => void logged.push(line) });
  const system = createActorSystem({ name: `spec-${systems}`, clock, log, onFatal: (error) => void fatal.push(error) });
  return { system, fatal, logged };
}

/** Restarts without a pause worth waiting for. */
export const fast = { firstDelayMs: 1, delayMsMax: 2 };

/** Notes all that happens to it. */
export const noting = (notes: string[], more: Partial<ActorDefinition<number, string, string>> = {}): ActorDefinition<number, string, string> => ({
  kind: 'noting',
  init: (_context, name) => {
    notes.push(`${name} begins`);
    return 0;
  },
  handle: (state, message) => {
    notes.push(`handles ${String(message)}`);
    return state + 1;
  },
  onStop: (state) => void notes.push(`ends with ${state}`),
  restart: fast,
  ...more,
});

export type Say = { readonly say: string; readonly replyTo?: ReplyTo<string> };

/** Does as the message says, and notes it. */
export const obedient = (notes: string[], more: Partial<ActorDefinition<number, Say>> = {}): ActorDefinition<number, Say> => ({
  kind: 'obedient',
  init: () => {
    notes.push('init');
    return 0;
  },
  handle: (state, { say, replyTo }, context) => {
    notes.push(`${say} at ${state}`);
    if (say === 'throw') throw new Error('told to');
    if (say === 'stop') void context.stop(context.self);
    if (say === 'answer') replyTo?.answer(`state ${state}`);
    if (say === 'answer twice') for (const text of ['first', 'second']) replyTo?.answer(text);
    if (say === 'fail') replyTo?.fail(new Error('refused'));
    return state + 1;
  },
  onStop: (state) => void notes.push(`onStop at ${state}`),
  restart: fast,
  ...more,
});
