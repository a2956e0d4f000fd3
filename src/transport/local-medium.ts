// What the processes of a local cloud share, as hosts share a Redis: mailboxes, reply mailboxes, the directory and the
// dead letters. It outlives every process on it, so that one can be killed and started again.
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { SetupError } from '../lib/errors.ts';
import type { Role } from '../messages/protocol.ts';
import { LocalMailbox } from './local-mailbox.ts';
import type { DeadLetter, MailboxDepth } from './transport.ts';

export interface LocalMaxima {
  /** Messages that may wait in a mailbox whose receiver said nothing else. Default 10 000. */
  readonly depthMax: number;
  /** Dead letters kept, the newest. Default 1 000. */
  readonly deadLettersMax: number;
  readonly retryFirstDelayMs: number;
  readonly retryDelayMsMax: number;
}

export const localMaximaDefault: LocalMaxima = { depthMax: 10_000, deadLettersMax: 1000, retryFirstDelayMs: 100, retryDelayMsMax: 5000 };

/** What a process brings to the medium. */
export interface LocalProcess {
  /** Takes a reply as text. */
  reply(text: string): void;
  /** The process is gone, as after `kill -9`. */
  killed(): void;
}

/** Carries messages and replies to where they go. A simulation's loses, doubles and delays them, as hosts and networks do. */
export interface Courier {
  /**
   * `arrive` puts it into the mailbox and is called never, once or several times, now or later; false: the mailbox is full. What this returns or
   * throws is what the sender learns.
   */
  carry(letter: { readonly to: string; readonly kind: 'message' | 'reply' }, arrive: () => boolean): boolean;
}

export interface LocalMediumOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly maxima?: Partial<LocalMaxima> | undefined;
  /** Default: everything arrives at once. */
  readonly courier?: Courier | undefined;
}

export const createLocalMedium = (options: LocalMediumOptions): LocalMedium => new LocalMedium(options);

export class LocalMedium {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #maxima: LocalMaxima;
  readonly #mailboxes = new Map<string, LocalMailbox>();
  readonly #processes = new Map<string, LocalProcess>();
  readonly #hosts = new Map<Role, Set<string>>();
  readonly #deadLetters: DeadLetter[] = [];
  readonly #courier: Courier;

  constructor(options: LocalMediumOptions) {
    this.#courier = options.courier ?? { carry: (_letter, arrive) => arrive() };
    this.#clock = options.clock;
    this.#log = options.log;
    this.#maxima = { ...localMaximaDefault, ...options.maxima };
  }

  join(name: string, process: LocalProcess): void {
    if (this.#processes.has(name)) throw new SetupError(`a process named ${name} is on this transport already`, 'give each process its own name');
    this.#processes.set(name, process);
  }

  leave(name: string): void {
    this.#processes.delete(name);
  }

  /** As `kill -9`: what the process had in hand comes again to another one; it takes and says nothing more. */
  kill(name: string): void {
    const process = this.#processes.get(name);
    this.#processes.delete(name);
    process?.killed();
  }

  mailbox(name: string): LocalMailbox {
    let mailbox = this.#mailboxes.get(name);
    if (mailbox === undefined) {
      mailbox = new LocalMailbox({ name, clock: this.#clock, depthMax: this.#maxima.depthMax, maxima: this.#maxima });
      this.#mailboxes.set(name, mailbox);
    }
    return mailbox;
  }

  /** Puts a message into a mailbox, in its own time. False when the mailbox is full. */
  post(mailbox: string, text: string, key: string | undefined): boolean {
    return this.#courier.carry({ to: mailbox, kind: 'message' }, () => this.mailbox(mailbox).put(text, key));
  }

  /** As FLUSHALL: what waits is gone; what is in hand goes on. */
  empty(): void {
    for (const mailbox of this.#mailboxes.values()) mailbox.empty();
  }

  /** A reply to a process that is gone is nobody's any more. */
  reply(processName: string, text: string): void {
    this.#courier.carry({ to: processName, kind: 'reply' }, () => {
      this.#processes.get(processName)?.reply(text);
      return true;
    });
  }

  announce(role: Role, host: string): void {
    const hosts = this.#hosts.get(role) ?? new Set();
    this.#hosts.set(role, hosts.add(host));
  }

  withdraw(role: Role, host: string): void {
    this.#hosts.get(role)?.delete(host);
  }

  hosts(role: Role): readonly string[] {
    return [...(this.#hosts.get(role) ?? [])].toSorted();
  }

  bury(letter: DeadLetter): void {
    const { id, type, to, reason, error } = letter;
    this.#log.warn({ id, type, to, reason, error }, 'dead letter');
    this.#deadLetters.push(letter);
    if (this.#deadLetters.length > this.#maxima.deadLettersMax) this.#deadLetters.shift();
  }

  /** Takes a dead letter out. Undefined: there is none of that id. */
  unbury(id: string): DeadLetter | undefined {
    const position = this.#deadLetters.findIndex((letter) => letter.id === id);
    return position < 0 ? undefined : this.#deadLetters.splice(position, 1)[0];
  }

  deadLetters(): readonly DeadLetter[] {
    return [...this.#deadLetters];
  }

  depths(): readonly MailboxDepth[] {
    return Array.from(this.#mailboxes.values(), ({ name, waiting, inHand }) => ({ mailbox: name, waiting, inHand }));
  }
}
