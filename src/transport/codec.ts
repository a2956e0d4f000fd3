// What every transport does to bodies: encode, decode and check them on both sides, so that nothing crosses that would
// not cross a network, and the words in which a receiver's error travels.
import { z } from 'zod';
import { decodeEnvelope, replyType, type Envelope, type ReplyBody } from '../messages/envelope.ts';
import { entryOf, type MessageEntry, type MessageTable, type Protocol } from '../messages/protocol.ts';
import { messageOf } from '../lib/errors.ts';
import { TransportError } from './transport.ts';

/** The key that a body brings along: its `instanceId` or `imageId`. By hand: every message comes this way, and most schemas would fail. */
export function orderKeyOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  const { instanceId, imageId } = body as { readonly instanceId?: unknown; readonly imageId?: unknown };
  if (typeof instanceId === 'string') return instanceId;
  return typeof imageId === 'string' ? imageId : undefined;
}

/** The value as it will look on the other side, checked by the schema there. Throws TransportError `invalid`. */
export function throughJson(value: unknown, schema: z.ZodType, what: string): unknown {
  let json: unknown;
  try {
    const text = JSON.stringify(value);
    json = text === undefined ? undefined : JSON.parse(text);
  } catch (error) {
    throw new TransportError('invalid', `${what} cannot be encoded: ${messageOf(error)}`);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new TransportError('invalid', `${what}: ${z.prettifyError(parsed.error)}`);
  return json;
}

/** The entry for a verb of a sender. Throws TransportError `invalid`. */
export function entryFor(protocol: Protocol, verb: string): MessageEntry {
  const entry = entryOf(protocol.table, verb);
  if (entry === undefined) throw new TransportError('invalid', `${protocol.role} knows no ${verb}`);
  return entry;
}

/** The verb of a received envelope, if it is one of the table. */
export function verbOf(envelope: Envelope, role: string, table: MessageTable): string | undefined {
  const verb = envelope.type.startsWith(`${role}.`) ? envelope.type.slice(role.length + 1) : '';
  return entryOf(table, verb) === undefined ? undefined : verb;
}

/** Failures that repetition does not mend: an asker is told them at once. By name, since not all of them may be imported here. */
const expectedNames = new Set(['ApiError', 'DriverError', 'TransportError', 'ActorError', 'SetupError']);

/** Not of that kind: the closing of the receiver's own transport, after which another receiver can do the work. */
export function isExpected(error: unknown): boolean {
  if (error instanceof TransportError && error.kind === 'closed') return false;
  return error instanceof Error && expectedNames.has(error.name);
}

const codeSchema = z.union([
  z.object({ code: z.string() }).transform((error) => error.code),
  z.object({ kind: z.string() }).transform((error) => error.kind),
]);

/** A receiver's error as it travels: name, code (or kind) and message; never its stack or output. */
export function failureOf(kind: 'remote' | 'expired' | 'invalid', error: unknown): ReplyBody {
  const code = codeOf(error);
  const name = error instanceof Error ? error.name : 'Error';
  return { ok: false, kind, error: { name, ...(code === undefined ? {} : { code }), message: messageOf(error) } };
}

/** Its own, or that of what caused it. */
function codeOf(error: unknown): string | undefined {
  for (let current = error, depth = 0; current !== undefined && depth < 5; depth += 1) {
    const code = codeSchema.safeParse(current);
    if (code.success) return code.data;
    current = current instanceof Error ? current.cause : undefined;
  }
  return undefined;
}

/** The error an asker sees for a failure. */
export function errorOf(failure: Extract<ReplyBody, { ok: false }>): TransportError {
  const { name, code, message } = failure.error;
  return new TransportError(failure.kind, message, { name, message, ...(code === undefined ? {} : { code }) });
}

/** A dead letter as a new message: nobody waits for its answer any more, and its time is not over. Undefined: it is no envelope of ours. */
export function revivedEnvelope(text: string): Envelope | undefined {
  const decoded = decodeEnvelope(text);
  if ('undecodable' in decoded) return undefined;
  const { replyTo: _nobody, deadline: _over, ...kept } = decoded.envelope;
  return kept;
}

/** The reply to an ask; undefined for a message that wants none. */
export function replyTo(envelope: Envelope, reply: { id: string; from: string; body: ReplyBody }): Envelope | undefined {
  if (envelope.replyTo === undefined) return undefined;
  return {
    v: envelope.v,
    type: replyType,
    to: envelope.replyTo.mailbox,
    correlation: envelope.id,
    ...(envelope.requestId === undefined ? {} : { requestId: envelope.requestId }),
    ...(envelope.trace === undefined ? {} : { trace: envelope.trace }),
    ...reply,
  };
}
