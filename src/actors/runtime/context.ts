// What an actor sees of its own life. One per actor, made once, so that a message costs no context.
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { ActorContext, ActorDefinition, Ref } from './actor.ts';
import type { Ticks } from './ticks.ts';

/** The part of an actor's life that its context works on. */
export interface Life {
  readonly ref: Ref<unknown>;
  readonly parent: Life | undefined;
  readonly surroundings: { readonly clock: Clock; readonly log: Log; readonly live: ReadonlyMap<number, Life> };
  readonly signal: AbortSignal;
  readonly ticks: Ticks;
  readonly stopRequested: boolean;
  spawnChild(definition: unknown, name: string, args: unknown): Ref<unknown>;
  ensureChild(definition: unknown, name: string, args: unknown): Ref<unknown>;
  childRef(name: string): Ref<unknown> | undefined;
  watch(target: Life | undefined, message: unknown): void;
  stop(): Promise<void>;
}

const nothingToCancel = { cancel: (): void => undefined };

export class CellContext implements ActorContext<unknown> {
  readonly #life: Life;
  #log: Log | undefined;

  constructor(life: Life) {
    this.#life = life;
  }

  get self(): Ref<unknown> {
    return this.#life.ref;
  }

  get log(): Log {
    this.#log ??= this.#life.surroundings.log.child({ actor: this.#life.ref.path });
    return this.#log;
  }

  get clock(): Clock {
    return this.#life.surroundings.clock;
  }

  get signal(): AbortSignal {
    return this.#life.signal;
  }

  spawn<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M> {
    return this.#life.spawnChild(definition, name, args) as Ref<M>;
  }

  ensure<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M> {
    return this.#life.ensureChild(definition, name, args) as Ref<M>;
  }

  child(name: string): Ref<never> | undefined {
    return this.#life.childRef(name);
  }

  /** Of itself or an ancestor it does not wait: they wait for the message in hand. */
  stop(ref: Ref<never>): Promise<void> {
    const target = this.#life.surroundings.live.get(ref.incarnation);
    if (target === undefined) return Promise.resolve();
    const ended = target.stop();
    for (let life: Life | undefined = this.#life; life !== undefined; life = life.parent) {
      if (life === target) return Promise.resolve();
    }
    return ended;
  }

  watch(ref: Ref<never>, message: unknown): void {
    this.#life.watch(this.#life.surroundings.live.get(ref.incarnation), message);
  }

  after(delayMs: number, message: unknown): { cancel(): void } {
    return this.#life.stopRequested ? nothingToCancel : this.#life.ticks.after(delayMs, message);
  }

  every(intervalMs: number, message: unknown): { cancel(): void } {
    return this.#life.stopRequested ? nothingToCancel : this.#life.ticks.every(intervalMs, message);
  }
}
