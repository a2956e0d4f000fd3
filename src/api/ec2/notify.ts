// What an action says to owners after its transaction. The database holds the truth and owners sweep it, so a message that cannot be
// sent is logged and is no error of the client's.
import { messageOf } from '../../lib/errors.ts';
import type { Call } from './action.ts';

/** Sends, and never throws. */
export async function notifyAfterCommit(call: Pick<Call, 'log' | 'requestId'>, send: () => Promise<unknown>): Promise<void> {
  try {
    await send();
  } catch (error) {
    call.log.warn({ requestId: call.requestId, error: messageOf(error) }, 'an owner could not be told and will find the work itself');
  }
}
