// What an actor is, for everyone who writes one. The implementation over nact is in system.ts and nact-repairs.ts.
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';

/** A typed name of one incarnation of an actor: a message to an earlier incarnation is a dead letter. */
export interface Ref<in Message> {
  readonly path: string;
  readonly incarnation: number;
  /** Contravariant brand: a Ref<Animal> is a Ref<Cat>, not the reverse. Never present at run time. */
  readonly '~message'?: (message: Message) => void;
}

/**
 * `resume`: next message, same state. `restart`: fresh state after a back-off, mailbox kept, until the limit, then `escalate`.
 * `stop`: this actor ends. `escalate`: the parent is told as if it had failed itself.
 */
export type Decision = 'resume' | 'restart' | 'stop' | 'escalate';

export interface RestartLimits {
  /** Default 5. */
  readonly restartsMax: number;
  /** Default 60 000. */
  readonly withinMs: number;
  /** Default 100. */
  readonly firstDelayMs: number;
  /** Default 30 000. */
  readonly delayMsMax: number;
}

export interface ActorDefinition<State, Message, Args = void> {
  /** Shown in the tree and used in metrics: `instance`, `reconciler`. */
  readonly kind: string;
  /** Runs before the first message, again after a restart. A failure counts as a restart with back-off. */
  readonly init: (context: ActorContext<Message>, args: Args) => State | Promise<State>;
  /** Returns the next state; undefined keeps the present one. One message at a time, always. */
  readonly handle: (state: State, message: Message, context: ActorContext<Message>) => State | void | Promise<State | void>;
  /** Default: restart. Must not throw. */
  readonly onError?: (error: unknown, message: Message | undefined) => Decision;
  /** A child failed beyond its own limits. Default: escalate. */
  readonly onChildFailed?: (child: Ref<never>, error: unknown) => 'restart' | 'stop' | 'escalate';
  /**
   * After the message in hand is done and all children are stopped: at the end, and before each restart, so that what the state
   * holds open is closed. Not called for a state that init never made.
   */
  readonly onStop?: (state: State, context: ActorContext<Message>) => void | Promise<void>;
  /** Messages that may wait. Default 1 000; beyond it `tell` throws ActorError `mailboxFull`. */
  readonly mailboxMax?: number;
  /** Stopped after so long without a message; spawned again on demand. */
  readonly idleMs?: number;
  readonly restart?: Partial<RestartLimits>;
}

export interface ActorContext<Message> {
  readonly self: Ref<Message>;
  readonly log: Log;
  readonly clock: Clock;
  /** Aborted when the actor is to stop: long work looks at it. */
  readonly signal: AbortSignal;
  spawn<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M>;
  /** The child of that name, spawned if it is not there. Never two of one name. */
  ensure<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M>;
  child(name: string): Ref<never> | undefined;
  stop(ref: Ref<never>): Promise<void>;
  /** Sends `message` to self when the watched actor has ended, for whatever reason; at once if it has already. */
  watch(ref: Ref<never>, message: Message): void;
  /** Sends to self later. Cancelled when the actor stops or restarts. */
  after(delayMs: number, message: Message): { cancel(): void };
  /** Sends to self at intervals with jitter (a tenth), never two waiting at once. Cancelled when the actor stops or restarts. */
  every(intervalMs: number, message: Message): { cancel(): void };
}

export type ActorErrorKind = 'mailboxFull' | 'timeout' | 'terminated' | 'stopping';

/** A typed refusal of the runtime. */
export class ActorError extends Error {
  override readonly name = 'ActorError';
  readonly kind: ActorErrorKind;

  constructor(kind: ActorErrorKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Where an answer goes: given to the asked actor inside its message. Exactly one of the two is called, once; more calls are dead letters. */
export interface ReplyTo<Answer> {
  answer(value: Answer): void;
  fail(error: unknown): void;
}

/** One row of the printed tree. */
export interface ActorInfo {
  readonly path: string;
  readonly kind: string;
  readonly state: 'starting' | 'idle' | 'busy' | 'restarting' | 'stopping';
  readonly depth: number;
  readonly restarts: number;
  readonly handled: number;
  readonly failed: number;
  /** Of the message in hand. */
  readonly busyMs: number;
}

export interface ActorSystem {
  readonly name: string;
  spawn<S, M, A>(definition: ActorDefinition<S, M, A>, name: string, args: A): Ref<M>;
  /** Throws ActorError `mailboxFull`; to an ended actor it is a dead letter. */
  tell<M>(ref: Ref<M>, message: M): void;
  /**
   * The answer of a reply-actor that lives until `timeoutMs`. Rejects with ActorError `timeout`, `mailboxFull`, or at once with
   * `terminated` when the asked actor has ended or ends.
   */
  ask<M, Answer>(ref: Ref<M>, message: (replyTo: ReplyTo<Answer>) => M, options: { timeoutMs: number }): Promise<Answer>;
  /** Children first, each after its message in hand; what still waits is a dead letter. */
  stop(deadlineMs: number): Promise<void>;
  tree(): readonly ActorInfo[];
  deadLetterCount(): number;
}

export interface SystemOptions {
  readonly name: string;
  readonly clock: Clock;
  readonly log: Log;
  /** The top of the tree gave up. A process ends itself here (crash-only: the way back is the way of every start). */
  readonly onFatal: (error: unknown) => void;
  /** For jitter only; a simulation passes a seeded one. Default: Math.random. */
  readonly random?: () => number;
}
