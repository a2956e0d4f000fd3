// Work that ensures a whole state from the database: whoever asks while it runs is served by one more run, not by one each.
import type { ActorDefinition, ActorSystem, Ref, ReplyTo } from '../runtime/actor.ts';

export interface EnsureMessage {
  readonly type: 'ensure';
  /** From `nextTicket`, taken before the message was sent: a run that began after it has seen what the asker wrote. */
  readonly ticket: number;
  readonly replyTo?: ReplyTo<null>;
  /** Nobody knows of a change: what is still as it was need not be done again. */
  readonly isHint?: boolean;
}

let tickets = 0;
export const nextTicket = (): number => (tickets += 1);

/** An actor around one `ensure`. Its failure goes to the asker; without one it is logged, and the next round tries again. */
export function defineEnsurer(
  kind: string, intervalMs: number, ensure: (isHint: boolean) => Promise<void>,
): ActorDefinition<{ servedUpTo: number }, EnsureMessage> {
  return {
    kind,
    mailboxMax: 10_000,
    init(context) {
      context.every(intervalMs, { type: 'ensure', ticket: Number.POSITIVE_INFINITY });
      return { servedUpTo: 0 };
    },
    async handle(state, message, context) {
      if (message.ticket > state.servedUpTo) {
        const upTo = tickets;
        try {
          await ensure(message.isHint === true);
          state.servedUpTo = upTo;
        } catch (error) {
          context.log.error({ err: error }, `${kind} could not be ensured`);
          message.replyTo?.fail(error);
          return;
        }
      }
      message.replyTo?.answer(null);
    },
    onError: () => 'resume',
  };
}

const ensureTimeoutMs = 25_000;

/** Resolves when a run that began after this call is done. */
export function ensured({ system }: { readonly system: ActorSystem }, ref: Ref<EnsureMessage>): Promise<null> {
  const ticket = nextTicket();
  return system.ask<EnsureMessage, null>(ref, (replyTo) => ({ type: 'ensure', ticket, replyTo }), { timeoutMs: ensureTimeoutMs });
}
