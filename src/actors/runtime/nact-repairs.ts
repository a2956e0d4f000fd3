// All repairs to nact 7.6.2, by subclass, so that nact itself stays as published and specs can show each fault beside
// its repair. nact keeps the mailbox (denque), the hierarchy and its registry, the dispatch loop and temporary
// references. Supervision, start and stop belong to cell.ts: the work given to an actor here never throws, so that
// nact's own supervision (faults B3-B6, B12, B17, C1-C3, C6, C7) is never entered and is closed below.
import { Actor } from 'nact/lib/actor.js';
import { TemporaryReference } from 'nact/lib/references.js';
import { start, type NactParent, type NactSystem } from 'nact/lib/system.js';
import { find } from 'nact/lib/system-map.js';

/** What waits in a mailbox. */
export interface Waiting {
  readonly message: unknown;
  readonly sender: unknown;
}

/** The life above a nact actor. */
export interface Owner {
  /** Handles one message and throws never; the next is taken when it has returned or its promise has settled. */
  receive(message: unknown, sender: unknown): void | Promise<void>;
  /** It threw all the same. */
  runtimeFailed(error: unknown): void;
}

export type { NactParent, NactSystem };

function supervisionIsClosed(): never {
  throw new Error('nact supervision is closed: cell.ts decides');
}

/** A nact actor that handles one message at a time, whatever happens, and knows whether it does. */
export class RepairedActor<Life extends Owner = Owner> extends Actor {
  readonly owner: Life;
  /** A message is in hand now. */
  running = false;
  /** Taken from the mailbox and waiting for its turn of the event loop. */
  #next: Waiting | undefined;
  #whenIdle: (() => void)[] | undefined;

  constructor(options: { parent: NactParent; name: string; system: NactSystem; owner: Life }) {
    // No shutdownAfter (B10, B11: its timer wraps and leaks), no initialStateFunc (B4, C6: init is the first message),
    // no afterStop (B7, B8, C4, C5: it ran twice, too early, and ended the process when it failed).
    super(options.parent, options.name, options.system, undefined);
    this.owner = options.owner;
  }

  /** nact asserts and makes a Nobody for each message; a message to a stopped actor is its caller's dead letter. */
  override dispatch(message: unknown, sender?: unknown): void {
    if (this.stopped) return;
    if (this.busy) this.mailbox.push({ message, sender });
    else this.handleMessage(message, sender);
  }

  /** Before all that waits, after the message in hand. */
  dispatchFirst(message: unknown, sender: unknown): void {
    if (this.stopped) return;
    if (this.busy) this.mailbox.unshift({ message, sender });
    else this.handleMessage(message, sender);
  }

  /** B15: no context with a copy of all children for each message. B3, B6: what is in hand is known. */
  override handleMessage(message: unknown, sender: unknown): void {
    this.busy = true;
    this.#next = { message, sender };
    this.immediate = setImmediate(runNext, this);
  }

  /** The turn of the event loop that handleMessage asked for. */
  run(): void {
    const next = this.#next;
    if (next === undefined || this.stopped) return;
    this.#next = undefined;
    this.running = true;
    let outcome: void | Promise<void>;
    try {
      outcome = this.owner.receive(next.message, next.sender);
    } catch (error) {
      this.#failed(error);
      return;
    }
    if (outcome === undefined) this.#settled();
    else void outcome.then(() => this.#settled(), (error: unknown) => this.#failed(error));
  }

  /** Resolves when no message is in hand. */
  whenIdle(): Promise<void> {
    if (!this.running) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenIdle ??= [];
      this.#whenIdle.push(resolve);
    });
  }

  /**
   * B1, B2, B7: takes this actor, once, out of the hierarchy and hands back what waited, the message that was scheduled
   * but not begun first. Its children are the owner's to stop.
   */
  end(): readonly Waiting[] {
    if (this.stopped) return [];
    this.stopped = true;
    clearImmediate(this.immediate);
    this.parent?.childStopped(this);
    const waiting = this.mailbox.toArray();
    this.mailbox.clear();
    if (this.#next !== undefined) waiting.unshift(this.#next as { message: unknown; sender: unknown });
    this.#next = undefined;
    return waiting;
  }

  override stop(): void {
    this.end();
  }

  override handleFault(): never {
    return supervisionIsClosed();
  }

  override reset(): never {
    return supervisionIsClosed();
  }

  override resume(): never {
    return supervisionIsClosed();
  }

  /** B9, B10, B16: ask is system.ask, with counted ids, clock timers and early failure. */
  override query(): never {
    return supervisionIsClosed();
  }

  #settled(): void {
    this.running = false;
    const waiters = this.#whenIdle;
    this.#whenIdle = undefined;
    for (const resolve of waiters ?? []) resolve();
    this.processNext();
  }

  #failed(error: unknown): void {
    this.owner.runtimeFailed(error);
    this.#settled();
  }
}

const runNext = (actor: RepairedActor): void => actor.run();

let replies = 0;

/** B16: nact's temporary ids are random with 31 bits, and a collision delivers one's answer to another. These are counted. */
export class ReplyReference extends TemporaryReference {
  constructor(systemName: string) {
    super(systemName);
    replies += 1;
    this.id = replies;
  }
}

/** B13: a second system of one name would silently replace the first. B2, C3: what reaches the system by nact's ways ends nothing. */
export function startSystem(name: string): NactSystem {
  if (find(name) !== undefined) throw new Error(`an actor system named ${name} runs already in this process`);
  start({ name });
  const system = find(name);
  if (system === undefined) throw new Error(`nact did not start ${name}`);
  system.handleFault = supervisionIsClosed;
  return system;
}
