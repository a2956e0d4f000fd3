// By what a compute host connects to a volume, the same on both sides: derived, so that no secret is ever sent.
import { hkdfSync } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { AttachmentAccess } from '../actors/compute/host.ts';
import { initiatorName } from '../lib/ids.ts';
import { Secret } from '../lib/secret.ts';
import type { Foundation } from './foundation.ts';

/** Of the cloud's key, which every host has. */
export async function attachmentAccess({ paths }: Pick<Foundation, 'paths'>): Promise<AttachmentAccess> {
  const key = await readFile(paths.masterKey);
  return {
    initiatorName,
    // Sixteen characters: the most that every iSCSI initiator takes.
    secretOf: (attachmentId) => new Secret(Buffer.from(hkdfSync('sha256', key, '', `volume attachment ${attachmentId}`, 12)).toString('base64url')),
  };
}
