// The one message of every role whose actors may be named in an operation's `replyTo`.
import { z } from 'zod';

/** The entry `operationEnded` of every role whose actors may be named in an operation's `replyTo`. */
export const operationEnded = {
  doc: 'An operation ended that was written with a reply address: the actor of that name goes on with what waited for it. Comes again after a '
    + 'crash; the state of an ended operation does not change.',
  body: z.object({ actor: z.string(), operationId: z.string(), state: z.enum(['done', 'failed']) }),
};
