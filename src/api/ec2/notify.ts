// What an action says to others beside its transaction. Work for owners is told by the outbox, in the transaction itself; only hints are sent
// from here, and only the bound on what waits is looked at.
import { messageOf } from '../../lib/errors.ts';
import { fail, type Call } from './action.ts';
import { overloaded } from './errors.ts';

/** Before anything is written that the mailbox's owner is to do: refused while what waits for it is at its bound. */
export function admitWork(call: Pick<Call, 'relay'>, mailbox: string): void {
  if (!call.relay.accepts(mailbox)) fail(overloaded.code, overloaded.message);
}

/** Sends a hint, and never throws: whoever it was for finds the truth in the database by himself. */
export async function sendHint(call: Pick<Call, 'log' | 'requestId'>, send: () => Promise<unknown>): Promise<void> {
  try {
    await send();
  } catch (error) {
    call.log.warn({ requestId: call.requestId, error: messageOf(error) }, 'a hint could not be sent');
  }
}
