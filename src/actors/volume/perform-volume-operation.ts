// Performs an operation on a volume or a snapshot of this host, and settles the row when it fails: another host, or a lasting state with its reason.
import { loadSnapshot, failSnapshot } from '../../db/snapshot-work.ts';
import { failGrowing, loadVolume, settleVolume, type Volume, type VolumeOperationKind } from '../../db/volume-work.ts';
import { leaveVolumeHost } from '../../db/volume-hosts.ts';
import { finishOperation, restartOperation, type Operation } from '../../db/operations.ts';
import type { Flow } from '../../lib/flow.ts';
import { performOperation, type Ending } from '../operations/perform-operation.ts';
import { createVolume } from './flows/create-volume.ts';
import { deleteVolume } from './flows/delete-volume.ts';
import { modifyVolume } from './flows/modify-volume.ts';
import { releaseVolume } from './flows/release-volume.ts';
import { deleteSnapshot, snapshotVolume } from './flows/snapshots.ts';
import type { VolumeContext } from './flows/volume-context.ts';
import type { VolumeHost } from './host.ts';

export const volumeFlows: Readonly<Record<VolumeOperationKind, Flow<VolumeContext>>> = {
  'volume.create': createVolume,
  'volume.delete': deleteVolume,
  'volume.release': releaseVolume,
  'volume.modify': modifyVolume,
  'volume.snapshot': snapshotVolume,
};

export interface PerformDeps {
  readonly host: VolumeHost;
  readonly settle: (volumeId: string) => Promise<unknown>;
}

export async function performVolumeOperation(deps: PerformDeps, operation: Operation, signal: AbortSignal): Promise<Ending> {
  const { host } = deps;
  if (operation.kind === 'snapshot.delete') return performOnSnapshot(host, operation, signal);
  const volume = await loadVolume(host.db, operation.resourceId);
  const flow = volumeFlows[operation.kind as VolumeOperationKind];
  if (volume === undefined || flow === undefined || volume.host !== host.name) return refuse(host, operation, 'the volume is not on this host');
  return performOperation({
    db: host.db, clock: host.clock, log: host.log, owner: host.owner, relay: host.relay, operation, flow, signal,
    context: { host, volume, requestId: operation.requestId, input: operation.input, settle: deps.settle },
    onFailed: (error) => afterFailure(host, volume, operation, error),
  });
}

async function performOnSnapshot(host: VolumeHost, operation: Operation, signal: AbortSignal): Promise<Ending> {
  const snapshot = await loadSnapshot(host.db, operation.resourceId);
  if (snapshot?.host !== host.name) return refuse(host, operation, 'the snapshot is not on this host');
  return performOperation({
    db: host.db, clock: host.clock, log: host.log, owner: host.owner, relay: host.relay, operation, flow: deleteSnapshot, signal,
    context: { host, snapshot },
    async onFailed(error) {
      await failSnapshot(host.db, snapshot.id, error);
      return false;
    },
  });
}

async function refuse(host: VolumeHost, operation: Operation, error: string): Promise<Ending> {
  await finishOperation(host.db, operation.id, { state: 'failed', error }, host.clock.date());
  return 'failed';
}

/** True: the operation goes on, here or elsewhere. */
async function afterFailure(host: VolumeHost, volume: Volume, operation: Operation, error: string): Promise<boolean> {
  const now = host.clock.date();
  switch (operation.kind as VolumeOperationKind) {
    case 'volume.create':
      return afterFailedCreation(host, volume, operation, error);
    case 'volume.delete':
      await settleVolume(host.db, volume, ['deleting'], { state: 'error', reason: `it could not be deleted: ${error}` }, now);
      return false;
    case 'volume.release':
      return afterFailedRelease(host, operation, error);
    case 'volume.modify':
      await failGrowing(host.db, volume.id, error, now);
      return false;
    case 'volume.snapshot':
      await failSnapshot(host.db, String(operation.input['snapshotId']), error);
      return false;
  }
}

/** Another host is tried; one of a snapshot has no other. */
async function afterFailedCreation(host: VolumeHost, volume: Volume, operation: Operation, error: string): Promise<boolean> {
  const now = host.clock.date();
  const mayMove = volume.contentId === null && volume.placements < host.limits.placementsMax && now.getTime() < operation.deadline.getTime();
  if (mayMove && (await leaveVolumeHost(host.db, { volume, operationId: operation.id, error }, now))) {
    host.log.warn({ volume: volume.id, host: host.name, error }, 'volume leaves this host');
    host.relay.kick();
    return true;
  }
  await settleVolume(host.db, volume, ['creating'], { state: 'error', reason: error }, now);
  return false;
}

/** Tried again with growing pauses (the worker's restarts), and by every sweep: what was released must not stay served. */
async function afterFailedRelease(host: VolumeHost, operation: Operation, error: string): Promise<boolean> {
  if (host.clock.now() > operation.deadline.getTime()) return false;
  await restartOperation(host.db, { id: operation.id, owner: host.owner.name, epoch: host.owner.epoch }, error, host.clock.date());
  throw new Error(`releasing ${operation.resourceId}: ${error}`);
}
