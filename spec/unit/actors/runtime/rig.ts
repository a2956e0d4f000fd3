// A system for specs: collects what was fatal and what was logged.
import { pino } from 'pino';
import { systemClock, type Clock } from '../../../../src/lib/clock.ts';
import type { ActorSystem } from '../../../../src/actors/runtime/actor.ts';
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
