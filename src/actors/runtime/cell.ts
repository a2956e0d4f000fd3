// The life of one actor above its nact actor: start, messages, faults, restarts, end. Every phase runs as a turn of the
// nact actor, whose promise settles when the next message may be taken: this alone keeps two messages from ever being
// handled at once, through back-off, restart and stop.
import { messageOf } from '../../lib/errors.ts';
import { ActorError, type ActorDefinition, type ActorInfo, type Decision, type Ref } from './actor.ts';
import { CellContext, type Life } from './context.ts';
import { Control } from './control.ts';
import { deferred, isPromise, within, type Deferred } from './deferred.ts';
import { IdleTimer } from './idle.ts';
import { RepairedActor, type Owner, type Waiting } from './nact-repairs.ts';
import { encodeName } from './names.ts';
import { PendingReply } from './reply.ts';
import { RestartPolicy } from './restart-policy.ts';
import type { Surroundings } from './surroundings.ts';
import { Tick, Ticks } from './ticks.ts';
import { startTimer } from './timer.ts';
import { decide, decideOnChild } from './verdicts.ts';

export type AnyDefinition = ActorDefinition<unknown, unknown, unknown>;

type Sender = undefined | Control | Tick | PendingReply<unknown>;

interface Watch {
  readonly watcher: Cell;
  readonly target: Cell;
  readonly message: unknown;
}

export const mailboxMaxDefault = 1000;
/** How long an actor may take to end, where nobody said. After it the actor is given up: unregistered, its handler's result ignored. */
export const stopDeadlineMsDefault = 30_000;

let incarnations = 0;

export class Cell implements Life, Owner {
  readonly ref: Ref<unknown>;
  readonly definition: AnyDefinition;
  readonly surroundings: Surroundings<Cell>;
  readonly parent: Cell | undefined;
  readonly actor: RepairedActor<Cell>;
  readonly mailboxMax: number;
  phase: 'starting' | 'running' | 'restarting' | 'stopping' | 'ended' = 'starting';
  readonly #args: unknown;
  readonly #context: CellContext;
  // Made when needed: most actors have none of these, and there may be a hundred thousand actors.
  #ending: Map<string, Cell> | undefined;
  #asks: Set<PendingReply<never>> | undefined;
  #watchers: Set<Watch> | undefined;
  #watching: Set<Watch> | undefined;
  #previous: Cell | undefined;
  #state: unknown;
  #hasState = false;
  /** Counts restarts, so that what belongs to a former life is known. */
  #generation = 0;
  #handled = 0;
  #failed = 0;
  #busySince = 0;
  #idle: IdleTimer | undefined;
  #restarts: RestartPolicy | undefined;
  #ticks: Ticks | undefined;
  #abort: AbortController | undefined;
  #ended: Deferred | undefined;

  constructor(options: { surroundings: Surroundings<Cell>; parent: Cell | undefined; definition: AnyDefinition; name: string; args: unknown }) {
    const { surroundings, parent, definition, name } = options;
    this.surroundings = surroundings;
    this.parent = parent;
    this.definition = definition;
    this.#args = options.args;
    this.mailboxMax = definition.mailboxMax ?? mailboxMaxDefault;
    this.actor = new RepairedActor<Cell>({
      parent: parent?.actor ?? surroundings.nact,
      name,
      system: surroundings.nact,
      owner: this,
    });
    incarnations += 1;
    this.ref = Object.freeze({ path: `${parent?.ref.path ?? ''}/${name}`, incarnation: incarnations });
    this.#context = new CellContext(this);
    this.#previous = (parent?.ending ?? surroundings.ending).get(name);
    surroundings.live.set(this.ref.incarnation, this);
    this.actor.dispatch(undefined, new Control(() => this.#start()));
  }

  /** Children that are ending, by name; a new one of that name begins after them. */
  get ending(): Map<string, Cell> {
    this.#ending ??= new Map();
    return this.#ending;
  }

  /** Open questions to this actor. */
  get asks(): Set<PendingReply<never>> {
    this.#asks ??= new Set();
    return this.#asks;
  }

  get ended(): Promise<void> {
    if (this.#ended === undefined) {
      this.#ended = deferred();
      if (this.phase === 'ended') this.#ended.resolve();
    }
    return this.#ended.promise;
  }

  get stopRequested(): boolean {
    return this.phase === 'stopping' || this.phase === 'ended';
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.stopRequested) this.#abort.abort(new ActorError('stopping', `${this.ref.path} stops`));
    }
    return this.#abort.signal;
  }

