// What the objectstore is told.
import { z } from 'zod';
import { protocol } from './protocol.ts';

export const objectstoreProtocol = protocol('objectstore', {
  performOperation: {
    doc: 'An operation on an image (register, deregister) waits in the database. Saying it twice, or never, changes nothing.',
    body: z.object({ imageId: z.string(), operationId: z.string() }),
  },
});
