// AWS's rules for what a client says of volumes: size, type, zone, device; and the ids of volumes and snapshots.
import { zoneHasVolumeHosts, findVolume, type FullVolume, type OverQuota } from '../../db/volumes.ts';
import { zoneHasHosts } from '../../db/reservations.ts';
import { findVisibleSnapshot } from '../../db/snapshots.ts';
import type { Snapshot } from '../../db/snapshot-work.ts';
import { fail, type Call } from './action.ts';
import { checkForm, doesNotExist, idForm } from './describe.ts';

export const volumeForm = { pattern: idForm('vol'), code: 'InvalidVolumeID.Malformed' } as const;
export const snapshotForm = { pattern: idForm('snap'), code: 'InvalidSnapshotID.Malformed' } as const;

export const volumeNotFound = { code: 'InvalidVolume.NotFound', message: doesNotExist('volume') } as const;
export const snapshotNotFound = { code: 'InvalidSnapshot.NotFound', message: doesNotExist('snapshot') } as const;

export const failNoVolume = (id: string): never => fail(volumeNotFound.code, volumeNotFound.message([id]));
export const failNoSnapshot = (id: string): never => fail(snapshotNotFound.code, snapshotNotFound.message([id]));

/** Zeros, copies and deletions of hundreds of gigabytes are done in this time. */
export const volumeTimeoutMs = 60 * 60_000;

export function volumeIdOf(id: string | undefined): string {
  if (id === undefined || id === '') return fail('MissingParameter', 'The request must contain the parameter VolumeId');
  checkForm(id, volumeForm);
  return id;
}

export function snapshotIdOf(id: string | undefined): string {
  if (id === undefined || id === '') return fail('MissingParameter', 'The request must contain the parameter SnapshotId');
  checkForm(id, snapshotForm);
  return id;
}

export async function ownVolume(call: Call, given: string | undefined): Promise<FullVolume> {
  const id = volumeIdOf(given);
  return (await findVolume(call.db, call.principal.projectId, id)) ?? failNoVolume(id);
}

/** One that volumes can be made of. */
export async function completedSnapshot(call: Call, id: string): Promise<Snapshot> {
  checkForm(id, snapshotForm);
  const snapshot = (await findVisibleSnapshot(call.db, call.principal.projectId, id)) ?? failNoSnapshot(id);
  if (snapshot.state !== 'completed') fail('IncorrectState', `Snapshot is in invalid state - ${snapshot.state}`);
  return snapshot;
}

const types: ReadonlySet<string> = new Set(['standard', 'gp2', 'gp3', 'io1', 'io2', 'st1', 'sc1']);
const typeDefault = 'gp2';
const sizeGiBMax = 65_536;

export function checkType(type: string | undefined): string {
  if (type === undefined || type === '') return typeDefault;
  if (!types.has(type)) fail('UnknownVolumeType', `Unsupported volume type '${type.slice(0, 60)}' for volume creation.`);
  return type;
}

/** Whole, and not less than what it is made from. */
export function checkSize(sizeGiB: number, snapshot: Pick<Snapshot, 'id' | 'sizeGiB'> | undefined): number {
  if (!Number.isInteger(sizeGiB) || sizeGiB < 1) {
    fail('InvalidParameterValue', `Invalid value '${sizeGiB}' for VolumeSize. The volume size is invalid: it must be at least 1 GiB.`);
  }
  if (sizeGiB > sizeGiBMax) fail('InvalidParameterValue', `Volume of ${sizeGiB}GiB is too large; maximum is ${sizeGiBMax}GiB.`);
  if (snapshot !== undefined && sizeGiB < snapshot.sizeGiB) {
    fail('InvalidParameterValue', `Volume of size ${sizeGiB}GB is smaller than snapshot '${snapshot.id}', expect size >= ${snapshot.sizeGiB}GB`);
  }
  return sizeGiB;
}

export async function checkZone(call: Call, zone: string | undefined): Promise<string> {
  if (zone === undefined || zone === '') return fail('MissingParameter', 'The request must contain the parameter AvailabilityZone');
  if (zone === call.zone || (await zoneHasVolumeHosts(call.db, zone)) || (await zoneHasHosts(call.db, zone))) return zone;
  return fail('InvalidZone.NotFound', `The zone '${zone.slice(0, 60)}' does not exist.`);
}

/** `/dev/sdf`, `/dev/xvdf`, `/dev/vdb`, with or without `/dev/`. */
export function checkDevice(device: string | undefined, code: 'InvalidParameterValue' | 'InvalidBlockDeviceMapping' = 'InvalidParameterValue'): string {
  if (device === undefined || device === '') return fail('MissingParameter', 'The request must contain the parameter Device');
  if (!/^(\/dev\/)?(sd|hd|vd|xvd)[a-z]{1,2}[0-9]{0,2}$/.test(device)) {
    fail(code, `Value (${device.slice(0, 60)}) for parameter device is invalid. ${device.slice(0, 60)} is not a valid EBS device name.`);
  }
  return device.startsWith('/dev/') ? device : `/dev/${device}`;
}

export function failOverQuota({ of, limit }: OverQuota): never {
  return of === 'volumes'
    ? fail('VolumeLimitExceeded', `You have exceeded your maximum volume limit of ${limit} volumes.`)
    : fail('VolumeLimitExceeded', `You have exceeded your maximum gigabyte limit of ${limit} GiB.`);
}

export const quotaOf = (call: Call) => ({ volumes: call.volumesPerProjectMax, gigabytes: call.gigabytesPerProjectMax });

export function refuseEncryption(given: { readonly Encrypted?: boolean | undefined; readonly KmsKeyId?: string | undefined }): void {
  if (given.Encrypted !== true && (given.KmsKeyId ?? '') === '') return;
  fail('UnsupportedOperation', 'Encrypted volumes are not supported: encrypt in the guest, or the disks of the hosts.');
}