  get ticks(): Ticks {
    const { clock, random } = this.surroundings;
    this.#ticks ??= new Ticks(clock, random, (message, tick) => this.actor.dispatch(message, tick));
    return this.#ticks;
  }

  get children(): readonly Cell[] {
    return Array.from(this.actor.children.values(), cellOf);
  }

  spawnChild(definition: AnyDefinition, name: string, args: unknown): Ref<unknown> {
    return spawnCell(this.surroundings, this, { definition, name, args }).ref;
  }

  ensureChild(definition: AnyDefinition, name: string, args: unknown): Ref<unknown> {
    const present = this.actor.children.get(encodeName(name));
    if (present === undefined) return this.spawnChild(definition, name, args);
    const child = cellOf(present);
    child.#idle?.touch();
    return child.ref;
  }

  childRef(name: string): Ref<unknown> | undefined {
    const present = this.actor.children.get(encodeName(name));
    return present && cellOf(present).ref;
  }

  info(): ActorInfo {
    const { running, mailbox } = this.actor;
    const settled = running ? 'busy' : 'idle';
    return {
      path: this.ref.path,
      kind: this.definition.kind,
      state: this.phase === 'running' ? settled : this.phase === 'ended' ? 'stopping' : this.phase,
      depth: mailbox.length,
      restarts: this.#generation,
      handled: this.#handled,
      failed: this.#failed,
      busyMs: running ? Math.max(0, this.surroundings.clock.now() - this.#busySince) : 0,
    };
  }

  /** Sends `message` to this actor when `target` has ended. */
  watch(target: Cell | undefined, message: unknown): void {
    if (this.stopRequested) return;
    if (target === undefined) return this.actor.dispatch(message, undefined);
    const watch: Watch = { watcher: this, target, message };
    target.#watchers = (target.#watchers ?? new Set()).add(watch);
    this.#watching = (this.#watching ?? new Set()).add(watch);
  }

  /** Children first, then this one, each after its message in hand. Never rejects. Past the deadline all of them are given up. */
  stop(deadlineMs: number = stopDeadlineMsDefault): Promise<void> {
    const { ended } = this;
    if (this.phase === 'ended') return ended;
    const timer = startTimer(this.surroundings.clock, deadlineMs, () => this.abandon(), { unref: true });
    void ended.then(() => timer.cancel());
    this.#requestStop();
    return ended;
  }

  /** Ends without waiting for the message in hand; its result is ignored and onStop is not called. */
  abandon(): void {
    if (this.phase === 'ended') return;
    this.#requestStop();
    for (const child of this.#ending?.values() ?? []) child.abandon();
    this.#previous?.abandon();
    this.#context.log.error({ busyMs: this.info().busyMs }, 'given up: the actor did not end in time');
    this.#end();
  }

  /** A child failed beyond its own limits: what becomes of it. Escalation makes the error this actor's own, after its message in hand. */
  childFailed(child: Cell, error: unknown): 'restart' | 'stop' {
    if (this.stopRequested) return 'stop';
    const verdict = decideOnChild(this.definition, child.ref, error, this.#context.log);
    if (verdict !== 'escalate') return verdict;
    const generation = this.#generation;
    this.actor.dispatchFirst(undefined, new Control(() => (generation === this.#generation ? this.#failedWith(error, undefined) : undefined)));
    return 'stop';
  }

  runtimeFailed(error: unknown): void {
    this.surroundings.giveUp(error);
  }

  /** One turn of the actor. */
  receive(message: unknown, sender: Sender): void | Promise<void> {
    this.#busySince = this.surroundings.clock.now();
    if (sender !== undefined) {
      if (sender.kind === 'control') return sender.run();
      if (sender.kind === 'tick' && !sender.take()) return undefined;
    }
    try {
      const next = this.definition.handle(this.#state, message, this.#context);
      if (isPromise(next)) {
        return next.then((state) => this.#done(state), (error: unknown) => this.#messageFailed(error, message, sender));
      }
      this.#done(next);
      return undefined;
    } catch (error) {
      return this.#messageFailed(error, message, sender);
    }
  }

  #done(next: unknown): void {
    this.#handled += 1;
    if (next !== undefined) this.#state = next;
    this.#idle?.touch();
  }

  /** Whoever asked is told at once: the answer will not come. */
  #messageFailed(error: unknown, message: unknown, sender: Sender): void | Promise<void> {
    this.#handled += 1;
    if (sender instanceof PendingReply) sender.giveUp(error);
    return this.#failedWith(error, message);
  }

  async #start(): Promise<void> {
    await this.#previous?.ended;
    this.#previous = undefined;
    if (this.stopRequested) return;
    try {
      await this.#begin();
    } catch (error) {
      await this.#failedWith(error, undefined);
    }
  }

  async #begin(): Promise<void> {
    this.#state = await this.definition.init(this.#context, this.#args);
    this.#hasState = true;
    if (this.stopRequested) return;
    this.phase = 'running';
    this.#startIdling();
  }

  /** Decides and recovers within the actor's turn, so that nothing is handled until it is over. */
  async #failedWith(firstError: unknown, firstMessage: unknown): Promise<void> {
    let error = firstError;
    let message = firstMessage;
    for (;;) {
      this.#failed += 1;
      if (this.stopRequested) return this.#logFault(error, 'stop');
      const decision = decide(this.definition, { error, message, hasState: this.#hasState }, this.#context.log);
      this.#logFault(error, decision);
      if (decision === 'resume') return;
      const pauseMs = decision === 'stop' ? undefined : this.#pauseMs(decision, error);
      if (pauseMs === undefined) {
        void this.stop();
        return;
      }
      if (!(await this.#unmake(pauseMs))) return;
      try {
        await this.#begin();
        return;
      } catch (fault) {
        error = fault;
        message = undefined;
      }
    }
  }

  /** The pause before the restart; undefined when there is to be none. */
  #pauseMs(decision: Decision, error: unknown): number | undefined {
    const { clock, random } = this.surroundings;
    this.#restarts ??= new RestartPolicy(this.definition.restart, random);
    const pauseMs = decision === 'restart' ? this.#restarts.next(clock.now()) : undefined;
    if (pauseMs !== undefined) return pauseMs;
    if (this.parent === undefined) {
      this.surroundings.giveUp(error);
      return undefined;
    }
    return this.parent.childFailed(this, error) === 'restart' ? this.#restarts.grant(clock.now()) : undefined;
  }

  /** Ends the former life and waits out the back-off. False when the actor is to stop. */
  async #unmake(pauseMs: number): Promise<boolean> {
    this.phase = 'restarting';
    this.#generation += 1;
    this.#letGo();
    for (const child of this.children) void child.stop();
    await this.#childrenEnded();
    await this.#callOnStop();
    if (this.stopRequested) return false;
    await this.surroundings.clock.sleep(pauseMs, this.signal).catch(() => undefined); // rejects only when stopped
    return !this.stopRequested;
  }

  #logFault(error: unknown, decision: Decision): void {
    const { log } = this.#context;
    const seen = { decision, failed: this.#failed };
    if (this.stopRequested && error instanceof ActorError && error.kind === 'stopping') log.debug(seen, 'a message ended with its actor');
    else if (decision === 'resume') log.info({ ...seen, error: messageOf(error) }, 'a message failed');
    else log.error({ ...seen, err: error }, 'the actor failed');
  }

  #startIdling(): void {
    const { idleMs } = this.definition;
    if (idleMs === undefined) return;
    this.#idle = new IdleTimer({
      clock: this.surroundings.clock,
      idleMs,
      inUse: () => this.actor.busy || this.actor.children.size > 0 || Boolean(this.#ending?.size) || Boolean(this.#asks?.size),
      stop: () => void this.stop(),
    });
  }

  /** From here the name is free, every message is a dead letter, and nothing begins any more. */
  #requestStop(): void {
    if (this.stopRequested) return;
    this.phase = 'stopping';
    (this.parent?.ending ?? this.surroundings.ending).set(this.actor.name, this);
    this.#abort?.abort(new ActorError('stopping', `${this.ref.path} stops`));
    this.#letGo();
    for (const waiting of this.actor.end()) this.#refuse(waiting);
    for (const child of this.children) child.#requestStop();
    void this.#finish();
  }

  #refuse(waiting: Waiting): void {
    const sender = waiting.sender as Sender;
    if (sender instanceof Control || sender instanceof Tick) return;
    this.surroundings.deadLetters.add(this.ref.path, 'stopped');
    sender?.terminated();
  }

  async #finish(): Promise<void> {
    await this.actor.whenIdle();
    await this.#previous?.ended;
    await this.#childrenEnded();
    if (this.phase !== 'ended') await this.#callOnStop();
    this.#end();
  }

