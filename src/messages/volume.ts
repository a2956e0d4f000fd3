// What a volume host is told and asked.
import { z } from 'zod';
import { protocol } from './protocol.ts';

/** How a volume is reached, without secrets: what the drivers call a `Connection`. */
export const wireConnection = z.discriminatedUnion('protocol', [
  z.object({ protocol: z.literal('file'), path: z.string() }),
  z.object({ protocol: z.literal('block'), path: z.string() }),
  z.object({ protocol: z.literal('iscsi'), address: z.string(), port: z.number(), target: z.string(), lun: z.number(), user: z.string() }),
  z.object({ protocol: z.literal('nbd'), address: z.string(), port: z.number(), exportName: z.string() }),
  z.object({ protocol: z.literal('aoe'), shelf: z.number(), slot: z.number() }),
]);
export type WireConnection = z.output<typeof wireConnection>;

export const volumeProtocol = protocol('volume', {
  performOperation: {
    doc: 'An operation on a volume or a snapshot of this host waits in the database. Saying it twice, or never, changes nothing.',
    body: z.object({ resourceId: z.string(), operationId: z.string() }),
  },
  settleExports: {
    doc: 'Make the exports of a volume what the database says: served to the hosts of the instance that it is attached to, to nobody else, or not '
      + 'at all. Answers with the connection, null when there is none. Idempotent: ensures a state that follows from the database.',
    body: z.object({ volumeId: z.string() }),
    reply: z.object({ attachmentId: z.string().nullable(), connection: wireConnection.nullable() }),
  },
});
