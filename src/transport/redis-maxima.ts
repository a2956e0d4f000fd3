// The bounds and intervals of the mailboxes on Redis.

export interface RedisMaxima {
  /** No command waits longer for its answer. */
  readonly commandTimeoutMs: number;
  /** A read waits this long for entries. */
  readonly blockMs: number;
  /** Entries of an owned mailbox in hand at once, waiting for their order key or for a free handler. */
  readonly lookAheadMax: number;
  /** How often a receiver looks after its mailboxes. */
  readonly keepMs: number;
  /** Entries of a shared mailbox whose receiver was silent for so long are another's. Three times what it takes to be kept at least. */
  readonly claimIdleMs: number;
  readonly claimEveryMs: number;
  /** A consumer of a shared mailbox that was silent for so long is forgotten, once nothing is pending for it. */
  readonly consumerIdleMs: number;
  readonly retryFirstDelayMs: number;
  readonly retryDelayMsMax: number;
  /** Kept of each mailbox, about. */
  readonly deadLettersMax: number;
  /** In the stream of one process, about. */
  readonly repliesMax: number;
  /** The stream of a process that has ended is gone after this. */
  readonly replyTtlMs: number;
}

export const redisMaximaDefault: RedisMaxima = {
  commandTimeoutMs: 5000, blockMs: 1500, lookAheadMax: 256, keepMs: 5000, claimIdleMs: 60_000, claimEveryMs: 15_000, consumerIdleMs: 600_000,
  retryFirstDelayMs: 100, retryDelayMsMax: 5000, deadLettersMax: 10_000, repliesMax: 100_000, replyTtlMs: 60_000,
};