  async #childrenEnded(): Promise<void> {
    if (this.#ending !== undefined) await Promise.all(Array.from(this.#ending.values(), (child) => child.ended));
  }

  /** C4, C5: an onStop that fails, or does not end, is logged. */
  async #callOnStop(): Promise<void> {
    const { definition } = this;
    const state = this.#state;
    if (!this.#hasState) return;
    this.#hasState = false;
    this.#state = undefined;
    try {
      if (definition.onStop !== undefined) await within(this.surroundings.clock, stopDeadlineMsDefault, definition.onStop(state, this.#context));
    } catch (error) {
      this.#context.log.error({ err: error }, 'onStop failed');
    }
  }

  /** Ticks, watches and the idle timer belong to one life. */
  #letGo(): void {
    this.#idle?.cancel();
    this.#idle = undefined;
    this.#ticks?.cancelAll();
    for (const watch of this.#watching ?? []) watch.target.#watchers?.delete(watch);
    this.#watching = undefined;
  }

  #end(): void {
    if (this.phase === 'ended') return;
    this.phase = 'ended';
    this.surroundings.live.delete(this.ref.incarnation);
    const siblings = this.parent?.ending ?? this.surroundings.ending;
    if (siblings.get(this.actor.name) === this) siblings.delete(this.actor.name);
    for (const ask of this.#asks ?? []) ask.terminated();
    for (const watch of this.#watchers ?? []) {
      watch.watcher.#watching?.delete(watch);
      watch.watcher.actor.dispatch(watch.message, undefined);
    }
    this.#watchers = undefined;
    this.#ended?.resolve();
  }
}

const cellOf = (actor: object): Cell => (actor as RepairedActor<Cell>).owner;

/** Spawns through nact, which refuses a second one of a name. */
export function spawnCell(surroundings: Surroundings<Cell>, parent: Cell | undefined, wish: { definition: AnyDefinition; name: string; args: unknown }): Cell {
  if (parent?.stopRequested === true) throw new ActorError('stopping', `${parent.ref.path} is stopping and spawns nothing`);
  return new Cell({ surroundings, parent, ...wish, name: encodeName(wish.name) });
}
