// What the schedulers are told. Their mailbox is shared: one of them takes each message.
import { z } from 'zod';
import { operationEnded } from './operation-ended.ts';
import { protocol } from './protocol.ts';

export const schedulerProtocol = protocol('scheduler', {
  placeInstance: {
    doc: 'An instance waits for a host. The claim of cores, memory and disk is one transaction guarded by the instance being without a '
      + 'host, so that repeating it is harmless.',
    body: z.object({ instanceId: z.string(), operationId: z.string() }),
  },
  placeVolume: {
    doc: 'A volume waits for a host that keeps it. The claim of its room is one statement, in a transaction guarded by the volume being without '
      + 'a host, so that repeating it is harmless.',
    body: z.object({ volumeId: z.string(), operationId: z.string() }),
  },
  performOperation: {
    doc: 'A host is to be drained or evacuated. Its operation is looked at and brought a step further; repeating that is harmless.',
    body: z.object({ hostName: z.string(), operationId: z.string() }),
  },
  operationEnded,
});
