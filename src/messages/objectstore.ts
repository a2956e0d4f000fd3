// What the objectstore is told.
import { z } from 'zod';
import { protocol } from './protocol.ts';

export const objectstoreProtocol = protocol('objectstore', {
  performOperation: {
    doc: 'An operation on an image (register, unbundle, copy, import, deregister) waits in the database. Saying it twice, or never, changes nothing.',
    body: z.object({ imageId: z.string(), operationId: z.string() }),
  },
  describeBundle: {
    doc: 'What the manifest of a bundle says of the image in it, or `refused`: why it is none. Only reads. Whoever asks has seen to it that the '
      + 'client may read that object.',
    body: z.object({ bucket: z.string(), key: z.string() }),
    reply: z.object({
      refused: z.string().nullable(),
      bundle: z.object({
        type: z.enum(['machine', 'kernel', 'ramdisk']), architecture: z.string(), kernelId: z.string().nullable(), ramdiskId: z.string().nullable(),
      }).nullable(),
    }),
  },
});
