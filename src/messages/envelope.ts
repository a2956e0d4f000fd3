// What crosses between hosts around a body. Version 1; an unknown major version goes to the dead letters with its reason.
import { z } from 'zod';

export const envelopeVersion = 1;

export const envelopeSchema = z.object({
  v: z.literal(envelopeVersion),
  /** Fixed once, by the sender: the receiver recognises a repetition by it. */
  id: z.string(),
  /** `<role>.<verb>`, or `reply`. */
  type: z.string(),
  /** `<role>@<host>`, `<role>` for a shared mailbox. */
  to: z.string(),
  from: z.string(),
  /** Where the answer goes: the sender's reply mailbox and its reply-actor. */
  replyTo: z.object({ mailbox: z.string(), actor: z.string() }).optional(),
  /** For a reply: the id of what it answers. */
  correlation: z.string().optional(),
  /** Milliseconds since the epoch; past it the message is not executed. */
  deadline: z.number().optional(),
  /** The client's request id, through every role and every log line. */
  requestId: z.string().optional(),
  /** W3C traceparent. */
  trace: z.string().optional(),
  body: z.unknown(),
});

export type Envelope = z.output<typeof envelopeSchema>;
