// What requests for images have in common: AWS's rules for names and descriptions, and the row that they begin with.
import type { ImageRow } from '../../db/images.ts';
import { newId } from '../../lib/ids.ts';
import { fail, type Call } from './action.ts';

/** What clients say of an image is not in it. */
export type EmptyRow = Omit<ImageRow,
  'name' | 'location' | 'description' | 'architecture' | 'rootDeviceName' | 'virtualizationType' | 'kernelId' | 'ramdiskId'>;

/** For whoever asks, or an operator asks for. */
export type Asked = Pick<Call, 'clock'> & { readonly principal: Pick<Call['principal'], 'projectId'> };

export function emptyRow(call: Asked, type: ImageRow['type']): EmptyRow {
  const now = call.clock.date();
  return {
    id: newId(type === 'machine' ? 'ami' : type === 'kernel' ? 'aki' : 'ari'),
    projectId: call.principal.projectId,
    type,
    state: 'pending',
    stateReasonCode: null,
    stateReason: null,
    isPublic: false,
    format: null,
    sizeBytes: null,
    virtualSizeBytes: null,
    sha256: null,
    blobId: null,
    devices: [],
    sourceImageId: null,
    clientToken: null,
    requestDigest: '',
    createdAt: now,
    stateChangedAt: now,
  };
}

export function checkName(name: string): string {
  if (name.length < 3 || name.length > 128 || !/^[\w ()[\]./'@-]+$/.test(name)) {
    fail('InvalidAMIName.Malformed',
      "AMI names must be between 3 and 128 characters long, and may contain letters, numbers, spaces, '(', ')', '[', ']', '.', '-', '/', ''', '@' and '_'");
  }
  return name;
}

export function checkDescription(description = ''): string {
  if (description.length > 255) fail('InvalidParameterValue', 'Value for parameter description is invalid. Length exceeds maximum of 255.');
  return description;
}
