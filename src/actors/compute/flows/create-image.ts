// instance.createImage: an image of what the instance's disks hold at one moment.
//   stop     where a reboot was wished, the guest ends                            − runs again
//   copy     its own root disk, if it has one, to a file in its folder            − removed
//   volumes  a snapshot of each of its volumes that the image is to have          (given up with the image)
//   start    the guest runs again
//   deliver  the root disk, standing on nothing, is the objectstore's             − let go of there
//   clear    nothing of it is left here
//   report   the row says available                                               − pending again
// The guest waits for a copy of what it has written, which costs nothing where the file system can share it, and for no more.
import { join } from 'node:path';
import { releaseBlob } from '../../../db/image-work.ts';
import {
  beginSnapshots, failInstanceImage, publishInstanceImage, snapshotsById, withdrawInstanceImage,
} from '../../../db/instance-images.ts';
import { loadInstance } from '../../../db/instance-work.ts';
import { DriverError } from '../../../lib/errors.ts';
import type { Flow } from '../../../lib/flow.ts';
import type { ComputeHost } from '../host.ts';
import { instanceDirectory, rootDisk, rootTree } from '../host.ts';
import { askUntil, ensurePort, isStopped, type InstanceContext } from './instance-context.ts';
import { defineDomain, machineImage, prepareImages } from './run-instance.ts';

export const createImage: Flow<InstanceContext> = {
  name: 'instance.createImage',
  steps: [
    { name: 'stop', do: stopGuest, undo: startAgain },
    { name: 'copy', do: copyRoot, undo: removeFiles },
    { name: 'volumes', do: makeSnapshots },
    { name: 'start', do: startAgain },
    { name: 'deliver', do: deliver, undo: ({ host, input }) => releaseBlob(host.db, wishIn(input).imageId, host.clock.date()) },
    { name: 'clear', do: removeFiles },
    { name: 'report', do: report, undo: ({ host, input }) => withdrawInstanceImage(host.db, wishIn(input).imageId, host.clock.date()) },
  ],
};

export interface ImageWish {
  readonly imageId: string;
  /** Made with the image, in no order. */
  readonly snapshotIds: readonly string[];
  /** A guest that runs is ended for the copy, and started again. */
  readonly reboots: boolean;
}

const wishIn = (input: InstanceContext['input']): ImageWish => input as unknown as ImageWish;

const lookMs = 200;
const lookMsMax = 2_000;
const dropMs = 60 * 60_000;

/** What is cut short by a wish to end the instance, and by the end of this process. */
const either = ({ signal, hurry }: InstanceContext): AbortSignal => AbortSignal.any([signal, hurry]);

async function stopGuest(context: InstanceContext): Promise<void> {
  const { host, instance, input } = context;
  if (!wishIn(input).reboots || instance.state !== 'running') return;
  const stopped = await askUntil(context, host.limits.shutdownMs, () => host.hypervisor.requestShutdown(instance.id), () => isStopped(context));
  context.signal.throwIfAborted();
  if (!stopped) await host.hypervisor.ensureStopped(instance.id);
}

/** Only what was ended for the copy, and only if nobody has wished otherwise meanwhile. The machine may have restarted since: all of it is ensured. */
async function startAgain(context: InstanceContext): Promise<void> {
  const { host, instance, input } = context;
  if (!wishIn(input).reboots || instance.state !== 'running') return;
  const row = await loadInstance(host.db, instance.id);
  if (row?.state !== 'running' || row.host !== host.name || row.fence !== instance.fence) return;
  if (!(await isStopped(context))) return;
  await defineDomain(context, { image: await prepareImages(context), port: await ensurePort(context) });
  await host.hypervisor.ensureRunning(instance.id);
}

interface Files {
  /** Of the root disk, on the image that it stands on. */
  readonly copy: string;
  /** What is delivered. */
  readonly whole: string;
}

