// The reply-actor of an ask: a nact temporary reference that lives until it is answered, failed or out of time.
import type { Timer } from '../../lib/clock.ts';
import { ActorError, type ReplyTo } from './actor.ts';
import type { DeadLetters } from './dead-letters.ts';
import { ReplyReference, type NactSystem } from './nact-repairs.ts';

interface Outcome<Answer> {
  resolve(value: Answer): void;
  reject(error: unknown): void;
}

/** One open question. Travels beside the message, where nact carries a sender. */
export class PendingReply<Answer> extends ReplyReference implements ReplyTo<Answer> {
  readonly kind = 'reply';
  /** Whom it was asked. */
  readonly path: string;
  timer: Timer | undefined;
  readonly #nact: NactSystem;
  readonly #deadLetters: DeadLetters;
  readonly #open: Set<PendingReply<never>>;
  #outcome: Outcome<Answer> | undefined;
  #answered = false;

  constructor(options: { path: string; nact: NactSystem; deadLetters: DeadLetters; open: Set<PendingReply<never>>; outcome: Outcome<Answer> }) {
    super(options.nact.name);
    this.path = options.path;
    this.#nact = options.nact;
    this.#deadLetters = options.deadLetters;
    this.#open = options.open;
    this.#outcome = options.outcome;
    this.#open.add(this);
    this.#nact.addTempReference(this, this as { resolve(value: unknown): void });
  }

  answer(value: Answer): void {
    this.#take()?.resolve(value);
  }

  fail(error: unknown): void {
    this.#take()?.reject(error);
  }

  /** For nact's own dispatch to a temporary reference. */
  resolve(value: Answer): void {
    this.answer(value);
  }

  /** Ends the question from the asker's side, or because the asked one has ended; silent when it is settled already. */
  giveUp(error: unknown): void {
    if (this.#outcome === undefined) return;
    const outcome = this.#close();
    outcome?.reject(error);
  }

  terminated(): void {
    this.giveUp(new ActorError('terminated', `${this.path} has ended without an answer`));
  }

  #take(): Outcome<Answer> | undefined {
    if (this.#outcome === undefined) this.#deadLetters.add(this.path, this.#answered ? 'secondAnswer' : 'lateAnswer');
    else this.#answered = true;
    return this.#close();
  }

  #close(): Outcome<Answer> | undefined {
    const outcome = this.#outcome;
    this.#outcome = undefined;
    this.timer?.cancel();
    this.#open.delete(this);
    this.#nact.removeTempReference(this);
    return outcome;
  }
}
