// Locks out who is wrong too often: an access key after wrong signatures, a user after wrong passwords. Counted in the database, so that asking
// another process of the api gains nothing. Only what exists is counted: strangers make no rows.
import { deleteLockout, deleteOverLockouts, insertFailure, isLockedOut, lockoutSubject, selectLockouts, type LockoutKind } from '../db/lockouts.ts';
import type { Db } from '../db/db.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';

export interface LockoutSettings {
  readonly db: Db;
  readonly clock: Clock;
  readonly log: Log;
  /** So many within the window; 0: nobody is ever locked out. */
  readonly failuresMax: number;
  readonly windowMs: number;
  readonly lockMs: number;
  /** Users on whose key the cloud itself depends: nobody is to be able to lock them out. */
  readonly exemptNames: readonly string[];
}

export type { LockoutKind } from '../db/lockouts.ts';

export interface LockedOut {
  readonly kind: LockoutKind;
  /** An access key, or a user. */
  readonly id: string;
  readonly until: Date;
}

export class Lockout {
  readonly #settings: LockoutSettings;

  constructor(settings: LockoutSettings) {
    this.#settings = settings;
  }

  async isLocked(kind: LockoutKind, id: string, userName: string): Promise<boolean> {
    if (!this.#counts(userName)) return false;
    return isLockedOut(this.#settings.db, lockoutSubject(kind, id), this.#settings.clock.date());
  }

  /** The same for whom it is known until when. */
  isLockedUntil(until: Date | undefined, userName: string): boolean {
    return until !== undefined && this.#counts(userName) && until.getTime() > this.#settings.clock.now();
  }

  /** Counts one more that was wrong. */
  async note(kind: LockoutKind, id: string, userName: string): Promise<void> {
    if (!this.#counts(userName)) return;
    const { db, clock, log, failuresMax, lockMs } = this.#settings;
    const now = clock.date();
    const lockedUntil = new Date(now.getTime() + lockMs);
    await deleteOverLockouts(db, now, this.#countedSince());
    const locks = await insertFailure(db, { subject: lockoutSubject(kind, id), now, countedSince: this.#countedSince(), failuresMax, lockedUntil });
    if (locks) log.warn({ kind, id, user: userName, until: lockedUntil }, 'locked out after too many that were wrong');
  }

  /** Lets in again at once. False: nothing was counted. */
  clear(kind: LockoutKind, id: string): Promise<boolean> {
    return deleteLockout(this.#settings.db, lockoutSubject(kind, id));
  }

  async list(): Promise<LockedOut[]> {
    const rows = await selectLockouts(this.#settings.db, this.#settings.clock.date());
    return rows.flatMap(({ subject, lockedUntil }) => {
      const colon = subject.indexOf(':');
      const kind = subject.slice(0, colon) === 'key' ? 'key' : 'password';
      return lockedUntil === null ? [] : [{ kind, id: subject.slice(colon + 1), until: lockedUntil }];
    });
  }

  #counts(userName: string): boolean {
    return this.#settings.failuresMax > 0 && !this.#settings.exemptNames.includes(userName);
  }

  #countedSince(): Date {
    return new Date(this.#settings.clock.now() - this.#settings.windowMs);
  }
}
