// What crosses between hosts around a body. Version 1; an unknown major version goes to the dead letters with its reason.
// Envelopes are JSON text; spec/golden/messages keeps texts of every released version, which must decode for ever.
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
  /** Messages of one mailbox with the same key are handled in order. */
  orderKey: z.string().optional(),
  /** The client's request id, through every role and every log line. */
  requestId: z.string().optional(),
  /** W3C traceparent: the trace is the client's request on every host, the span this message. A reply has that of what it answers. */
  trace: z.string().optional(),
  body: z.unknown(),
});

export type Envelope = z.output<typeof envelopeSchema>;

export const replyType = 'reply';

/** The body of a reply: the answer, or why there is none. */
export const replyBodySchema = z.discriminatedUnion('ok', [
  z.object({ ok: z.literal(true), value: z.unknown() }),
  z.object({
    ok: z.literal(false),
    kind: z.enum(['remote', 'expired', 'invalid']),
    /** What the receiver threw. */
    error: z.object({ name: z.string(), code: z.string().optional(), message: z.string() }),
  }),
]);

export type ReplyBody = z.output<typeof replyBodySchema>;

const hexOf = (uuid: string): string => uuid.replaceAll('-', '');
const isTraceId = /^(?!0{32})[0-9a-f]{32}$/;

/** The traceparent of a message with that id (a UUID): within the request, if its id is a UUID, and else at the head of a trace of its own. */
export function traceOf(id: string, requestId: string | undefined): string {
  const own = hexOf(id);
  const request = hexOf(requestId ?? '');
  return `00-${isTraceId.test(request) ? request : own}-${own.slice(-16)}-01`;
}

export const encodeEnvelope = (envelope: Envelope): string => JSON.stringify(envelope);

/** What can be told of a text that is no envelope of ours. */
export interface Undecodable {
  readonly reason: 'invalid' | 'unknownVersion';
  readonly error: string;
  readonly id: string;
  readonly type: string;
}

export type Decoded = { readonly envelope: Envelope } | { readonly undecodable: Undecodable };

const glimpseSchema = z.object({ v: z.unknown(), id: z.string().catch(''), type: z.string().catch('') });

/** Never throws. Unknown fields are ignored: a newer sender of this version may add some. */
export function decodeEnvelope(text: string): Decoded {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { undecodable: { reason: 'invalid', error: 'not JSON', id: '', type: '' } };
  }
  const known = knownEnvelope(json);
  if (known !== undefined) return { envelope: known };
  const envelope = envelopeSchema.safeParse(json);
  if (envelope.success) return { envelope: envelope.data };
  const glimpse = glimpseSchema.safeParse(json);
  const { v, id, type } = glimpse.success ? glimpse.data : { v: undefined, id: '', type: '' };
  if (typeof v === 'number' && v !== envelopeVersion) {
    return { undecodable: { reason: 'unknownVersion', error: `version ${v}, this is version ${envelopeVersion}`, id, type } };
  }
  return { undecodable: { reason: 'invalid', error: z.prettifyError(envelope.error), id, type } };
}

const optionalTexts = ['correlation', 'orderKey', 'requestId', 'trace'] as const;

/**
 * What envelopeSchema would make of it, by hand, since every message and every answer comes this way. Undefined for all that is not plainly an
 * envelope of this version: then the schema says what it is, and what is wrong with it.
 */
function knownEnvelope(json: unknown): Envelope | undefined {
  if (typeof json !== 'object' || json === null || !('body' in json)) return undefined;
  const { v, id, type, to, from, replyTo, deadline, body } = json as Readonly<Record<string, unknown>>;
  if (v !== envelopeVersion || typeof id !== 'string' || typeof type !== 'string' || typeof to !== 'string' || typeof from !== 'string') return undefined;
  const envelope: Envelope = { v, id, type, to, from, body };
  if (replyTo !== undefined) {
    if (typeof replyTo !== 'object' || replyTo === null) return undefined;
    const { mailbox, actor } = replyTo as Readonly<Record<string, unknown>>;
    if (typeof mailbox !== 'string' || typeof actor !== 'string') return undefined;
    envelope.replyTo = { mailbox, actor };
  }
  if (deadline !== undefined) {
    if (typeof deadline !== 'number' || !Number.isFinite(deadline)) return undefined;
    envelope.deadline = deadline;
  }
  for (const name of optionalTexts) {
    const text = (json as Readonly<Record<string, unknown>>)[name];
    if (text === undefined) continue;
    if (typeof text !== 'string') return undefined;
    envelope[name] = text;
  }
  return envelope;
}