function filesOf({ host, instance, operationId }: InstanceContext): Files {
  const directory = instanceDirectory(host, instance.id);
  return { copy: join(directory, `${operationId}.copy`), whole: join(directory, `${operationId}.image`) };
}

async function copyRoot(context: InstanceContext): Promise<void> {
  const { host, instance } = context;
  if (instance.bootsFromVolume) return;
  const directory = instanceDirectory(host, instance.id);
  const { copy, whole } = filesOf(context);
  const rests = await isStopped(context);
  if (!rests && host.hypervisor.copier === undefined) {
    throw new DriverError('unsupported', `the hypervisor ${host.hypervisor.info.kind} cannot copy the disk of a guest that runs: leave out NoReboot`);
  }
  if (!host.hypervisor.info.bootsKernels) return packRoot(host, context, { directory: rootTree(directory), image: whole });
  if (rests) await host.disk.copyOverlay({ path: rootDisk(directory), copy }, either(context));
  else await host.hypervisor.copier?.copyDisk({ instanceId: instance.id, target: 'vda', path: copy }, either(context));
}

async function packRoot(host: ComputeHost, context: InstanceContext, tree: { directory: string; image: string }): Promise<void> {
  const { virtualSizeBytes } = await machineImage(host, context.instance);
  await host.disk.packTree({ ...tree, sizeBytesMin: virtualSizeBytes ?? 0 }, either(context));
}

async function makeSnapshots(context: InstanceContext): Promise<void> {
  const { host, requestId, input, signal, hurry } = context;
  const { snapshotIds } = wishIn(input);
  if (snapshotIds.length === 0) return;
  for (let pauseMs = lookMs; ; pauseMs = Math.min(lookMsMax, pauseMs * 2)) {
    const rows = await snapshotsById(host.db, snapshotIds);
    const failed = rows.find(({ state }) => state !== 'pending' && state !== 'completed');
    if (failed !== undefined) throw new Error(`the snapshot ${failed.id} could not be made: ${failed.stateReason ?? `it is ${failed.state}`}`);
    const pending = rows.filter(({ state }) => state === 'pending');
    const [first] = pending;
    if (first === undefined) return;
    const deadline = first.stateDeadline ?? new Date(host.clock.now() + dropMs);
    if (host.clock.now() > deadline.getTime()) throw new Error(`the snapshot ${first.id} was not made within its time`);
    await beginSnapshots(host.db, pending.map(({ id }) => id), { requestId, deadline }, host.clock.date());
    host.relay.kick();
    signal.throwIfAborted();
    if (hurry.aborted) throw new Error('the user ended the instance');
    await host.clock.sleep(pauseMs, AbortSignal.any([signal, hurry])).catch(() => undefined); // looked at above
  }
}

async function deliver(context: InstanceContext): Promise<void> {
  const { host, instance, input } = context;
  if (instance.bootsFromVolume) return;
  const { copy, whole } = filesOf(context);
  if (host.hypervisor.info.bootsKernels) await host.disk.ensureFlat({ path: copy, flat: whole }, either(context));
  await host.imageSource.store(wishIn(input).imageId, whole, either(context));
}

async function removeFiles(context: InstanceContext): Promise<void> {
  const { host } = context;
  for (const path of Object.values(filesOf(context))) await host.files.removeTree(path);
}

async function report({ host, input }: InstanceContext): Promise<void> {
  if (!(await publishInstanceImage(host.db, wishIn(input).imageId, host.clock.date()))) throw new Error('the image was deregistered meanwhile');
}

/** The reason is the tenant's to read. */
export async function afterFailedImage(
  { host, input, requestId }: { host: ComputeHost; input: InstanceContext['input']; requestId: string }, error: string,
): Promise<void> {
  const { imageId, snapshotIds } = wishIn(input);
  const now = host.clock.date();
  await failInstanceImage(host.db, { imageId, snapshotIds, reason: error, requestId, deadline: new Date(now.getTime() + dropMs) }, now);
  host.relay.kick();
}
