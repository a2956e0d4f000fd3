// What a compute host is told and asked.
import { z } from 'zod';
import { protocol } from './protocol.ts';

export const computeProtocol = protocol('compute', {
  performOperation: {
    doc: 'An operation on an instance waits in the database for this host. The instance actor loads its unfinished operations and '
      + 'performs them in order; saying it twice, or never, changes nothing.',
    body: z.object({ instanceId: z.string(), operationId: z.string() }),
  },
  readConsole: {
    doc: 'The last 64 KiB of what the guest wrote to its serial console, base64. Reads only.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({ output: z.string(), timestamp: z.string() }),
  },
});
