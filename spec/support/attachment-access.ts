// What both sides of an attachment derive, for clouds without a key.
import type { AttachmentAccess } from '../../src/actors/compute/host.ts';
import { initiatorName } from '../../src/lib/ids.ts';
import { Secret } from '../../src/lib/secret.ts';

export const specAccess: AttachmentAccess = { initiatorName, secretOf: (attachmentId) => new Secret(`secret of ${attachmentId}`) };
