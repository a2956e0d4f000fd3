// What a compute host is told and asked.
import { z } from 'zod';
import { protocol } from './protocol.ts';

export const computeProtocol = protocol('compute', {
  performOperation: {
    doc: 'An operation on an instance waits in the database for this host. The instance actor loads its unfinished operations and '
      + 'performs them in order; saying it twice, or never, changes nothing.',
    body: z.object({ instanceId: z.string(), operationId: z.string() }),
  },
  volumeGrew: {
    doc: 'A volume that an instance of this host has is larger now: the guest is shown its size. Idempotent; nothing to do for one that does not run.',
    body: z.object({ instanceId: z.string(), volumeId: z.string(), sizeGiB: z.number() }),
    reply: z.object({}),
  },
  copyVolume: {
    doc: 'What a volume that this host has, and that an instance here has in place, holds at one moment, as a raw file among the drafts beside it. Not '
      + 'copied: no guest runs that has it. Repeating it replaces the file.',
    body: z.object({ instanceId: z.string(), volumeId: z.string(), path: z.string() }),
    reply: z.object({ copied: z.boolean() }),
  },
  readConsole: {
    doc: 'The last 64 KiB of what the guest wrote to its serial console, base64. Reads only.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({ output: z.string(), timestamp: z.string() }),
  },
  prepareIncoming: {
    doc: 'An instance is on its way to this host: images, its folder and, for one that goes on running, an empty overlay. Idempotent for '
      + 'one move; what an earlier move left is removed first.',
    body: z.object({ instanceId: z.string(), operationId: z.string(), from: z.string().nullable(), live: z.boolean() }),
    reply: z.object({
      address: z.string(), migrationUri: z.string(), directory: z.string(), images: z.string(), hypervisor: z.string(), bootsKernels: z.boolean(),
      /** Why running guests cannot come here; null when they can. */
      liveMigrationNotice: z.string().nullable(),
    }),
  },
  receiveIncoming: {
    doc: 'Fetch the disk of an instance that lies still on the host it comes from. Idempotent: a disk that has arrived by this move stays.',
    body: z.object({ instanceId: z.string(), operationId: z.string(), from: z.string() }),
    reply: z.object({}),
  },
  forgetIncoming: {
    doc: 'The instance does not come after all: nothing of it remains here. Refused for one that lives or runs here. Idempotent.',
    body: z.object({ instanceId: z.string(), operationId: z.string() }),
    reply: z.object({}),
  },
  incomingState: {
    doc: 'Is there a domain of this instance, and does it run? Reads only.',
    body: z.object({ instanceId: z.string() }),
    reply: z.object({ state: z.enum(['running', 'paused', 'shutoff', 'crashed', 'absent']) }),
  },
});
