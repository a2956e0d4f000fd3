// The actor system over nact: spawn at the top, tell, ask, stop, and the tree as the operator sees it.
import { ActorError, type ActorDefinition, type ActorInfo, type ActorSystem, type Ref, type ReplyTo, type SystemOptions } from './actor.ts';
import { spawnCell, type AnyDefinition, type Cell } from './cell.ts';
import { DeadLetters } from './dead-letters.ts';
import { startSystem, type RepairedActor } from './nact-repairs.ts';
import { PendingReply } from './reply.ts';
import type { Surroundings } from './surroundings.ts';
import { startTimer } from './timer.ts';

/** Starts a system. Its name must be the only one of the process (fault B13). */
export function createActorSystem(options: SystemOptions): ActorSystem {
  return new System(options);
}

class System implements ActorSystem {
  readonly name: string;
  readonly #surroundings: Surroundings<Cell>;
  #stopped: Promise<void> | undefined;

  constructor(options: SystemOptions) {
    const { name, clock, onFatal } = options;
    const log = options.log.child({ system: name });
    this.name = name;
    this.#surroundings = {
      clock,
      log,
      random: options.random ?? Math.random,
      nact: startSystem(name),
      deadLetters: new DeadLetters(clock, log),
      live: new Map(),
      ending: new Map(),
      giveUp: (error) => {
        log.fatal({ err: error }, 'the top of the tree gave up');
        try {
          onFatal(error);
        } catch (fault) {
          log.fatal({ err: fault }, 'onFatal threw');
        }
      },
    };
  }

  spawn<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M> {
    if (this.#stopped !== undefined) throw new ActorError('stopping', `${this.name} is stopping and spawns nothing`);
    return spawnCell(this.#surroundings, undefined, { definition: definition as unknown as AnyDefinition, name, args }).ref as Ref<M>;
  }

  tell<M>(ref: Ref<M>, message: M): void {
    const cell = this.#find(ref);
    if (cell === undefined) return this.#surroundings.deadLetters.add(ref.path, 'ended');
    if (cell.actor.mailbox.length >= cell.mailboxMax) throw mailboxFull(cell);
    cell.actor.dispatch(message, undefined);
  }

  ask<M, Answer>(ref: Ref<M>, message: (replyTo: ReplyTo<Answer>) => M, options: { timeoutMs: number }): Promise<Answer> {
    const { nact, deadLetters, clock } = this.#surroundings;
    const { timeoutMs } = options;
    return new Promise((resolve, reject) => {
      const cell = this.#find(ref);
      if (cell === undefined) return reject(new ActorError('terminated', `${ref.path} has ended`));
      if (cell.actor.mailbox.length >= cell.mailboxMax) return reject(mailboxFull(cell));
      const reply = new PendingReply<Answer>({ path: ref.path, nact, deadLetters, open: cell.asks, outcome: { resolve, reject } });
      try {
        const late = (): void => reply.giveUp(new ActorError('timeout', `${ref.path} did not answer within ${timeoutMs} ms`));
        reply.timer = startTimer(clock, timeoutMs, late);
        cell.actor.dispatch(message(reply), reply);
      } catch (error) {
        reply.giveUp(error);
      }
    });
  }

  stop(deadlineMs: number): Promise<void> {
    this.#stopped ??= this.#stop(deadlineMs);
    return this.#stopped;
  }

  tree(): readonly ActorInfo[] {
    return Array.from(this.#surroundings.live.values(), (cell) => cell.info()).toSorted((a, b) => (a.path < b.path ? -1 : 1));
  }

  deadLetterCount(): number {
    return this.#surroundings.deadLetters.count;
  }

  async #stop(deadlineMs: number): Promise<void> {
    const { nact, ending } = this.#surroundings;
    const tops = Array.from(nact.children.values(), (actor) => (actor as RepairedActor<Cell>).owner);
    await Promise.all([...tops, ...ending.values()].map((cell) => cell.stop(deadlineMs)));
    nact.stop();
  }

  /** B14: by incarnation, so that a stale ref never reaches a later actor of the same name. */
  #find(ref: Ref<never>): Cell | undefined {
    const cell = this.#surroundings.live.get(ref.incarnation);
    return cell === undefined || cell.stopRequested ? undefined : cell;
  }
}

const mailboxFull = (cell: Cell): ActorError => new ActorError('mailboxFull', `${cell.mailboxMax} messages wait at ${cell.ref.path}`);
