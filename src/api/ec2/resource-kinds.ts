// What a resource id is by its prefix, and what AWS says when there is none such.
import { ApiError } from '../../lib/errors.ts';
import { doesNotExist } from './describe.ts';
import type { ErrorCode } from './errors.ts';

export interface ResourceKind {
  /** As AWS names the type in tags. */
  readonly type: string;
  readonly notFound: ErrorCode;
  readonly malformed: ErrorCode;
  readonly message: (missing: readonly string[]) => string;
}

const imageKind: ResourceKind = {
  type: 'image', notFound: 'InvalidAMIID.NotFound', malformed: 'InvalidAMIID.Malformed', message: (ids) => `The image id '[${ids.join(', ')}]' does not exist`,
};

const kinds: Readonly<Record<string, ResourceKind>> = {
  i: { type: 'instance', notFound: 'InvalidInstanceID.NotFound', malformed: 'InvalidInstanceID.Malformed', message: doesNotExist('instance ID') },
  ami: imageKind,
  aki: imageKind,
  ari: imageKind,
  sg: { type: 'security-group', notFound: 'InvalidGroup.NotFound', malformed: 'InvalidGroupId.Malformed', message: doesNotExist('security group') },
  key: { type: 'key-pair', notFound: 'InvalidKeyPair.NotFound', malformed: 'InvalidKeyPair.NotFound', message: doesNotExist('key pair') },
  vol: { type: 'volume', notFound: 'InvalidVolume.NotFound', malformed: 'InvalidVolumeID.Malformed', message: doesNotExist('volume') },
  snap: { type: 'snapshot', notFound: 'InvalidSnapshot.NotFound', malformed: 'InvalidSnapshotID.Malformed', message: doesNotExist('snapshot') },
};

/** Throws InvalidID for a prefix that no resource of ours has. */
export function resourceKind(id: string): ResourceKind {
  const prefix = /^([a-z]+)-/.exec(id)?.[1] ?? '';
  const kind = Object.hasOwn(kinds, prefix) ? kinds[prefix] : undefined;
  if (kind === undefined) throw new ApiError('InvalidID', `The ID '${id.slice(0, 60)}' is not valid`);
  return kind;
}
