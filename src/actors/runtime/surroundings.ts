// What all actors of one system share.
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { DeadLetters } from './dead-letters.ts';
import type { NactSystem } from './nact-repairs.ts';

export interface Surroundings<Cell> {
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly nact: NactSystem;
  readonly deadLetters: DeadLetters;
  /** Every actor that has not ended, by incarnation. */
  readonly live: Map<number, Cell>;
  /** Actors at the top that are ending, by name. */
  readonly ending: Map<string, Cell>;
  /** The top of the tree gave up, or the runtime itself is at fault. */
  giveUp(error: unknown): void;
}
