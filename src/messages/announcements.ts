// How an owner is told of its work and an asker of its end: the envelopes that the database keeps in its outbox, built where the rows are
// written, so that nobody who changes a row can forget to say so. One table: who owns what kind of thing, and the message for it.
import { randomUUID } from 'node:crypto';
import { computeProtocol } from './compute.ts';
import { encodeEnvelope, envelopeVersion, traceOf } from './envelope.ts';
import { networkProtocol } from './network.ts';
import { objectstoreProtocol } from './objectstore.ts';
import { operationEnded } from './operation-ended.ts';
import type { BodyOf, MessageTable, Protocol, TellVerb } from './protocol.ts';
import { schedulerProtocol } from './scheduler.ts';
import { volumeProtocol } from './volume.ts';

/** An envelope on its way into the outbox. */
export interface SealedEnvelope {
  readonly id: string;
  /** `scheduler`, `compute@h1`. */
  readonly mailbox: string;
  /** The encoded envelope. */
  readonly envelope: string;
}

/** What is told of an operation. */
export interface AnnouncedWork {
  readonly id: string;
  /** `instance.run`: the word before the dot is the kind of thing. */
  readonly kind: string;
  readonly resourceId: string;
  readonly requestId: string;
  /** `compute@host1`, `scheduler`. */
  readonly owner: string;
}

interface Message {
  readonly type: string;
  readonly body: unknown;
}

/** The compiler sees to it that the body is the verb's. */
function tell<Table extends MessageTable, Verb extends TellVerb<Table>>(protocol: Protocol<Table>, verb: Verb, body: BodyOf<Table[Verb]>): Message {
  return { type: `${protocol.role}.${verb}`, body };
}

/** `<role> <kind of thing>` → what the role is told. */
const messages: Readonly<Record<string, (work: AnnouncedWork) => Message>> = {
  'scheduler instance': ({ id, resourceId }) => tell(schedulerProtocol, 'placeInstance', { instanceId: resourceId, operationId: id }),
  'scheduler volume': ({ id, resourceId }) => tell(schedulerProtocol, 'placeVolume', { volumeId: resourceId, operationId: id }),
  'scheduler host': ({ id, resourceId }) => tell(schedulerProtocol, 'performOperation', { hostName: resourceId, operationId: id }),
  'compute instance': ({ id, resourceId }) => tell(computeProtocol, 'performOperation', { instanceId: resourceId, operationId: id }),
  'volume volume': ({ id, resourceId }) => tell(volumeProtocol, 'performOperation', { resourceId, operationId: id }),
  'volume snapshot': ({ id, resourceId }) => tell(volumeProtocol, 'performOperation', { resourceId, operationId: id }),
  'objectstore image': ({ id, resourceId }) => tell(objectstoreProtocol, 'performOperation', { imageId: resourceId, operationId: id }),
};

/** Tells the owner of an operation that it waits. An owner that no message reaches is a mistake of the caller. */
export function announceWork(work: AnnouncedWork): SealedEnvelope {
  const key = `${work.owner.split('@')[0] ?? ''} ${work.kind.split('.')[0] ?? ''}`;
  const message = Object.hasOwn(messages, key) ? messages[key] : undefined;
  if (message === undefined) throw new Error(`nobody knows how to tell ${work.owner} of ${work.kind}: see src/messages/announcements.ts`);
  return seal(work.owner, message(work), { orderKey: work.resourceId, requestId: work.requestId });
}

/** Tells the network role of a host that what it makes real has changed in the database: its rules, and the addresses that lead to its guests. */
export function announceRules(host: string, requestId: string): SealedEnvelope {
  return seal(`network@${host}`, tell(networkProtocol, 'refreshFirewall', { groupIds: [] }), { orderKey: host, requestId });
}

/** Tells the durable reply-actor of an operation how it ended. */
export function announceEnd(
  ended: { readonly id: string; readonly requestId: string; readonly state: 'done' | 'failed' }, replyTo: { readonly mailbox: string; readonly actor: string },
): SealedEnvelope {
  const body = operationEnded.body.parse({ actor: replyTo.actor, operationId: ended.id, state: ended.state });
  const type = `${replyTo.mailbox.split('@')[0] ?? ''}.operationEnded`;
  return seal(replyTo.mailbox, { type, body }, { orderKey: replyTo.actor, requestId: ended.requestId });
}

function seal(mailbox: string, message: Message, more: { orderKey: string; requestId: string }): SealedEnvelope {
  const id = randomUUID();
  const trace = traceOf(id, more.requestId);
  return { id, mailbox, envelope: encodeEnvelope({ v: envelopeVersion, id, to: mailbox, from: 'outbox', trace, ...message, ...more }) };
}
